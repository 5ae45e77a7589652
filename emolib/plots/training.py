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

__all__ = [
    "centred_mean",
    "cross_entropy_loss",
    "gradient_norm",
    "learning_rate",
    "open_run",
    "paper_comparison",
    "run_comparison",
    "smoothing",
    "training_loss",
]

#: Steps of the running mean.
_WINDOW = 9
#: What the paper's curves show over 60 steps: (first step, last step, lowest, highest).
_PAPER = {
    "loss": ((1, 1, 2.6, 2.6), (2, 2, 2.8, 2.8), (50, 60, 0.6, 1.1)),
    "grad_norm": ((1, 5, 0.8, 1.0), (10, 10, 1.5, 1.5), (30, 60, 0.25, 0.3)),
}


def training_loss(*runs: RunFolder | Path | str) -> Chart:
    """Training loss (nats per target token) over optimiser steps, with its running mean."""

    def draw(axes: Axes, log: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return _curve_with_mean(axes, _series(log, "loss", of="training loss"))

    return _chart("training_loss", "Training loss", "cross-entropy (nats per token)", ("step", "loss"), runs, draw)


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
    return _chart("cross_entropy_loss", title, "cross-entropy (nats per token)", columns, runs, draw)


def learning_rate(*runs: RunFolder | Path | str) -> Chart:
    """Learning rate of each optimiser step: the warm-up, then the schedule."""

    def draw(axes: Axes, log: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        points = _series(log, "learning_rate", of="learning rate")
        axes.plot(*zip(*points, strict=True), color=BLUE, linewidth=2)
        axes.set_ylim(bottom=0)
        return list(points)

    columns = ("step", "learning_rate")
    return _chart("learning_rate", "Learning rate", "learning rate", columns, runs, draw)


def smoothing(run: RunFolder | Path | str, window: int = _WINDOW) -> Chart:
    """The training loss smoothed twice: by a mean of the last steps, which lags, and by a mean around each step."""
    steps, values = zip(*_series(open_run(run).log, "loss", of="training loss"), strict=True)
    trailing, centred = _trailing_mean(values, window), centred_mean(values, window)
    figure, (axes,) = panels(["Two ways to smooth one curve"], "optimiser step", "cross-entropy (nats per token)")
    axes.plot(steps, values, color=GREY, linewidth=1, alpha=0.6, label="each step")
    axes.plot(steps, trailing, color=ORANGE, linestyle="--", label=f"mean of the last {window} steps")
    axes.plot(steps, centred, color=BLUE, linewidth=2, label=f"mean of {window} steps, centred")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    points = tuple(zip(steps, values, trailing, centred, strict=True))
    return Chart("smoothing", figure, ("step", "loss", "trailing", "centred"), points)


def run_comparison(runs: Mapping[str, RunFolder | Path | str]) -> Chart:
    """One panel per run, each with its own height: training loss and held-out loss. `runs` are named by titles."""
    opened = {title: open_run(run) for title, run in runs.items()}
    figure, drawn = panels(list(opened), "optimiser step", "cross-entropy (nats per token)")
    points: list[tuple[Any, ...]] = []
    for axes, (title, run) in zip(drawn, opened.items(), strict=True):
        for key, name, style in (
            ("loss", "training loss", {"color": BLUE}),
            ("eval_loss", "held-out loss", {"color": ORANGE, "marker": "o", "markersize": 4, "linestyle": "--"}),
        ):
            found = _series(run.log, key, of=name, required=key == "loss")
            if found:
                axes.plot(*zip(*found, strict=True), label=name, **style)
            points += [(title, step, name, value) for step, value in found]
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
    return Chart("run_comparison", figure, ("run", "step", "curve", "value"), tuple(points))


def paper_comparison(run: RunFolder | Path | str) -> Chart:
    """Loss and gradient norm of a run, and in orange what the paper's curves show (Qwen2.5-7B on CARER, 60 steps).

    The paper counts the loss over the whole prompt. The points are the run's.
    """
    log = open_run(run).log
    figure, drawn = panels(["Training loss", "Gradient norm"], "optimiser step", "")
    found = {key: _series(log, key, of=key) for key in _PAPER}
    for axes, (key, seen) in zip(drawn, _PAPER.items(), strict=True):
        steps, values = zip(*found[key], strict=True)
        axes.plot(steps, values, color=GREY, linewidth=1, alpha=0.6)
        axes.plot(steps, centred_mean(values), color=BLUE, linewidth=2, label="this run")
        for place, (first, last, low, high) in enumerate(seen):
            label = "the paper's" if place == 0 else None
            if first == last:
                axes.plot([first], [high], color=ORANGE, marker="D", markersize=5, linestyle="none", label=label)
            else:
                axes.fill_between([first, last], low, high, color=ORANGE, alpha=0.45, linewidth=0, label=label)
        axes.set_ylim(0, 1.08 * max(*values, *(high for *_, high in seen)))
        axes.legend(frameon=False)
    drawn[0].set_ylabel("cross-entropy (nats per token)")
    drawn[1].set_ylabel("L2 norm before clipping")
    points = tuple((key, *point) for key, points in found.items() for point in points)
    return Chart("paper_comparison", figure, ("curve", "step", "value"), points)


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


def _curve_with_mean(axes: Axes, points: list[tuple[int, float]]) -> list[tuple[Any, ...]]:
    steps, values = zip(*points, strict=True)
    axes.plot(steps, values, color=GREY, linewidth=1, alpha=0.7, label="each step")
    axes.plot(steps, centred_mean(values), color=BLUE, linewidth=2, label=f"mean of {_WINDOW} steps, centred")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return list(points)


def centred_mean(values: Sequence[float], window: int = _WINDOW) -> list[float]:
    """Return the mean of `window` values around each; at the ends of as many as there are on both sides."""
    means = []
    for place in range(len(values)):
        reach = min(window // 2, place, len(values) - 1 - place)
        around = values[place - reach : place + reach + 1]
        means.append(sum(around) / len(around))
    return means


def _trailing_mean(values: Sequence[float], window: int) -> list[float]:
    return [
        sum(values[max(0, place - window + 1) : place + 1]) / min(place + 1, window) for place in range(len(values))
    ]
