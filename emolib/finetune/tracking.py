"""Following a run: the log file always, a progress bar in a terminal, Weights & Biases where it is wanted."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from emolib.files import write_text
from emolib.finetune.run_folder import RunFolder
from emolib.finetune.settings import TrainSettings

__all__ = ["LogFile", "NoTracker", "Progress", "Tracker", "WandbTracker", "make_tracker"]


class LogFile:
    """Appends to a run's log.jsonl; `step` is the step that a continued run starts from.

    Lines of later steps, which a killed run wrote after its last checkpoint, are taken out first. `seconds`
    in every line is the time spent in training until then, pauses between continuations not counted.
    """

    def __init__(self, run: RunFolder, step: int) -> None:
        lines = run.log
        kept = [line for line in lines if 0 < step >= line["step"]]
        if kept != lines:
            write_text(run.log_path, "".join(json.dumps(line) + "\n" for line in kept))
        self._path = run.log_path
        self._before = kept[-1]["seconds"] if kept else 0.0
        self._start = time.monotonic()

    def write(self, **values: Any) -> dict[str, Any]:
        """Append a line with `seconds`, and return it."""
        line = {**values, "seconds": round(self._before + time.monotonic() - self._start, 3)}
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line


class Tracker(Protocol):
    """Something that follows a run."""

    def log(self, values: dict[str, Any]) -> None:
        """Take a line of the log; `values["step"]` is the step."""

    def finish(self, figures: Sequence[Path] = ()) -> None:
        """Take the figures, and end."""


class NoTracker:
    """Follows nothing."""

    def log(self, values: dict[str, Any]) -> None:
        """Nothing."""

    def finish(self, figures: Sequence[Path] = ()) -> None:
        """Nothing."""


class WandbTracker:
    """Weights & Biases: configuration, every line of the log, and the figures as images at the end."""

    def __init__(self, run: RunFolder, settings: TrainSettings, config: dict[str, Any], mode: str) -> None:
        import wandb

        self._wandb = wandb
        self._run = wandb.init(
            project=settings.project,
            name=run.path.name,
            config=config,
            mode=mode,
            dir=str(run.path),
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, values: dict[str, Any]) -> None:
        """Send one line."""
        self._run.log({key: value for key, value in values.items() if key != "step"}, step=values["step"])

    def finish(self, figures: Sequence[Path] = ()) -> None:
        """Send the figures and close the run."""
        if figures:
            self._run.log({f"figures/{path.stem}": self._wandb.Image(str(path)) for path in figures})
        self._run.finish(quiet=True)


def make_tracker(run: RunFolder, settings: TrainSettings, config: dict[str, Any]) -> Tracker:
    """The tracker that `settings.tracking` asks for.

    "auto" is the environment's WANDB_MODE, else online with a key (WANDB_API_KEY), else offline: files in the
    run folder that `wandb sync` can send later. Without the package it is none.
    """
    mode = settings.tracking
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") else "offline")
    if mode in ("off", "disabled"):
        return NoTracker()
    try:
        return WandbTracker(run, settings, config, mode)
    except ImportError:
        if settings.tracking == "auto":
            return NoTracker()
        from emolib.errors import MissingDependency

        raise MissingDependency("wandb", extra="train") from None


class Progress:
    """A progress bar on standard error with the loss, the held-out accuracy and the speed."""

    def __init__(self, total: int, done: int) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(total=total, initial=done, desc="training", unit="step", file=sys.stderr, dynamic_ncols=True)
        self._shown: dict[str, str] = {}

    def show(self, line: dict[str, Any]) -> None:
        """Take a line of the log."""
        if "loss" in line:
            self._shown["loss"] = f"{line['loss']:.3f}"
            self._bar.update(max(0, line["step"] - self._bar.n))
        if "eval_accuracy" in line:
            self._shown["held-out accuracy"] = f"{line['eval_accuracy']:.1%}"
        self._bar.set_postfix(self._shown)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()
