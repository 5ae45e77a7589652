"""The engine unsloth, with TRL and PEFT themselves and a stand-in for Unsloth's two functions, which need a GPU."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from test_training import corpus, settings, weights
from tiny_models import tiny_model, tiny_tokenizer

from emolib.emotion_model import find_adapter, load_emotion_model
from emolib.errors import DeviceError, MissingDependency, ModelError
from emolib.finetune import RunFolder, TrainSettings, train
from emolib.finetune.precision import Precision
from emolib.finetune.unsloth_worker import train_here
from emolib.models import BaseModel

STAND_INS = Path(__file__).parent / "stand_ins"


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unsloth's stand-in in the process of the tests, which saves the start of another one."""
    monkeypatch.setenv("UNSLOTH_STAND_IN_ANY_ORDER", "1")
    monkeypatch.syspath_prepend(str(STAND_INS))
    monkeypatch.setattr("emolib.finetune.unsloth.fit_with_unsloth", train_here)
    monkeypatch.setattr("emolib.finetune.precision.keep_precision", lambda *_: Precision("float32", "a test"))
    monkeypatch.setattr("trl.SFTConfig", trl.SFTConfig)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ("unsloth", "bitsandbytes")]:
        del sys.modules[name]


@pytest.fixture
def in_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins on the path of the processes that are started: one with a GPU, as far as emolib sees."""
    monkeypatch.setattr("emolib.finetune.unsloth._require_gpu", lambda: None)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(STAND_INS), *sys.path]))
    monkeypatch.syspath_prepend(str(STAND_INS))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base")
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def asked(base: str, **changes: object) -> TrainSettings:
    return settings(base, **{"engine": "unsloth", "max_steps": 2, "eval_steps": 1, "batch_size": 4, **changes})


def small(held_out: int = 3) -> Any:
    whole = corpus(12)
    return corpus(12, held_out_texts=whole.texts[:held_out], held_out_labels=whole.labels[:held_out])


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("loss_on", ["response", "all"])
def test_a_run_ends_with_an_adapter_and_evaluations(loss_on: str, base: str, tmp_path: Path) -> None:
    run = train(small(), tmp_path / "run", asked(base, loss_on=loss_on))
    assert run.config["engine"] == "unsloth"
    assert [line["step"] for line in run.log if "loss" in line] == [1, 2]
    assert [line["step"] for line in run.log if "eval_loss" in line] == [1, 2]
    assert load_emotion_model(run.path).encoder.prompt.name == "paper"


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("changes", [{"eval_steps": 0}, {"eval_examples": 0}])
def test_an_evaluation_at_the_end_only_or_never(changes: dict, base: str, tmp_path: Path) -> None:
    held_out = 0 if "eval_examples" in changes else 3
    run = train(small(held_out), tmp_path / "run", asked(base, **changes))
    assert [line["step"] for line in run.log if "eval_loss" in line] == ([2] if held_out else [])


@pytest.mark.usefixtures("in_this_process")
def test_a_run_starts_from_another_adapter(base: str, tmp_path: Path) -> None:
    first = train(small(), tmp_path / "first", asked(base, learning_rate=1e-2))
    second = train(small(), tmp_path / "second", asked(base, start_from=str(first.path), learning_rate=1e-9))
    for name, tensor in weights(second).items():
        torch.testing.assert_close(tensor, weights(first)[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("in_4bit", "here", "loaded"),
    [(True, None, "Qwen/Qwen2.5-7B"), (True, Path("/here"), "/here"), (False, None, "/downloaded")],
)
def test_weights_in_4_bits_are_unsloth_s_own_unless_others_are_here(
    in_4bit: bool, here: Path | None, loaded: str, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emolib.finetune.unsloth_worker import _weights

    found = BaseModel("qwen2.5-7b", "hub", here, hub_id="Qwen/Qwen2.5-7B")
    monkeypatch.setattr("emolib.models.resolve_base", lambda name: found)
    monkeypatch.setattr("emolib.models.model_folder", lambda base: base.where or Path("/downloaded"))
    assert _weights(TrainSettings(load_in_4bit=in_4bit)) == loaded


@pytest.mark.usefixtures("in_its_own")
def test_unsloth_trains_in_a_process_of_its_own_and_its_log_is_followed(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[dict[str, Any]] = []

    class Follower:
        def show(self, line: dict[str, Any]) -> None:
            shown.append(line)

        def close(self) -> None:
            shown.append({"closed": True})

    monkeypatch.setattr("emolib.finetune.tracking.followers", lambda *_: [Follower()])
    run = train(small(), tmp_path / "run", asked(base, load_in_4bit=True))
    assert shown == [*run.log, {"closed": True}]
    assert "unsloth" not in sys.modules
    assert find_adapter(run.path).in_4_bits
    assert find_adapter(run.adapter).in_4_bits


@pytest.mark.usefixtures("in_its_own")
def test_an_interrupted_training_leaves_a_checkpoint(base: str, tmp_path: Path) -> None:
    def interrupt() -> None:
        run = RunFolder(tmp_path / "run")
        while not finished.wait(0.05):
            if any(line["step"] >= 2 for line in run.log):
                return signal.raise_signal(signal.SIGINT)

    finished = threading.Event()
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            train(small(), tmp_path / "run", asked(base, max_steps=400, eval_steps=0))
    finally:
        finished.set()
    assert list((tmp_path / "run" / "checkpoints").glob("checkpoint-*/complete.json"))


@pytest.mark.usefixtures("in_its_own")
@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        ("raise RuntimeError('the driver has gone')", ModelError, "stopped: RuntimeError: the driver has gone"),
        ("raise MemoryError('torch.OutOfMemoryError: CUDA')", DeviceError, "memory does not suffice"),
        ("raise OSError('No space left on device')", Exception, "no space left on the disk"),
        ("import os; os.kill(os.getpid(), 9)", ModelError, "exit status -9"),
    ],
)
def test_a_training_that_stops_says_why(
    code: str, error: type[Exception], said: str, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken" / "unsloth").mkdir(parents=True)
    (tmp_path / "broken" / "unsloth" / "__init__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "broken"), *sys.path]))
    with pytest.raises(error, match=said):
        train(small(), tmp_path / "run", asked(base))


def test_without_unsloth_the_line_that_installs_it_is_said(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emolib.finetune.unsloth._require_gpu", lambda: None)
    with pytest.raises(MissingDependency, match="pip install unsloth=="):
        train(small(), tmp_path / "run", asked(base))
