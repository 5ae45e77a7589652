"""The run that is exported: its prompt, labels and shapes, and on demand its weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from emolib.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from emolib.classify import EmotionClassifier
    from emolib.emotion_model import AdapterSource, EmotionModel

__all__ = ["classifier_of", "load_run", "load_where_it_fits", "weights_of"]


def load_run(run: str | Path) -> EmotionModel:
    """What is to be exported, without its weights; UsageError where `run` has no adapter.

    Its model knows shapes alone (torch's device "meta"): Colab's memory does not hold 7 billion weights.
    """
    from emolib.emotion_model import find_adapter, shape_of

    source = find_adapter(run)
    if source.adapter is None:
        raise UsageError(f"{run} is a base model, with no adapter to export; name a run folder or a bundled adapter")
    return shape_of(source)


def weights_of(loaded: EmotionModel) -> int:
    """How many weights the base model has."""
    return sum(parameter.numel() for parameter in loaded.model.parameters())


def load_where_it_fits(source: AdapterSource, weights: int) -> EmotionModel:
    """Load a run with so many `weights`: in float32 on the CPU if that has the memory, else as a GPU holds it.

    DeviceError if neither does.
    """
    import torch

    from emolib.emotion_model import load_emotion_model

    needed, free = 1.1 * 4 * weights, _free_memory()
    if needed <= free:
        return load_emotion_model(source, dtype=torch.float32, device="cpu")
    if torch.cuda.is_available():
        return load_emotion_model(source)
    raise DeviceError(
        f"{source.base} in float32 needs {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; a larger"
        " machine or one with a GPU compares the files with: emolib export RUN --out FOLDER --verify"
    )


def classifier_of(loaded: EmotionModel) -> EmotionClassifier:
    """Return the classifier of a loaded run, its adapter apart."""
    from emolib.classify import EmotionClassifier
    from emolib.classify.torch_scorer import TorchScorer

    source = loaded.source
    return EmotionClassifier(TorchScorer.of(loaded), source.temperature, source.abstain_below, labels=source.labels)


def _free_memory() -> float:
    """Bytes of memory that a process can still have; infinite where the system does not say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        return 1024 * int(next(line.split()[1] for line in text.splitlines() if line.startswith("MemAvailable")))
    except (OSError, StopIteration, ValueError):
        return math.inf
