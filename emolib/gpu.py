"""The NVIDIA GPU of this machine, as its driver reports it, and whether torch can use it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

__all__ = ["Gpu", "find_gpu", "torch_problem"]


@dataclass(frozen=True)
class Gpu:
    """A GPU: its name, memory in GiB, compute capability and driver; without a name there is none."""

    name: str | None = None
    memory_gb: float = 0.0
    compute: float = 0.0
    driver: str = ""

    @property
    def description(self) -> str:
        """A line for people."""
        return f"{self.name}, {self.memory_gb:.0f} GB, compute {self.compute}" if self.name else "none with CUDA"


def find_gpu() -> Gpu:
    """Return the first CUDA GPU as nvidia-smi reports it, which needs no torch."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,compute_cap,driver_version", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, encoding="utf-8", timeout=10, check=True).stdout
        name, memory, compute, driver = (field.strip() for field in answer.splitlines()[0].split(","))
        return Gpu(name, float(memory) / 1024, float(compute), driver)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return Gpu()


def torch_problem(gpu: Gpu | None = None) -> str:
    """Why torch cannot use the GPU that is there, and what to do; empty if it can, or if one of the two is missing.

    torch says nothing of it: it trains on the CPU.
    """
    try:
        import torch
    except ImportError:
        return ""
    if torch.cuda.is_available():
        return ""
    gpu = gpu or find_gpu()
    if not gpu.name:
        return ""
    why = f"is built for CUDA {torch.version.cuda}, newer than the driver" if torch.version.cuda else "has no CUDA"
    return (
        f"torch {torch.__version__} cannot use the {gpu.name} of this machine (driver {gpu.driver}): it {why}; in Colab"
        " run the install cell in a fresh runtime, elsewhere update the driver or install another torch"
        " (https://pytorch.org/get-started)"
    )
