"""Training from the command line in processes of its own: killed, continued, and on two of them together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny_models import SENTENCES, tiny_model, tiny_tokenizer

from emolib.emotions import EMOTIONS
from emolib.finetune import RunFolder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny base model and a corpus file."""
    folder = tmp_path_factory.mktemp("training")
    tiny_model().save_pretrained(folder / "base")
    tiny_tokenizer().save_pretrained(folder / "base")
    rows = [f"{SENTENCES[index % len(SENTENCES)]} {index};{EMOTIONS[index % 6]}" for index in range(48)]
    (folder / "corpus.txt").write_text("\n".join(rows) + "\n")
    return folder


def command(place: Path, out: str, **changes: object) -> list[str]:
    values = {"dtype": "float32", "tracking": "off", "eval_examples": 0, "warmup_steps": 1, **changes}
    return [
        *("train", "--data", str(place / "corpus.txt"), "--out", str(place / out), "--model", str(place / "base")),
        *("--preset", "cpu", "--steps", "12", "--set", *(f"{name}={value}" for name, value in values.items())),
    ]


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    return output


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in RunFolder(folder).log if "loss" in line]


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    """A run that nothing interrupted."""
    finish(start("emolib.cli", *command(place, "whole", batch_size=4, accumulation_steps=2, checkpoint_steps=2)))
    return place / "whole"


def test_a_killed_run_goes_on_to_the_very_same_weights(place: Path, whole: Path) -> None:
    arguments = command(place, "killed", batch_size=4, accumulation_steps=2, checkpoint_steps=2)
    process = start("emolib.cli", *arguments)
    mark = place / "killed" / "checkpoints" / "checkpoint-4" / "complete.json"
    try:
        deadline = time.monotonic() + 150
        while not mark.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert mark.exists()
    assert not RunFolder(place / "killed").has_adapter
    finish(start("emolib.cli", *arguments))
    ours, theirs = (load_file(run / "adapter" / "adapter_model.safetensors") for run in (place / "killed", whole))
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)
    assert losses(place / "killed") == losses(whole)


def test_two_processes_take_the_steps_of_one_with_twice_the_accumulation(place: Path, whole: Path) -> None:
    # accelerate starts several CPU processes over MPI alone; torch's own launcher needs none and sets the same names.
    launch = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    arguments = command(place, "two", batch_size=4, accumulation_steps=1, checkpoint_steps=2)
    output = finish(start(*launch, "-m", "emolib.cli", *arguments))
    assert losses(place / "two") == pytest.approx(losses(whole), rel=1e-5), output
    assert RunFolder.open(place / "two").config["engine"] == "prefix"
