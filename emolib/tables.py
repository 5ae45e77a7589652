"""Tables for people: Markdown that reads well in a terminal too."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Table", "markdown_table", "percent"]


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f} %"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns; the first is set left, the others right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return "| " + " | ".join([f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in others)]) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])


@dataclass(frozen=True)
class Table:
    """A table for a notebook, which renders it, and for a terminal, where it is Markdown."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __repr__(self) -> str:
        return markdown_table(self.header, [[cell.replace("|", "\\|") for cell in row] for row in self.rows])

    def _repr_html_(self) -> str:
        def line(cells: Sequence[str], tag: str) -> str:
            first, *others = (html.escape(cell) for cell in cells)
            right = (f'<{tag} style="text-align: right">{cell}</{tag}>' for cell in others)
            return f'<tr><{tag} style="text-align: left">{first}</{tag}>{"".join(right)}</tr>'

        body = "".join(line(row, "td") for row in self.rows)
        return f"<table><thead>{line(self.header, 'th')}</thead><tbody>{body}</tbody></table>"
