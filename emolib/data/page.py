"""The cleaning report as a page for people: one HTML file with its plots in it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from emolib import html_pages
from emolib.data.report import CleanReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_page"]

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#8a8a8a"


def write_page(report: CleanReport, path: Path) -> None:
    """Write the page of `report` to `path`."""
    pairs = report.findings.conflict_pairs
    html_pages.write_page(
        "cleaning.html",
        path,
        report=report,
        balance=_picture(_balance_figure(report.balance), "texts per label and split"),
        lengths=_picture(_length_figure(report.lengths["histogram"]), "words per text"),
        pairs=_picture(_pairs_figure(pairs), "conflicting texts by pair of labels") if pairs else None,
    )


def _picture(figure: Figure, title: str) -> html_pages.Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return html_pages.Picture(title, html_pages.data_url(buffer.getvalue(), "image/png"))


def _figure(title: str) -> tuple[Figure, object]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.2), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _balance_figure(balance: Mapping[str, Mapping[str, int]]) -> Figure:
    figure, axes = _figure("Texts per label")
    width = 0.8 / max(len(balance), 1)
    labels = list(dict.fromkeys(label for counts in balance.values() for label in counts))
    colours = {"train": _BLUE, "validation": _GREY, "test": _ORANGE}
    for place, (split, counts) in enumerate(balance.items()):
        xs = [index + (place - (len(balance) - 1) / 2) * width for index in range(len(labels))]
        axes.bar(xs, [counts.get(label, 0) for label in labels], width, label=split, color=colours[split])
    upright = sum(map(len, labels)) > 80
    axes.set_xticks(range(len(labels)), labels, rotation=90 if upright else 0)
    axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def _length_figure(histogram: Mapping[str, int]) -> Figure:
    figure, axes = _figure("Words per text (the last bar includes all longer ones)")
    longest = max(map(int, histogram))
    texts = [histogram.get(str(length), 0) for length in range(longest + 1)]
    axes.stairs(texts, [length - 0.5 for length in range(longest + 2)], fill=True, color=_BLUE)
    return figure


def _pairs_figure(pairs: Mapping[str, int]) -> Figure:
    figure, axes = _figure("Texts that have both labels")
    shown = list(pairs.items())[:10][::-1]
    axes.barh([pair for pair, _ in shown], [count for _, count in shown], color=_BLUE)
    return figure
