"""Which number format to train in on this machine, and why."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emolib.errors import DeviceError

__all__ = ["Precision", "choose_precision", "keep_precision"]

#: bfloat16 autocast costs casts around every product; below this gain it is not worth its rounding.
_WORTHWHILE = 1.3


@dataclass(frozen=True)
class Precision:
    """A torch dtype by name ("float32", "float16", "bfloat16"), and the reason for it."""

    dtype: str
    reason: str

    @property
    def torch_dtype(self) -> Any:
        """The torch dtype."""
        import torch

        return getattr(torch, self.dtype)


def choose_precision(wanted: str, device: str) -> Precision:
    """`wanted`, or by the hardware where it is "auto".

    CUDA: bfloat16 from Ampere on, float16 before it (T4, RTX 2060). CPU: bfloat16 autocast where a
    measurement at the start shows it at least 1.3 times as fast as float32.
    DeviceError where `device` is "cuda" and there is none.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("a CUDA GPU was asked for and none is there; use --preset cpu")
    if wanted != "auto":
        if wanted == "float16" and device == "cpu":
            return Precision("float32", "float16 is for GPUs: a CPU trains in float32 instead")
        return Precision(wanted, "asked for")
    if device == "cuda":
        name = torch.cuda.get_device_name()
        major = torch.cuda.get_device_capability()[0]
        if major >= 8:
            return Precision("bfloat16", f"{name} has fast bfloat16 (compute capability {major}.x)")
        return Precision("float16", f"{name} has no fast bfloat16 (compute capability {major}.x, Ampere is 8.0)")
    gain = _bfloat16_gain()
    measured = f"bfloat16 products are {gain:.2g} times as fast as float32 on this CPU"
    if gain >= _WORTHWHILE:
        return Precision("bfloat16", measured)
    return Precision("float32", measured)


def keep_precision(recorded: Mapping[str, str] | None, wanted: str, device: str) -> Precision:
    """Return `choose_precision`, but what a run's config.json has `recorded` stays as it was: no new measurement."""
    if wanted != "auto" or not recorded:
        return choose_precision(wanted, device)
    chosen = choose_precision(recorded["dtype"], device)
    return Precision(chosen.dtype, recorded["reason"]) if chosen.dtype == recorded["dtype"] else chosen


def _bfloat16_gain() -> float:
    import torch

    left, right = torch.randn(256, 576), torch.randn(576, 1536)
    halves = left.bfloat16(), right.bfloat16()

    def seconds(a: Any, b: Any) -> float:
        a @ b
        times = []
        for _ in range(5):
            start = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - start)
        return sorted(times)[2]

    return seconds(left, right) / seconds(*halves)
