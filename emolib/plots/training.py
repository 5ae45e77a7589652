"""The curves of training runs: one panel a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.errors import InputError
from emolib.plots.chart import BLUE, GREY, ORANGE, Chart, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from emolib.finetune import RunFolder

__all__ = ["cross_entropy_loss", "gradient_norm", "open_run", "training_loss"]


def training_loss(*runs: RunFolder | Path | str) -> Chart:
    """Training loss (nats a target token) over optimiser steps, with its running mean."""

    def draw(axes: Axes, log: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return _curve_with_mean(axes, _series(log, "loss", of="training loss"))

    return _chart("training_loss", "Training loss", "cross-entropy (nats a token)", ("step", "loss"), runs, draw)


def gradient_norm(*runs: RunFolder | Path | str) -> Chart:
    """Norm of the gradient before clipping over optimiser steps, with its running mean."""

    def draw(axes: Axes, log: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return _curve_with_mean(axes, _series(log, "grad_norm", of="gradient norm"))

    columns = ("step", "grad_norm")
    return _chart("training_grad_norm", "Gradient norm", "L2 norm before clipping", columns, runs, draw)


def cross_entropy_loss(*runs: RunFolder | Path | str) -> Chart:
    """Cross-entropy and accuracy on the held-out texts over optimiser steps."""

    def draw(axes: Axes, log: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        losses = _series(log, "eval_loss", of="evaluation loss")
        accuracies = dict(_series(log, "eval_accuracy", of="evaluation accuracy", required=False))
        axes.plot(*zip(*losses, strict=True), color=BLUE, marker="o", markersize=4, label="cross-entropy")
        if accuracies:
            right = axes.twinx()
            right.plot(accuracies.keys(), accuracies.values(), color=ORANGE, marker="s", markersize=4, linestyle="--")
            right.set_ylabel("accuracy (dashed)", color=ORANGE)
            right.set_ylim(0, 1)
            right.spines[["top"]].set_visible(False)
        return [(step, loss, accuracies.get(step, "")) for step, loss in losses]

    columns = ("step", "eval_loss", "eval_accuracy")
    title = "Held-out cross-entropy"
    return _chart("cross_entropy_loss", title, "cross-entropy (nats a token)", columns, runs, draw)


def open_run(run: RunFolder | Path | str) -> RunFolder:
    """`run` as a run folder; InputError if it is none."""
    from emolib.finetune import RunFolder

    return run if isinstance(run, RunFolder) else RunFolder.open(run)


def _chart(
    name: str,
    title: str,
    y: str,
    columns: tuple[str, ...],
    runs: Sequence[RunFolder | Path | str],
    draw: Callable[[Axes, list[dict[str, Any]]], list[tuple[Any, ...]]],
) -> Chart:
    """One panel a run, drawn by `draw`; of several runs each point says which it belongs to."""
    opened = [open_run(run) for run in runs]
    if len(opened) == 1:
        figure, (axes,) = panels([title], "optimiser step", y)
        return Chart(name, figure, columns, tuple(draw(axes, opened[0].log)))
    figure, drawn = panels([f"{title}: {run.path.name}" for run in opened], "optimiser step", y)
    points = [(run.path.name, *point) for axes, run in zip(drawn, opened, strict=True) for point in draw(axes, run.log)]
    return Chart(name, figure, ("run", *columns), tuple(points))


def _series(log: Iterable[Mapping[str, Any]], key: str, *, of: str, required: bool = True) -> list[tuple[int, float]]:
    points = [(int(line["step"]), float(line[key])) for line in log if line.get(key) is not None]
    if required and not points:
        raise InputError(f"log.jsonl has no {of} yet; train for at least one step first")
    return points


def _curve_with_mean(axes: Axes, points: list[tuple[int, float]], window: int = 8) -> list[tuple[Any, ...]]:
    steps, values = zip(*points, strict=True)
    axes.plot(steps, values, color=GREY, linewidth=1, alpha=0.7, label="each step")
    mean = [sum(values[max(0, i - window + 1) : i + 1]) / min(i + 1, window) for i in range(len(values))]
    axes.plot(steps, mean, color=BLUE, linewidth=2, label=f"mean of {window} steps")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return list(points)
