"""Judging a fine-tuned model beside its base: strict exact match, calibration, significance.

The names below are loaded when they are first used; importing this package costs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Metrics": "emolib.evaluate.run",
    "calibrate_run": "emolib.evaluate.run",
    "compare_runs": "emolib.evaluate.compare",
    "evaluate_run": "emolib.evaluate.run",
    "linear_floor": "emolib.evaluate.floor",
}

__all__ = [*sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'emolib.evaluate' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
