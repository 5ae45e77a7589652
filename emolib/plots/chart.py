"""A figure that knows its name and the points it shows.

A figure is a `matplotlib.figure.Figure` made without pyplot, so that drawing changes nothing in the caller's session.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.files import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BLUE", "GREY", "ORANGE", "Chart", "panels"]

# Okabe and Ito's colours, which the colour-blind can tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8a8a8a"
#: Fonts with Chinese characters, as Linux, macOS and Windows bring them along.
_CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
)


@dataclass(frozen=True)
class Chart:
    """A figure with its name and the points it shows (`columns`, then one tuple a point)."""

    name: str
    figure: Figure
    columns: tuple[str, ...]
    points: tuple[tuple[Any, ...], ...]

    def __repr__(self) -> str:
        # What stands in a notebook for those who cannot see the figure.
        return f"Figure {self.name} ({len(self.points)} points)"

    def png(self) -> bytes:
        """The figure as a PNG file in memory."""
        from matplotlib.text import Text

        for text in self.figure.findobj(Text):
            if not text.get_text().isascii():
                text.set_fontfamily(list(dict.fromkeys([*text.get_fontfamily(), *_fonts()])))
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


@cache
def _fonts() -> list[str]:
    """Return matplotlib's font, and after it those of this machine that have Chinese characters."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _CHINESE_FONTS if name in installed)]


def panels(titles: list[str], x: str, y: str, *, grid: bool = True) -> tuple[Figure, list[Axes]]:
    """A figure with one panel for each of `titles`, side by side, the axes named `x` and `y`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2 if len(titles) == 1 else 5.2 * len(titles), 4.2), dpi=120, layout="constrained")
    drawn = figure.subplots(1, len(titles), squeeze=False)[0]
    for axes, title in zip(drawn, titles, strict=True):
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlabel(x)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        if grid:
            axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    drawn[0].set_ylabel(y)
    return figure, list(drawn)
