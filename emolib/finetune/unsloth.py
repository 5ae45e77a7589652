"""The paper's own way, for CUDA: Unsloth and TRL, in a process of their own.

Unsloth rewrites the classes of transformers when it is imported: evaluation, which runs a shared prefix through them,
needs them as they were. Its process also gives all of the GPU's memory back when the training ends.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib import errors
from emolib.errors import DeviceError, EmolibError, MissingDependency, ModelError, StorageError
from emolib.files import write_json
from emolib.finetune.run_folder import RunFolder
from emolib.finetune.settings import TrainSettings

if TYPE_CHECKING:
    from emolib.finetune.tracking import Follower
    from emolib.finetune.training_data import TrainingData

__all__ = ["fit_with_unsloth"]

_POLL_S = 0.2
#: How long the process may take to save a checkpoint after Ctrl-C.
_STOP_S = 120.0
#: What the process prints, in the run folder.
_SAID = "unsloth.log"


def fit_with_unsloth(run: RunFolder, settings: TrainSettings, data: TrainingData, config: dict[str, Any]) -> None:
    """Train `run` with Unsloth and follow its log. What Unsloth says goes to `unsloth.log` in the run folder.

    DeviceError without a CUDA GPU or where its memory is short, MissingDependency without Unsloth.
    """
    _require_gpu()
    if importlib.util.find_spec("unsloth") is None:
        raise MissingDependency("unsloth", command="pip install unsloth==2026.10.9")
    from emolib.finetune.checkpoints import last_checkpoint
    from emolib.finetune.tracking import followers
    from emolib.finetune.unsloth_worker import total_steps

    rows = {**_fields(data), "label_set": data.label_set.as_dict()}
    job = {"run": str(run.path), "settings": settings.as_dict(), "data": rows, "config": config}
    checkpoint = last_checkpoint(run.checkpoints)
    done = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    seen = _Seen(run, done)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_json(folder / "job.json", job)
        following = followers(run, settings, config, total_steps(data, settings), done)
        try:
            with _worker(folder, run) as process:
                status = _wait(process, lambda: seen.show(run, following))
        finally:
            seen.show(run, following)
            for follower in following:
                follower.close()
        if status:
            raise _failure(status, folder, run)


def _require_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        raise DeviceError("the engine unsloth needs a CUDA GPU and none is there; use --preset cpu")


def _fields(data: TrainingData) -> dict[str, Any]:
    return {entry.name: getattr(data, entry.name) for entry in dataclasses.fields(data)}


class _Seen:
    """How much of the log was shown to the followers; it begins after step `done`.

    Later lines, which a killed run left, are not shown: the training takes them out.
    """

    def __init__(self, run: RunFolder, done: int) -> None:
        self._step = done
        self._lines = 0
        self._bytes = _size(run.log_path)

    def show(self, run: RunFolder, following: Sequence[Follower]) -> None:
        """Show the followers what is new in the log."""
        if (size := _size(run.log_path)) == self._bytes:
            return
        self._bytes = size
        lines = [line for line in run.log if line["step"] > self._step]
        for line in lines[self._lines :]:
            for follower in following:
                follower.show(line)
        self._lines = max(self._lines, len(lines))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _worker(folder: Path, run: RunFolder) -> Iterator[subprocess.Popen[bytes]]:
    """The training process; it does not outlive the block. Ctrl-C reaches it through `_wait` alone."""
    command = [sys.executable, "-m", "emolib.finetune.unsloth_worker", str(folder)]
    with open(run.path / _SAID, "wb") as said:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            command, stdout=said, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], show: Callable[[], None]) -> int:
    """Call `show` until the training has ended; its exit status.

    The first Ctrl-C or SIGTERM has it save a checkpoint, then raises KeyboardInterrupt.
    """
    from emolib.finetune.loop import stop_signals

    deadline = None
    with stop_signals() as stop:
        while process.poll() is None:
            show()
            if stop.is_set() and deadline is None:
                process.send_signal(signal.SIGINT)
                deadline = time.monotonic() + _STOP_S
            if deadline is not None and time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
    if stop.is_set():
        raise KeyboardInterrupt
    return process.returncode


def _failure(status: int, folder: Path, run: RunFolder) -> EmolibError:
    """The error of a training process that ended with `status`."""
    told = folder / "error.json"
    if told.is_file():
        error = json.loads(told.read_text(encoding="utf-8"))
        kind = getattr(errors, error["kind"], ModelError)
        # MissingDependency writes its own sentence.
        return (EmolibError if kind is MissingDependency else kind)(error["message"])
    text = (run.path / _SAID).read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if "Error" in line), f"exit status {status}")[:300]
    if "No space left" in text:
        return StorageError(f"no space left on the disk that holds {run.path}; free some and train again")
    if "OutOfMemory" in text or "CUDA out of memory" in text:
        return DeviceError(
            "the GPU's memory does not suffice for this training; choose a smaller base model, lower max_length or"
            f" batch_size, or restart other notebooks that use the GPU ({last})"
        )
    return ModelError(f"the training with Unsloth stopped: {last} (all of it is in {run.path / _SAID})")
