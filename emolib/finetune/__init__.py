"""Fine-tuning: the settings, the batches, shared-prefix training, and the run folder that comes out.

The names below are loaded when they are first used; importing this package costs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "PRESETS": "emolib.finetune.settings",
    "RunFolder": "emolib.finetune.run_folder",
    "TrainSettings": "emolib.finetune.settings",
    "parse_settings": "emolib.finetune.settings",
    "preset": "emolib.finetune.settings",
    "train": "emolib.finetune.trainer",
}

__all__ = [*sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'emolib.finetune' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
