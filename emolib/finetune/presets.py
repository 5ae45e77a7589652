"""Presets: the paper's settings, and what smaller machines take in their place."""

from __future__ import annotations

from typing import Any

from emolib.errors import UsageError
from emolib.finetune.planning import largest_fitting
from emolib.finetune.settings import TrainSettings

__all__ = ["PRESETS", "preset"]

PAPER = TrainSettings()

#: `paper`: an A100 or better. `colab-t4`: 15 GB, no bfloat16. `laptop-2060`: 6 GB, no bfloat16. `cpu`: two cores.
PRESETS: dict[str, TrainSettings] = {
    "paper": PAPER,
    "colab-t4": PAPER.replace(dtype="float16"),
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
}


def preset(name: str = "auto", **changes: Any) -> TrainSettings:
    """The preset `name` with some settings changed; `auto` takes the one that fits this machine.

    On a GPU that holds Qwen2.5-7B in 4 bits that is `paper` where it has bfloat16, else `colab-t4`; on a smaller one
    `laptop-2060` with the largest model that fits; without one, `cpu`.
    """
    if name == "auto":
        name, fitting = _fitting_preset()
        changes = {**fitting, **changes}
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}; known: auto, {', '.join(PRESETS)}")
    return PRESETS[name].replace(**changes)


def _fitting_preset() -> tuple[str, dict[str, Any]]:
    """The preset for this machine, and what has to be changed in it."""
    import torch

    if not torch.cuda.is_available():
        return "cpu", {}
    model = largest_fitting(torch.cuda.get_device_properties(0).total_memory / 1e9)
    if model == PAPER.base_model:
        return ("paper" if torch.cuda.is_bf16_supported(including_emulation=False) else "colab-t4"), {}
    return "laptop-2060", {"base_model": model}
