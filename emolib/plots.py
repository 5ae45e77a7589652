"""Every figure of emolib, each from a run folder or a metrics file.

A figure is a `matplotlib.figure.Figure` made without pyplot, so that drawing changes nothing in the
caller's session; `plot_run` writes each as PNG beside a CSV of exactly the points that are drawn.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.emotions import EMOTIONS
from emolib.errors import InputError
from emolib.files import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from emolib.finetune import RunFolder

__all__ = [
    "Chart",
    "confusion_matrix",
    "cross_entropy_loss",
    "gradient_norm",
    "plot_run",
    "run_charts",
    "training_loss",
]

# Okabe and Ito's colours, which the colour-blind can tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8a8a8a"


@dataclass(frozen=True)
class Chart:
    """A figure with its name and the points it shows (`columns`, then one tuple a point)."""

    name: str
    figure: Figure
    columns: tuple[str, ...]
    points: tuple[tuple[Any, ...], ...]

    def png(self) -> bytes:
        """The figure as a PNG file in memory."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png")
        return buffer.getvalue()

    def _repr_png_(self) -> bytes:
        # What a notebook shows for the last line of a cell.
        return self.png()

    def save(self, folder: Path) -> Path:
        """Write NAME.png and NAME.csv into `folder`; the path of the PNG."""
        path = Path(folder) / f"{self.name}.png"
        with atomic_path(path) as temporary:
            temporary.write_bytes(self.png())
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.points)
        write_text(path.with_suffix(".csv"), table.getvalue())
        return path


def plot_run(run: RunFolder | Path | str, out: Path | str) -> list[Path]:
    """Draw every chart that the run has data for into the folder `out`; the paths of the PNGs."""
    return [chart.save(Path(out)) for chart in run_charts(run)]


def run_charts(run: RunFolder | Path | str) -> list[Chart]:
    """The charts of a run: training loss and gradient norm; evaluation loss and confusion where there are any."""
    run = _open(run)
    charts = [training_loss(run), gradient_norm(run)]
    if any("eval_loss" in line for line in run.log):
        charts.insert(1, cross_entropy_loss(run))
    if run.metrics_path.exists():
        charts.append(confusion_matrix(json.loads(run.metrics_path.read_text(encoding="utf-8"))))
    return charts


def training_loss(run: RunFolder | Path | str) -> Chart:
    """Training loss (nats a target token) over optimiser steps, with its running mean."""
    points = _series(_open(run).log, "loss", of="training loss")
    figure, axes = _axes("Training loss", "optimiser step", "cross-entropy (nats a token)")
    _curve_with_mean(axes, points)
    return Chart("training_loss", figure, ("step", "loss"), tuple(points))


def gradient_norm(run: RunFolder | Path | str) -> Chart:
    """Norm of the gradient before clipping over optimiser steps, with its running mean."""
    points = _series(_open(run).log, "grad_norm", of="gradient norm")
    figure, axes = _axes("Gradient norm", "optimiser step", "L2 norm before clipping")
    _curve_with_mean(axes, points)
    return Chart("training_grad_norm", figure, ("step", "grad_norm"), tuple(points))


def cross_entropy_loss(run: RunFolder | Path | str) -> Chart:
    """Cross-entropy and accuracy on the held-out texts over optimiser steps."""
    log = _open(run).log
    losses = _series(log, "eval_loss", of="evaluation loss")
    accuracies = dict(_series(log, "eval_accuracy", of="evaluation accuracy", required=False))
    figure, axes = _axes("Held-out cross-entropy", "optimiser step", "cross-entropy (nats a token)")
    axes.plot(*zip(*losses, strict=True), color=BLUE, marker="o", markersize=4, label="cross-entropy")
    if accuracies:
        right = axes.twinx()
        right.plot(accuracies.keys(), accuracies.values(), color=ORANGE, marker="s", markersize=4, linestyle="--")
        right.set_ylabel("accuracy (dashed)", color=ORANGE)
        right.set_ylim(0, 1)
        right.spines[["top"]].set_visible(False)
    points = tuple((step, loss, accuracies.get(step, "")) for step, loss in losses)
    return Chart("cross_entropy_loss", figure, ("step", "eval_loss", "eval_accuracy"), points)


def confusion_matrix(metrics: Mapping[str, Any]) -> Chart:
    """How often each true emotion (row) was answered with each label (column), as counts and shares of the row."""
    confusion = metrics["confusion"]
    rows = [label for label in EMOTIONS if label in confusion]
    columns = list(dict.fromkeys([*rows, *(name for row in rows for name in confusion[row])]))
    counts = [[int(confusion[row].get(column, 0)) for column in columns] for row in rows]
    figure, axes = _axes(f"Confusion on {metrics['n']:,} texts", "answer", "true emotion", grid=False)
    shares = [[count / (sum(row) or 1) for count in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            colour = "white" if shares[y][x] > 0.55 else "black"
            axes.text(x, y, f"{count}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    points = tuple((true, *row) for true, row in zip(rows, counts, strict=True))
    return Chart("confusion_matrix", figure, ("true", *columns), points)


def _open(run: RunFolder | Path | str) -> RunFolder:
    from emolib.finetune import RunFolder

    return run if isinstance(run, RunFolder) else RunFolder.open(run)


def _series(log: Iterable[Mapping[str, Any]], key: str, *, of: str, required: bool = True) -> list[tuple[int, float]]:
    points = [(int(line["step"]), float(line[key])) for line in log if line.get(key) is not None]
    if required and not points:
        raise InputError(f"log.jsonl has no {of} yet; train for at least one step first")
    return points


def _axes(title: str, x: str, y: str, *, grid: bool = True) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    return figure, axes


def _curve_with_mean(axes: Axes, points: Sequence[tuple[int, float]], window: int = 8) -> None:
    steps, values = zip(*points, strict=True)
    axes.plot(steps, values, color=GREY, linewidth=1, alpha=0.7, label="each step")
    mean = [sum(values[max(0, i - window + 1) : i + 1]) / min(i + 1, window) for i in range(len(values))]
    axes.plot(steps, mean, color=BLUE, linewidth=2, label=f"mean of {window} steps")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
