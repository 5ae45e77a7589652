"""What evaluations found: confusion, reliability, and what fine-tuning made a chat model forget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emolib.errors import InputError
from emolib.plots.chart import BLUE, GREY, ORANGE, Chart, panels

__all__ = [
    "confusion_matrix",
    "forgetting",
    "hidden_state_map",
    "label_scores",
    "learning_curve",
    "model_accuracies",
    "reliability",
]


def confusion_matrix(metrics: Mapping[str, Any]) -> Chart:
    """How often each true label (row) was answered with each label (column), as counts and shares of the row."""
    confusion = metrics["confusion"]
    rows = list(confusion)
    columns = list(dict.fromkeys([*rows, *(name for row in rows for name in confusion[row])]))
    counts = [[int(confusion[row].get(column, 0)) for column in columns] for row in rows]
    title = f"Confusion on {metrics['n']:,} texts (shade: share of the row)"
    figure, (axes,) = panels([title], "answer", "true label", grid=False)
    shares = [[count / (sum(row) or 1) for count in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            colour = "white" if shares[y][x] > 0.55 else "black"
            axes.text(x, y, f"{count}", ha="center", va="center", color=colour, fontsize=min(9, 90 / len(columns)))
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    points = tuple((true, *row) for true, row in zip(rows, counts, strict=True))
    return Chart("confusion_matrix", figure, ("true", *columns), points)


def label_scores(metrics: Mapping[str, Any]) -> Chart:
    """The F1 of each label of a multi-label model, the best first, and how many texts have it."""
    found = metrics["per_label"]
    ranked = sorted(found, key=lambda label: -found[label]["f1"])
    title = f"F1 per label on {metrics['n']:,} texts (macro-F1 {metrics['macro_f1']:.3f})"
    figure, (axes,) = panels([title], "", "F1")
    axes.bar(range(len(ranked)), [found[label]["f1"] for label in ranked], color=BLUE)
    axes.axhline(metrics["macro_f1"], color=GREY, linewidth=1, linestyle=":")
    for x, label in enumerate(ranked):
        axes.text(x, found[label]["f1"] + 0.01, f"{found[label]['support']}", ha="center", fontsize=7, color=GREY)
    axes.set_xticks(range(len(ranked)), ranked, rotation=90)
    axes.set_ylim(0, 1.05)
    columns = ("label", "f1", "precision", "recall", "support")
    points = tuple((label, *(found[label][name] for name in columns[1:])) for label in ranked)
    return Chart("label_scores", figure, columns, points)


def learning_curve(metrics: Mapping[str, Any]) -> Chart:
    """Macro-F1 of each baseline against the rows per label, with the spread over draws; dotted lines are all rows.

    `metrics` are those of `evaluate_run` with `few_shot`. InputError if they were made without it.
    """
    entries = metrics.get("few_shot")
    if not entries:
        raise InputError("these metrics have no learning curve; run: emolib evaluate RUN --baseline-on C --few-shot 8")
    title = f"Few rows per label, on {metrics['n']:,} texts"
    figure, (axes,) = panels([title], "rows per label", "macro-F1")
    names = list(dict.fromkeys(entry["baseline"] for entry in entries))
    for name, colour in zip(names, (BLUE, ORANGE), strict=False):
        own = [entry for entry in entries if entry["baseline"] == name]
        few = [entry for entry in own if entry["rows_per_label"]]
        means, spreads = ([entry["macro_f1"][key] for entry in few] for key in ("mean", "std"))
        sizes = [entry["rows_per_label"] for entry in few]
        axes.errorbar(sizes, means, yerr=spreads, color=colour, marker="o", markersize=4, capsize=3, label=name)
        axes.axhline(own[-1]["macro_f1"]["mean"], color=colour, linewidth=1, linestyle=":", label=f"{name}, all rows")
    axes.axhline(metrics["macro_f1"], color=GREY, linewidth=1, linestyle="--", label="fine-tuned, its training rows")
    axes.set_xscale("log", base=2)
    axes.set_ylim(0, 1.05)
    axes.legend(frameon=False, loc="upper left")
    columns = ("baseline", "rows per label", "rows", "macro_f1", "std")
    points = tuple(
        (one["baseline"], one["rows_per_label"] or "all", one["rows"], one["macro_f1"]["mean"], one["macro_f1"]["std"])
        for one in entries
    )
    return Chart("learning_curve", figure, columns, points)


def reliability(metrics: Mapping[str, Any]) -> Chart:
    """Accuracy against confidence in equal-width bins, and beside it the accuracy of what is not abstained on.

    `metrics` are those of `evaluate_run`. InputError if they were made without label scores.
    """
    if not metrics.get("constrained"):
        raise InputError("these metrics have no label scores: there is no confidence to draw")
    calibration = metrics["constrained"]["calibration"]
    title = f"Reliability on {metrics['n']:,} texts (ECE {100 * calibration['ece']:.1f} %)"
    figure, (left, right) = panels([title, "Accuracy with abstention"], "confidence", "accuracy")
    left.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="perfect calibration")
    middles = [(entry["low"] + entry["high"]) / 2 for entry in calibration["bins"]]
    accuracies = [entry["accuracy"] for entry in calibration["bins"]]
    left.bar(middles, accuracies, width=0.085, color=BLUE, label="accuracy")
    for middle, entry in zip(middles, calibration["bins"], strict=True):
        left.text(middle, entry["accuracy"] + 0.015, f"{entry['count']}", ha="center", fontsize=7, color=GREY)
    left.legend(frameon=False, loc="upper left")
    answered = [entry for entry in calibration["abstention"] if entry["accuracy"] is not None]
    thresholds = [entry["threshold"] for entry in answered]
    right.plot(
        thresholds, [entry["accuracy"] for entry in answered], color=BLUE, label="accuracy of the answered texts"
    )
    coverage = [entry["coverage"] for entry in answered]
    right.plot(thresholds, coverage, color=ORANGE, linestyle="--", label="share of texts answered")
    right.set_xlabel("abstains below this confidence")
    right.legend(frameon=False, loc="lower left")
    for axes in (left, right):
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.05)
    columns = ("low", "high", "count", "confidence", "accuracy")
    return Chart(
        "reliability", figure, columns, tuple(tuple(entry[key] for key in columns) for entry in calibration["bins"])
    )


def forgetting(measured: Sequence[Mapping[str, Any]]) -> Chart:
    """What merging costs the chat model as the adapter is trained: perplexity, and replies that are a bare label.

    `measured` are results of `measure_continuity`, one for each number of steps; step 0 is the base model.
    """
    if not measured:
        raise InputError("no dialogues were measured; run: emolib evaluate RUN --dialogue")
    ordered = sorted(measured, key=lambda found: found["steps"])
    base = ordered[0]["scores"]["base"]
    steps = [0, *(found["steps"] for found in ordered)]
    titles = ["Perplexity of reference replies", "Replies that are a bare label"]
    figure, drawn = panels(titles, "optimiser steps of the adapter", "")
    curves = {}
    for axes, key in zip(drawn, ("perplexity", "format_lock"), strict=True):
        for name, colour, style in (("merged", ORANGE, "-"), ("switched off", BLUE, "--")):
            curves[name, key] = [base[key], *(found["scores"][name][key] for found in ordered)]
            axes.plot(steps, curves[name, key], color=colour, linestyle=style, marker="o", markersize=4, label=name)
        axes.set_ylim(bottom=0)
    drawn[1].set_ylim(-0.03, 1.03)
    drawn[0].legend(frameon=False)
    columns = ("steps", *(f"{name} {key}" for name, key in curves))
    return Chart("forgetting", figure, columns, tuple(zip(steps, *curves.values(), strict=True)))


def model_accuracies(models: Mapping[str, tuple[float, float, float]]) -> Chart:
    """Draw the accuracy of each model with its 95 % interval: {name: (accuracy, low, high)}, in this order."""
    if not models:
        raise InputError("there is no model to draw; evaluate one first")
    figure, (axes,) = panels(["Accuracy with 95 % intervals"], "accuracy", "", grid=False)
    rows = list(range(len(models)))
    for row, (accuracy, low, high) in zip(rows, models.values(), strict=True):
        axes.barh(row, accuracy, height=0.6, color=BLUE, alpha=0.85)
        axes.errorbar(accuracy, row, xerr=[[accuracy - low], [high - accuracy]], color="black", capsize=4, linewidth=1)
        axes.text(high + 0.015, row, f"{100 * accuracy:.1f} %", va="center", fontsize=9)
    axes.set_yticks(rows, models)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.08)
    points = tuple((name, *values) for name, values in models.items())
    return Chart("model_accuracies", figure, ("model", "accuracy", "low", "high"), points)


def hidden_state_map(states: Mapping[str, Sequence[Sequence[float]]], labels: Sequence[str]) -> Chart:
    """Points in two dimensions, one panel per model: {title: [N, 2]}, coloured and shaped by the N `labels`.

    The two dimensions of each panel are its own.
    """
    from emolib.labels import LabelSet

    names = list(dict.fromkeys(sorted(labels)))
    colours = LabelSet(tuple(names)).colours if len(names) > 1 else (BLUE,)
    figure, drawn = panels(list(states), "first principal component", "second principal component", grid=False)
    for axes, found in zip(drawn, states.values(), strict=True):
        for name, colour, marker in zip(names, colours, "osD^vPX*" * len(names), strict=False):
            own = [point for point, label in zip(found, labels, strict=True) if label == name]
            axes.scatter(
                *zip(*own, strict=True), s=18, color=colour, marker=marker, alpha=0.75, label=name, linewidths=0
            )
    drawn[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    points = tuple(
        (title, label, *map(float, point))
        for title, found in states.items()
        for point, label in zip(found, labels, strict=True)
    )
    return Chart("hidden_states", figure, ("model", "label", "first", "second"), points)
