"""Two runs on the same rows: how far apart they are, and whether that could be chance."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emolib.errors import InputError
from emolib.evaluate.model_scores import ModelScores
from emolib.evaluate.scores import Comparison, mcnemar
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
    models = [ModelScores(entry["gold"], entry["generated"]) for entry in answers]
    return RunComparison(
        (Path(first).name, Path(second).name),
        (models[0].accuracy, models[1].accuracy),
        len(models[0].gold),
        mcnemar(models[0].right, models[1].right),
    )


def _predictions(run: Path) -> dict[str, Any]:
    path = run / "predictions.json"
    if not path.is_file():
        raise InputError(f"{run} was not judged yet; run: emolib evaluate {run} --data CORPUS")
    return json.loads(path.read_text(encoding="utf-8"))
