"""Settings of a training run, with the paper's numbers as defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from emolib.errors import UsageError
from emolib.finetune.tasks import TASKS
from emolib.prompting.templates import get_prompt
from emolib.tables import Table

__all__ = ["TrainSettings", "parse_settings"]

_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def _help(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides the outcome of a run, besides the data. The defaults are the paper's.

    Raises UsageError for values that make no sense, before any weights are loaded.
    """

    task: str = _help("classify", "what is taught: classify (the emotion of a text) or chat (replies)")
    base_model: str = _help("qwen2.5-7b", "base model: a name, a folder, or a hub id")
    prompt: str = _help("paper", "prompt template of the task classify: paper or corrected")
    engine: str = _help("auto", "prefix, plain, unsloth; auto = prefix, or plain where prefix does not fit")
    loss_on: str = _help(
        "response", "response = the label, or the assistant's turns; all = the whole prompt, as the paper's curves show"
    )
    load_in_4bit: bool = _help(True, "hold the base weights in 4 bits (CUDA only)")
    dtype: str = _help("auto", "float32, float16, bfloat16; auto = by the hardware")
    lora_rank: int = _help(16, "rank of the LoRA matrices")
    lora_alpha: int = _help(16, "LoRA scale: alpha / rank")
    lora_dropout: float = _help(0.0, "dropout on the input of LoRA (the engine prefix needs 0)")
    target_modules: tuple[str, ...] = _help(_PROJECTIONS, "projections that get an adapter")
    gradient_checkpointing: bool = _help(True, "recompute activations (engines plain and unsloth)")
    max_length: int = _help(2048, "tokens of prompt, text and label; longer texts are cut")
    optimizer: str = _help("adamw_8bit", "adamw_8bit (CUDA) or adamw_torch")
    learning_rate: float = _help(2e-4, "peak learning rate")
    schedule: str = _help("linear", "learning rate after the warm-up: linear, cosine or constant")
    warmup_steps: int = _help(40, "steps of linear warm-up")
    weight_decay: float = _help(0.01, "weight decay of AdamW")
    max_grad_norm: float = _help(1.0, "gradients are clipped to this norm")
    batch_size: int = _help(2, "examples in a micro-batch")
    accumulation_steps: int = _help(4, "micro-batches in an optimiser step")
    epochs: float = _help(1.0, "passes over the corpus, where max_steps is -1")
    max_steps: int = _help(-1, "optimiser steps (-1 = by epochs)")
    seed: int = _help(3407, "seed of the adapter's start and the order of the examples")
    eval_steps: int = _help(20, "steps between evaluations on held-out examples (0 = only at the end)")
    eval_examples: int = _help(200, "held-out examples in an evaluation during training (0 = none)")
    checkpoint_steps: int = _help(50, "steps between checkpoints")
    examples: bool = _help(
        False, "show the model an exchange of other conversations that resembles the message (task chat)"
    )
    start_from: str = _help(
        "", "adapter to start from: a bundled one, an adapter folder or a run folder (empty = a fresh adapter)"
    )
    tracking: str = _help("auto", "Weights & Biases: online, offline, off; auto = online if logged in, else offline")
    project: str = _help("emolib", "project name for the tracking")

    def __post_init__(self) -> None:
        get_prompt(self.prompt)
        _one_of("task", self.task, TASKS)
        _one_of("engine", self.engine, ("auto", "prefix", "plain", "unsloth"))
        _one_of("loss_on", self.loss_on, ("response", "all"))
        _one_of("dtype", self.dtype, ("auto", "float32", "float16", "bfloat16"))
        _one_of("optimizer", self.optimizer, ("adamw_8bit", "adamw_torch"))
        _one_of("schedule", self.schedule, ("linear", "cosine", "constant"))
        _one_of("tracking", self.tracking, ("auto", "online", "offline", "off"))
        for name in ("lora_rank", "lora_alpha", "max_length", "batch_size", "accumulation_steps", "checkpoint_steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("warmup_steps", "weight_decay", "eval_steps", "eval_examples"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must not be negative, and is {getattr(self, name)}")
        if self.learning_rate <= 0 or self.max_grad_norm <= 0:
            raise UsageError("learning_rate and max_grad_norm must be above 0")
        if not 0 <= self.lora_dropout < 1:
            raise UsageError(f"lora_dropout must be in [0, 1), not {self.lora_dropout}")
        if self.lora_dropout and self.engine == "prefix":
            raise UsageError(
                f"the engine prefix needs lora_dropout 0, not {self.lora_dropout}: the shared prefix would get one"
                " dropout mask for all texts; use engine plain"
            )
        if self.max_steps == 0 or self.max_steps < -1:
            raise UsageError(f"max_steps is a number of steps, or -1 for whole epochs, not {self.max_steps}")
        if self.max_steps == -1 and self.epochs <= 0:
            raise UsageError(f"epochs must be above 0, not {self.epochs}")
        if not self.target_modules:
            raise UsageError("target_modules is empty: nothing would be trained")

    @property
    def effective_batch(self) -> int:
        """Examples in an optimiser step on one device."""
        return self.batch_size * self.accumulation_steps

    def replace(self, **changes: Any) -> TrainSettings:
        """A copy with some settings changed; UsageError names an unknown one."""
        known = {entry.name for entry in dataclasses.fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise UsageError(f"unknown setting {unknown[0]!r}; known: {', '.join(sorted(known))}")
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """The settings for config.json."""
        return {**dataclasses.asdict(self), "target_modules": list(self.target_modules)}

    def differences(self) -> Table:
        """The settings that differ from the paper's, with what each does."""
        entries = [entry for entry in dataclasses.fields(self) if getattr(self, entry.name) != entry.default]
        rows = [
            [entry.name, _shown(getattr(self, entry.name)), _shown(entry.default), entry.metadata["help"]]
            for entry in entries
        ]
        return Table(["setting", "here", "in the paper", "what it is"], rows)

    def table(self) -> str:
        """The settings as lines of text, those that differ from the paper's marked."""
        lines = []
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            shown = " ".join(value) if isinstance(value, tuple) else str(value)
            differs = "" if value == entry.default else "   (paper: " + _shown(entry.default) + ")"
            lines.append(f"{entry.name:22} {shown}{differs}")
        return "\n".join(lines)


def _shown(value: Any) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value) or "(none)"


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{name} is one of {', '.join(known)}, not {value!r}")


def parse_settings(assignments: Sequence[str]) -> dict[str, Any]:
    """Settings written as NAME=VALUE, with the values in their settings' types; UsageError names a bad one."""
    defaults = {entry.name: entry.default for entry in dataclasses.fields(TrainSettings)}
    found = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or name not in defaults:
            raise UsageError(
                f"{assignment!r} is no setting; write NAME=VALUE with one of: {', '.join(sorted(defaults))}"
            )
        found[name] = _parsed(name, text, defaults[name])
    return found


def _parsed(name: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        _one_of(name, text.lower(), ("true", "false"))
        return text.lower() == "true"
    if isinstance(default, tuple):
        return tuple(text.split(","))
    try:
        return type(default)(text)
    except ValueError:
        raise UsageError(f"{name}={text!r} is not a number ({type(default).__name__})") from None
