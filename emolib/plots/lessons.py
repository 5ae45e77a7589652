"""Drawings of the notebooks: what LoRA adds, which tokens count in the loss, and how the labels are distributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emolib.errors import InputError
from emolib.plots.chart import BLUE, GREY, ORANGE, Chart, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from emolib.prompting.token_parts import TokenPart

__all__ = ["class_balance", "lora_drawing", "quantised_files", "rounding", "token_masks"]

_PART_COLOURS = {"prefix": "#cfd8dc", "text": "#9ecae1", "bridge": "#cfe8cf", "label": "#fdae6b"}
#: Characters in a line of tokens.
_LINE = 112


def lora_drawing(outputs: int, inputs: int, rank: int) -> Chart:
    """Draw one adapted layer to scale: the frozen matrix W, and beside it A and B with their parameter counts."""
    from matplotlib.patches import FancyArrowPatch, Rectangle

    figure, (axes,) = panels(["One layer with LoRA: W x + (alpha / r) · B A x"], "", "", grid=False)
    height, width = outputs / max(outputs, inputs), inputs / max(outputs, inputs)
    thin = max(rank / max(outputs, inputs), 0.03)
    boxes = (
        ("W, frozen", 0.0, 0.0, width, height, GREY, outputs, inputs),
        ("A, trained", width + 0.75, 0.0, width, thin, BLUE, rank, inputs),
        ("B, trained", width + 0.45, 0.0, thin, height, ORANGE, outputs, rank),
    )
    for name, x, y, wide, high, colour, rows, columns in boxes:
        axes.add_patch(Rectangle((x, y), wide, high, facecolor=colour, alpha=0.85, edgecolor="black", linewidth=0.8))
        note = f"{name}\n{rows:,} × {columns:,}\n{rows * columns:,} parameters"
        inside = name.startswith("W")
        place = (x + wide / 2, y + high / 2) if inside else (x + wide / 2, y + high + 0.04)
        axes.text(*place, note, ha="center", va="center" if inside else "bottom", fontsize=10)
    axes.text(width + 0.16, height / 2, "+", fontsize=22, ha="center", va="center")
    axes.text(width + 0.45 + thin + 0.12, thin / 2 + 0.01, "×", fontsize=18, ha="center", va="center")
    axes.add_patch(
        FancyArrowPatch((width + 1.0, -0.13), (width + 0.6, -0.13), arrowstyle="->", mutation_scale=12, color=GREY)
    )
    axes.text(width + 0.8, -0.17, "x goes through A, then through B", fontsize=8, color=GREY, ha="center", va="top")
    axes.set_xlim(-0.05, 2 * width + 0.85)
    axes.set_ylim(-0.3, height + 0.32)
    axes.set_aspect("equal")
    axes.axis("off")
    points = tuple((name, rows, columns, rows * columns) for name, *_, rows, columns in boxes)
    return Chart("lora", figure, ("matrix", "rows", "columns", "parameters"), points)


def token_masks(parts: Sequence[TokenPart]) -> Chart:
    """Draw a prompt token by token, once for each setting of `loss_on`: tokens that count in the loss have a colour."""
    from matplotlib.patches import Patch

    lines = _wrapped(parts)
    figure, drawn = panels(['loss_on="response"', 'loss_on="all"'], "", "", grid=False)
    figure.set_size_inches(9.5, 0.34 * len(lines) * 2 + 1.4)
    grid = figure.add_gridspec(2, 1)
    for place, (axes, name) in enumerate(zip(drawn, ("response", "all"), strict=True)):
        axes.set_subplotspec(grid[place])
        counted = sum(getattr(part, name) for part in parts)
        axes.set_title(f'loss_on="{name}": {counted} of {len(parts)} tokens count', loc="left", fontweight="bold")
        _draw_tokens(axes, lines, name)
    shown = [Patch(facecolor=colour, edgecolor=GREY, label=part) for part, colour in _PART_COLOURS.items()]
    shown.append(Patch(facecolor="white", edgecolor="#dddddd", label="does not count"))
    figure.legend(handles=shown, loc="outside lower center", ncols=len(shown), frameon=False, fontsize=9)
    points = tuple((part.token, part.part, int(part.response), int(part.all)) for part in parts)
    return Chart("token_masks", figure, ("token", "part", "response", "all"), points)


def _wrapped(parts: Sequence[TokenPart]) -> list[list[TokenPart]]:
    """Return the tokens in lines of at most _LINE characters; a line break in the prompt ends a line."""
    lines: list[list[TokenPart]] = [[]]
    for part in parts:
        used = sum(len(other.shown) + 1 for other in lines[-1])
        broken = bool(lines[-1]) and "\n" in lines[-1][-1].token and "\n" not in part.token
        if broken or used + len(part.shown) > _LINE:
            lines.append([])
        lines[-1].append(part)
    return lines


def _draw_tokens(axes: Axes, lines: Sequence[Sequence[TokenPart]], name: str) -> None:
    axes.set_xlim(0, _LINE)
    axes.set_ylim(len(lines), -0.3)
    axes.axis("off")
    for row, line in enumerate(lines):
        column = 0.0
        for part in line:
            counts = getattr(part, name)
            axes.text(
                column + 0.4,
                row + 0.35,
                part.shown,
                family="DejaVu Sans Mono",
                fontsize=8.5,
                va="center",
                color="black" if counts else "#777777",
                bbox={
                    "boxstyle": "square,pad=0.18",
                    "facecolor": _PART_COLOURS[part.part] if counts else "white",
                    "edgecolor": GREY if counts else "#dddddd",
                    "linewidth": 0.6,
                },
            )
            column += len(part.shown) + 1


def class_balance(balance: Mapping[str, Mapping[str, int]]) -> Chart:
    """Draw how many texts of each split have each label: `balance` of a cleaning report, {split: {label: texts}}.

    InputError if it is empty.
    """
    if not balance:
        raise InputError("there are no texts to count; clean a corpus first")
    figure, drawn = panels([f"{split}: {sum(counts.values()):,}" for split, counts in balance.items()], "", "texts")
    for axes, counts in zip(drawn, balance.values(), strict=True):
        axes.bar(range(len(counts)), counts.values(), color=BLUE, width=0.7)
        for place, count in enumerate(counts.values()):
            axes.text(place, count, f"{count:,}", ha="center", va="bottom", fontsize=8, color=GREY)
        axes.set_xticks(range(len(counts)), counts, rotation=30, ha="right")
    points: tuple[tuple[Any, ...], ...] = tuple(
        (split, label, count) for split, counts in balance.items() for label, count in counts.items()
    )
    return Chart("class_balance", figure, ("split", "label", "texts"), points)


def quantised_files(rows: Sequence[Mapping[str, Any]]) -> Chart:
    """Draw the ways to run a model (`FileComparison.as_dicts`): their megabytes, and the share they get right."""
    figure, (sizes, shares) = panels(["Size", "Accuracy"], "", "", grid=False)
    names = [row["name"] for row in rows]
    for axes, values, form, colour in (
        (sizes, [row["megabytes"] for row in rows], "{:,.0f} MB", BLUE),
        (shares, [100 * row["accuracy"] for row in rows], "{:.1f} %", ORANGE),
    ):
        bars = axes.barh(names, values, color=colour, alpha=0.85, height=0.6)
        axes.bar_label(bars, [form.format(value) for value in values], padding=4, fontsize=10)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.25 * max(values))
    sizes.set_xlabel("MB on disk or in memory")
    shares.set_xlabel("% of the texts classified as labelled")
    shares.set_yticklabels([])
    columns = ("name", "megabytes", "bits", "accuracy", "texts_per_second")
    return Chart("quantised_files", figure, columns, tuple(tuple(row[name] for name in columns) for row in rows))


def rounding(values: Sequence[float], rounded: Mapping[int, Sequence[float]]) -> Chart:
    """Draw a block of weights, and what is left of it with so many bits each."""
    figure, (axes,) = panels(["One block of weights, and the same rounded"], "weight", "value")
    places = range(len(values))
    axes.plot(places, values, "o", color=GREY, markersize=7, label="as it was")
    for (bits, kept), colour, mark in zip(sorted(rounded.items(), reverse=True), (BLUE, ORANGE), "x_", strict=False):
        axes.plot(places, kept, mark, color=colour, markersize=9, markeredgewidth=2, label=f"in {bits} bits")
    axes.legend(frameon=False, ncols=3, loc="upper left")
    low, high = min(values), max(values)
    axes.set_ylim(low - 0.1 * (high - low), high + 0.3 * (high - low))
    columns = ("weight", "value", *(f"in {bits} bits" for bits in rounded))
    return Chart("rounding", figure, columns, tuple(zip(places, values, *rounded.values(), strict=True)))
