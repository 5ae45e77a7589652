"""Two runs on the same rows: how far apart they are, and whether that could be chance."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emolib.errors import InputError
from emolib.evaluate.model_scores import ModelScores
from emolib.evaluate.scores import Comparison, mcnemar
from emolib.labels import LabelSet
from emolib.tables import markdown_table, percent

__all__ = ["RunComparison", "compare_runs"]


@dataclass(frozen=True)
class RunComparison:
    """Two judged runs, by the names of their folders, and McNemar's test between them."""

    names: tuple[str, str]
    accuracies: tuple[float, float]
    rows: int
    test: Comparison

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        runs = [
            {"run": name, "accuracy": round(accuracy, 4)}
            for name, accuracy in zip(self.names, self.accuracies, strict=True)
        ]
        return {"rows": self.rows, "runs": runs, "mcnemar": self.test.as_dict()}

    def table(self) -> str:
        """A Markdown table, and what the test says."""
        rows = [[name, percent(accuracy)] for name, accuracy in zip(self.names, self.accuracies, strict=True)]
        return (
            markdown_table(["run", f"accuracy on {self.rows:,} rows"], rows)
            + f"\n\nMcNemar's test: {self.test.only_first} rows only the first gets right,"
            f" {self.test.only_second} only the second, p = {self.test.p_value:.2g}"
        )


def compare_runs(first: str | Path, second: str | Path) -> RunComparison:
    """Compare two runs that `evaluate_run` judged on the same corpus.

    InputError if one was not judged yet, or the two on different rows.
    """
    answers = [_predictions(Path(run)) for run in (first, second)]
    if answers[0]["data"]["sha256"] != answers[1]["data"]["sha256"] or answers[0]["rows"] != answers[1]["rows"]:
        raise InputError(
            f"{first} and {second} were judged on different rows; judge both with `emolib evaluate` on one --data"
        )
    right = [_right(entry) for entry in answers]
    return RunComparison(
        (Path(first).name, Path(second).name),
        (float(right[0].mean()), float(right[1].mean())),
        len(right[0]),
        mcnemar(right[0], right[1]),
    )


def _right(predictions: dict[str, Any]) -> np.ndarray:
    """Return which rows [N] were right: the sets of labels of a multi-label run, else the answers to the letter."""
    if "predicted" in predictions:
        return np.array([a == b for a, b in zip(predictions["gold"], predictions["predicted"], strict=True)])
    labels = LabelSet.from_dict(predictions.get("labels"))
    return ModelScores(predictions["gold"], predictions["generated"], labels=labels).right


def _predictions(run: Path) -> dict[str, Any]:
    path = run / "predictions.json"
    if not path.is_file():
        raise InputError(f"{run} was not judged yet; run: emolib evaluate {run} --data CORPUS")
    return json.loads(path.read_text(encoding="utf-8"))
