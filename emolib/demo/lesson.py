"""The notebooks' switch: the same cells on two cores and on a GPU."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from emolib.demo.folder import DemoFolder
from emolib.demo.notebook_errors import explain_errors
from emolib.demo.recipe import STEPS, Recipe, Way, find_recipe
from emolib.demo.steps import prepare
from emolib.errors import InputError, UsageError
from emolib.files import write_text
from emolib.gpu import torch_problem

if TYPE_CHECKING:
    from emolib.data import CleanReport, Corpus
    from emolib.finetune import RunFolder, TrainSettings

__all__ = ["Lesson", "lesson"]

#: The paper's corpus on the hub.
_CARER = "dair-ai/emotion"


@dataclass(frozen=True)
class Lesson:
    """The folder that all notebooks share, and the recipe that they follow."""

    folder: DemoFolder
    recipe: Recipe

    def prepare(self, until: str) -> DemoFolder:
        """Run what is missing up to and with the step `until` (clean, train, evaluate, compare, plot or export)."""
        return prepare(self.folder.path, until, self.recipe)

    def train(self, settings: TrainSettings, *, name: str = "mine", data: Corpus | None = None) -> RunFolder:
        """Train with `settings` and return the run.

        The recipe's own settings continue the lesson: the next notebooks use that run. Other settings, or other
        `data`, are trained beside it in the folder `tries/NAME`, again only if they have changed since; for no more
        steps than EMOLIB_STEPS says.
        """
        from emolib.finetune import RunFolder, train

        if data is None and settings == self.recipe.settings:
            return RunFolder.open(self.prepare("train").run)
        if not (self.folder.corpus / "report.json").is_file():
            self.prepare("clean")
        settings = settings.replace(max_steps=min(settings.max_steps, _chosen_steps(settings.max_steps)))
        out = self.folder.path / "tries" / name
        same = not _is_another(RunFolder(out), settings, data)
        return train(
            data or self.folder.corpus, out, settings, validation=self._held_out() if data else None, resume=same
        )

    def clean_carer(self) -> CleanReport | None:
        """Clean CARER from the hub; without the hub say so in a sentence, and return None."""
        from emolib.data import clean_corpus

        try:
            return clean_corpus(_CARER, self.folder.path / "carer")
        except InputError as problem:
            print(f"CARER is not cleaned here: {problem}.")
            return None

    def _held_out(self) -> Path:
        """The split that a training is judged by: validation, or the test if there is none."""
        found = self.folder.corpus / "validation.jsonl"
        return found if found.is_file() else self.folder.corpus / "test.jsonl"


def _is_another(run: RunFolder, settings: TrainSettings, data: Corpus | None) -> bool:
    """Whether the folder holds a run with other settings or data."""
    if not run.config_path.is_file():
        return False
    same_data = data is None or run.config["data"]["sha256"] == data.sha256
    return run.config["settings"] != settings.as_dict() or not same_data


def lesson(way: Way = "auto", *, steps: int = STEPS, runs: Path | str = "../runs") -> Lesson:
    """Choose the way through the notebooks and print it: the paper's on a GPU, else the embedded one.

    Each way has a folder of its own in `runs`, so that a change of machine never mixes two trainings. The environment
    variable EMOLIB_WAY stands for "auto", EMOLIB_STEPS, if it is set, for `steps`, and EMOLIB_ROWS for how many
    sentences of the sample corpus a model is tested on. From here on an error of the library ends in one sentence,
    without a traceback.
    """
    explain_errors()
    chosen = os.environ.get("EMOLIB_WAY", "auto") if way == "auto" else way
    steps = _chosen_steps(steps)
    recipe = find_recipe(chosen, steps)
    if chosen == "auto" and recipe.way == "embedded" and (problem := torch_problem()):
        print(f"Note: {problem}.")
    reason = "chosen" if chosen != "auto" else "a GPU is there" if recipe.way == "gpu" else "no GPU that holds 7B"
    print(f"The {recipe.way} way ({reason}): {recipe.title}, {steps} steps.")
    folder = DemoFolder(Path(runs) / f"lesson-{recipe.way}")
    rows = _number("EMOLIB_ROWS")
    if rows and recipe.way == "embedded":
        recipe = replace(recipe, sources=(recipe.sources[0], _part_of(Path(recipe.sources[1]), rows, folder.path)))
    return Lesson(folder, recipe)


def _chosen_steps(steps: int) -> int:
    return _number("EMOLIB_STEPS") or steps


def _number(variable: str) -> int | None:
    """The number in an environment variable, None if it is not set."""
    written = os.environ.get(variable, "")
    if not written:
        return None
    if not written.isdecimal() or int(written) < 1:
        raise UsageError(f"{variable} is a number from 1 on, such as 60, not {written!r}")
    return int(written)


def _part_of(source: Path, rows: int, folder: Path) -> Path:
    """Write so many rows of the file `source`, from all of its parts, into `folder`; its path."""
    header, *lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    part = folder / source.name
    write_text(part, header + "".join(lines[:: max(1, len(lines) // rows)][:rows]))
    return part
