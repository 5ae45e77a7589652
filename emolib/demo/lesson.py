"""The notebooks' switch: the same cells on two cores and on a GPU."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from emolib.demo.folder import DemoFolder
from emolib.demo.recipe import STEPS, Recipe, Way, find_recipe
from emolib.demo.steps import prepare
from emolib.gpu import torch_problem

__all__ = ["Lesson", "lesson"]


@dataclass(frozen=True)
class Lesson:
    """The folder that all notebooks share, and the recipe that they follow."""

    folder: DemoFolder
    recipe: Recipe

    def prepare(self, until: str) -> DemoFolder:
        """Run what is missing up to and with the step `until` (clean, train, evaluate, compare, plot or export)."""
        return prepare(self.folder.path, until, self.recipe)


def lesson(way: Way = "auto", *, steps: int = STEPS, runs: Path | str = "../runs") -> Lesson:
    """Choose the way through the notebooks and print it: the paper's on a GPU, else the embedded one.

    Each way has a folder of its own in `runs`, so that a change of machine never mixes two trainings. The environment
    variable EMOLIB_WAY stands for "auto".
    """
    chosen = os.environ.get("EMOLIB_WAY", "auto") if way == "auto" else way
    recipe = find_recipe(chosen, steps)
    if chosen == "auto" and recipe.way == "embedded" and (problem := torch_problem()):
        print(f"Note: {problem}.")
    reason = "chosen" if chosen != "auto" else "a GPU is there" if recipe.way == "gpu" else "no GPU that holds 7B"
    print(f"The {recipe.way} way ({reason}): {recipe.title}, {steps} steps.")
    return Lesson(DemoFolder(Path(runs) / f"lesson-{recipe.way}"), recipe)
