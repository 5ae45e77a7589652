"""A chart as SVG that stands in a page: in the page's colours, with the value of each point when it is pointed at."""

from __future__ import annotations

import html
import io
import re
from typing import TYPE_CHECKING, Any

from emolib.plots.chart import BLUE, GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from emolib.plots.chart import Chart

__all__ = ["chart_svg"]

_PROLOGUE = re.compile(r"^.*?(?=<svg )", re.S)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.S)
_INK = "#000000"
#: Nearly black, for what stands on a colour of its own and is dark in either theme.
_ON_COLOUR = "#010101"


def chart_svg(chart: Chart, title: str) -> str:
    """Return the chart as an `<svg>` element named `title`; pointing at a point or a cell shows its value.

    Its text and lines take the page's `currentColor`, and its background is the page's. The chart itself is changed
    by it, and serves nothing else afterwards.
    """
    from matplotlib import rc_context

    for axes in chart.figure.axes:
        # Lines that only guide the eye are faint on any paper.
        for line in (*axes.get_xgridlines(), *axes.get_ygridlines()):
            line.set(color=GREY, alpha=0.3)
        for text in axes.texts if axes.images else ():
            if text.get_color() == "black":
                text.set_color(_ON_COLOUR)
        for text in axes.texts:
            text.set_bbox(None)
    hovers = [hover for axes in chart.figure.axes for hover in _hovers(axes)]
    for number, (artist, _) in enumerate(hovers):
        artist.set_gid(f"hover{number}")
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": chart.name}):
        chart.figure.savefig(buffer, format="svg", transparent=True)
    drawn = _METADATA.sub("", _PROLOGUE.sub("", buffer.getvalue()))
    for number, (_, values) in enumerate(hovers):
        drawn = _with_titles(drawn, f"hover{number}", values)
    drawn = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{chart.name}-", drawn)
    drawn = drawn.replace(_INK, "currentColor")
    for name, colour in (("blue", BLUE), ("orange", ORANGE), ("grey", GREY)):
        drawn = drawn.replace(colour.lower(), f"var(--chart-{name}, {colour})")
    # What has no colour is black, as text is.
    opening = f'<svg role="img" aria-label="{html.escape(title)}" fill="currentColor" '
    return re.sub(r'(width|height)="[\d.]+pt" ?', "", drawn.replace("<svg ", opening, 1), count=2)


def _hovers(axes: Axes) -> list[tuple[Any, list[str]]]:
    """The artists of `axes` that have values, each with the text of each of its points."""
    found: list[tuple[Any, list[str]]] = []
    for line in [line for line in axes.lines if not line.get_label().startswith("_") or line.get_marker() != "None"]:
        points = list(zip(line.get_xdata(), line.get_ydata(), strict=True))
        name = "" if line.get_label().startswith("_") else f"{line.get_label()}: "
        spots = axes.scatter(*zip(*points, strict=True), s=70, alpha=0, linewidths=0)
        found.append((spots, [f"{name}{axes.get_xlabel()} {x:g}, {y:.4g}" for x, y in points]))
    for bars in axes.containers:
        found += [(bar, [_bar_text(axes, bar, bars.orientation)]) for bar in bars]
    if axes.images:
        rows, columns = _names(axes.get_yticklabels()), _names(axes.get_xticklabels())
        for text in axes.texts:
            column, row = map(int, text.get_position())
            found.append((text, [f"{rows[row]} answered as {columns[column]}: {text.get_text()}"]))
    return found


def _bar_text(axes: Axes, bar: Any, orientation: str) -> str:
    if orientation == "vertical":
        return f"{axes.get_xlabel()} {bar.get_x() + bar.get_width() / 2:.2f}, {bar.get_height():.3g}"
    row = _names(axes.get_yticklabels())[round(bar.get_y() + bar.get_height() / 2)]
    return f"{row}: {bar.get_width():.0f} ms, from {bar.get_x():.0f} ms on"


def _names(ticks: list[Any]) -> list[str]:
    return [tick.get_text() for tick in ticks]


def _with_titles(drawn: str, group: str, values: list[str]) -> str:
    start = drawn.find(f'<g id="{group}">')
    if start < 0:
        return drawn
    after = start + len(f'<g id="{group}">')
    if len(values) == 1:
        return f"{drawn[:after]}<title>{html.escape(values[0])}</title>{drawn[after:]}"
    left = iter(values)

    def titled(use: re.Match[str]) -> str:
        value = next(left, None)
        return use[0] if value is None else f"{use[0][:-2]}><title>{html.escape(value)}</title></use>"

    end = drawn.find("<g id=", after)
    end = len(drawn) if end < 0 else end
    return drawn[:after] + re.sub(r"<use [^>]*/>", titled, drawn[after:end]) + drawn[end:]
