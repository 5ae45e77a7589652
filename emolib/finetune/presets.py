"""Presets: the paper's settings, and what smaller machines take in their place."""

from __future__ import annotations

from typing import Any

from emolib.errors import UsageError
from emolib.finetune.planning import largest_fitting
from emolib.finetune.settings import TrainSettings
from emolib.finetune.tasks import get_task

__all__ = ["PRESETS", "preset"]

PAPER = TrainSettings()

#: `paper`: an A100 or better. `colab-t4`: 15 GB, no bfloat16, Unsloth. `laptop-2060`: 6 GB, no
#: bfloat16. `cpu`: two cores.
#: `companion`: two cores, for the task `chat`.
PRESETS: dict[str, TrainSettings] = {
    "paper": PAPER,
    "colab-t4": PAPER.replace(dtype="float16", engine="unsloth"),
    "laptop-2060": PAPER.replace(base_model="qwen2.5-1.5b", dtype="float16", max_length=512),
    "cpu": PAPER.replace(
        base_model="smollm2-135m",
        load_in_4bit=False,
        gradient_checkpointing=False,
        max_length=512,
        optimizer="adamw_torch",
        learning_rate=1e-3,
        warmup_steps=5,
        batch_size=8,
        accumulation_steps=1,
        eval_examples=96,
    ),
    "companion": PAPER.replace(
        task="chat",
        examples=True,
        base_model="smollm2-135m",
        load_in_4bit=False,
        gradient_checkpointing=False,
        lora_rank=32,
        lora_alpha=32,
        max_length=1024,
        optimizer="adamw_torch",
        learning_rate=1e-3,
        warmup_steps=10,
        batch_size=8,
        accumulation_steps=2,
        epochs=3.0,
        eval_steps=50,
        eval_examples=64,
    ),
}


def preset(name: str = "auto", **changes: Any) -> TrainSettings:
    """The preset `name` with some settings changed; `auto` takes the one that fits this machine and the task.

    On a GPU that holds Qwen2.5-7B in 4 bits that is `paper` where it has bfloat16, else `colab-t4`; on a smaller one
    `laptop-2060` with the largest model that fits; without one, `cpu`, or `companion` for the task `chat`.
    """
    if name == "auto":
        name, fitting = _fitting_preset(changes.get("task", PAPER.task))
        changes = {**fitting, **changes}
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}; known: auto, {', '.join(PRESETS)}")
    return PRESETS[name].replace(**changes)


def _fitting_preset(task: str) -> tuple[str, dict[str, Any]]:
    """The preset for this machine, and what has to be changed in it."""
    import torch

    if not torch.cuda.is_available():
        return get_task(task).cpu_preset, {}
    model = largest_fitting(torch.cuda.get_device_properties(0).total_memory / 1e9)
    if model == PAPER.base_model:
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "paper", {}
        # Nobody has asked for Unsloth, which may not be installed.
        return "colab-t4", {"engine": "auto"}
    return "laptop-2060", {"base_model": model}
