"""The rows that a reader collects, and the rejects among them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emolib.unicode import without_half_characters

if TYPE_CHECKING:
    import polars as pl

__all__ = ["MAX_CHARACTERS", "Rows", "label_text"]

#: A longer text is no text of a corpus: a broken quote or a file of another kind.
MAX_CHARACTERS = 100_000


@dataclass
class Rows:
    """What a reader collects: row by row, or all lines, texts and labels at once (`whole`)."""

    lines: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    soft: list[dict[str, float] | None] = field(default_factory=list)
    rejects: list[tuple[int, str, str]] = field(default_factory=list)
    whole: tuple[pl.Series, pl.Series, pl.Series] | None = None

    def add(self, line: int, text: str, label: str, soft: dict[str, float] | None = None) -> None:
        """Add a row; a text over MAX_CHARACTERS is rejected."""
        if len(text) > MAX_CHARACTERS:
            self.reject(line, text, f"the text has {len(text):,} characters; the limit is {MAX_CHARACTERS:,}")
            return
        self.lines.append(line)
        self.texts.append(without_half_characters(text))
        self.labels.append(without_half_characters(label))
        self.soft.append(soft)

    def columns(self) -> tuple[pl.Series, pl.Series, pl.Series]:
        """Return lines, texts and labels."""
        import polars as pl

        if self.whole is not None:
            return self.whole
        return (
            pl.Series(self.lines, dtype=pl.UInt32),
            pl.Series(self.texts, dtype=pl.String),
            pl.Series(self.labels, dtype=pl.String),
        )

    def reject(self, line: int, content: str, reason: str) -> None:
        """Add a line that is no row, with the reason."""
        self.rejects.append((line, without_half_characters(content[:200]), without_half_characters(reason)))


def label_text(value: Any) -> str | None:
    """Return the label `value` of a JSON or Parquet row as text, or None if it is no label.

    A whole number may be written as a float (pandas writes 3.0 if a column has gaps). Several labels, as GoEmotions
    has them, are joined with commas.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, list) and value:
        parts = [label_text(part) for part in value]
        return None if None in parts else ",".join(map(str, parts))
    return None
