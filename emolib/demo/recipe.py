"""What the demo and the notebooks train: on two cores, and on a GPU as the paper did."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from emolib.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from emolib.finetune import TrainSettings

__all__ = ["Recipe", "Way", "embedded", "find_recipe", "paper"]

Way = Literal["auto", "embedded", "gpu"]

#: The paper's curves show so many steps.
STEPS = 60
#: Points of the curve on held-out texts.
_EVALUATIONS = 4
#: GPU memory that Qwen2.5-7B in 4 bits needs for training, in GB.
_NEEDED_GB = 12


@dataclass(frozen=True)
class Recipe:
    """A corpus, the settings of the training, and the files to export.

    `sources` are files, or names of data sets on the hub.
    """

    way: Literal["embedded", "gpu"]
    title: str
    sources: tuple[str | Path, ...]
    settings: TrainSettings
    quantisations: tuple[str, ...]

    def with_steps(self, steps: int) -> Recipe:
        """The same recipe for `steps` optimiser steps."""
        changed = self.settings.replace(max_steps=steps, eval_steps=max(1, steps // _EVALUATIONS))
        return replace(self, settings=changed)


def embedded(steps: int = STEPS) -> Recipe:
    """Return the recipe for two cores: SmolLM2-135M on the sample corpus, from the bundled adapter `carer` on.

    The sentences of the sample corpus seldom name an emotion. A fresh adapter needs an hour to learn them; `carer`,
    which was trained on other texts and has not seen one of them, needs two minutes more.
    """
    from emolib.data import sample_path
    from emolib.finetune import preset

    settings = preset("cpu", start_from="carer", batch_size=24, schedule="cosine")
    title = "SmolLM2-135M on the sample corpus, from the bundled adapter carer on"
    recipe = Recipe("embedded", title, (sample_path("train"), sample_path("test")), settings, ("q8_0",))
    return recipe.with_steps(steps)


def paper(steps: int = STEPS) -> Recipe:
    """Return the paper's recipe: Qwen2.5-7B in 4 bits on CARER with Unsloth, and GGUF in q4_k_m.

    The loss counts the whole prompt, as the paper's curves show.
    """
    from emolib.finetune import preset

    settings = preset("colab-t4", loss_on="all")
    recipe = Recipe("gpu", "Qwen2.5-7B in 4 bits on CARER, with Unsloth", ("dair-ai/emotion",), settings, ("q4_k_m",))
    return recipe.with_steps(steps)


def find_recipe(way: Way = "auto", steps: int = STEPS) -> Recipe:
    """Return the recipe of `way`; "auto" takes the paper's if there is a GPU that holds it.

    Raises DeviceError if `way` is "gpu" and no such GPU is there.
    """
    if way not in ("auto", "embedded", "gpu"):
        raise UsageError(f"a way is auto, embedded or gpu, not {way!r}")
    problem = _gpu_problem() if way != "embedded" else ""
    if way == "gpu" and problem:
        raise DeviceError(
            f"{problem}; in Colab choose Runtime > Change runtime type > T4 GPU, or take the embedded way"
        )
    return paper(steps) if way == "gpu" or (way == "auto" and not problem) else embedded(steps)


def _gpu_problem() -> str:
    """Why the paper's recipe cannot run here; empty if it can."""
    import torch

    from emolib.gpu import torch_problem

    if not torch.cuda.is_available():
        return torch_problem() or "the paper's training needs an NVIDIA GPU, and torch finds none"
    memory = torch.cuda.get_device_properties(0).total_memory / 1e9
    if memory < _NEEDED_GB:
        return f"the paper's training needs {_NEEDED_GB} GB of GPU memory, and this GPU has {memory:.0f} GB"
    return ""
