"""What a training loop tells the outside: log, progress bar, tracking, finished checkpoints; and when to stop."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainingArguments

from emolib.finetune.checkpoints import mark_complete
from emolib.finetune.run_folder import RunFolder
from emolib.finetune.sampling import LengthBuckets
from emolib.finetune.settings import TrainSettings
from emolib.finetune.tracking import Follower, LogFile, followers

__all__ = ["Recorder"]

_LOGGED = ("loss", "grad_norm", "learning_rate", "eval_loss", "eval_accuracy", "eval_perplexity", "eval_examples")


class Recorder(TrainerCallback):
    """Writes the log, moves the bar, marks checkpoints, and ends the run when `stop` is set.

    Not `followed`, it writes the log alone: another process shows it.
    """

    def __init__(
        self,
        run: RunFolder,
        settings: TrainSettings,
        config: dict[str, Any],
        stop: threading.Event,
        sampler: LengthBuckets | None = None,
        followed: bool = True,
    ) -> None:
        self._run = run
        self._settings = settings
        self._config = config
        self._stop = stop
        self._sampler = sampler
        self._followed = followed
        self._log: LogFile | None = None
        self._followers: list[Follower] = []
        self._step_began = time.monotonic()

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            self._log = LogFile(self._run, state.global_step)
            total, done = state.max_steps, state.global_step
            if self._followed:
                self._followers = followers(self._run, self._settings, self._config, total, done)

    def on_epoch_begin(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        # Not left to accelerate: it does not reach a sampler through every wrapper of a batch sampler.
        if self._sampler is not None:
            self._sampler.set_epoch(int((state.epoch or 0) + 1e-6))

    def on_step_begin(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        self._step_began = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        if self._stop.is_set():
            control.should_save = control.should_training_stop = True
        elif state.global_step >= state.max_steps and self._config["held_out"]["rows"]:
            control.should_evaluate = True

    def on_log(self, args: TrainingArguments, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        values = {name: logs[name] for name in _LOGGED if name in logs}
        if self._log is None or not values:
            return
        if "loss" in values:
            examples = self._settings.effective_batch * args.world_size
            elapsed = max(time.monotonic() - self._step_began, 1e-9)
            values["examples_per_second"] = round(examples / elapsed, 2)
            values["memory_gb"] = round(_memory_bytes() / 1e9, 2)
        line = self._log.write(step=state.global_step, **values)
        for follower in self._followers:
            follower.show(line)

    def on_save(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        _wait_for_all_processes()
        if state.is_world_process_zero:
            mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}", state.global_step)

    def on_train_end(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        for follower in self._followers:
            follower.close()


def _memory_bytes() -> int:
    """Return the peak of the GPU's memory, or without a GPU what this process holds now."""
    import psutil
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else psutil.Process().memory_info().rss


def _wait_for_all_processes() -> None:
    from accelerate import PartialState

    PartialState().wait_for_everyone()
