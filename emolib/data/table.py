"""What a reader hands on: columns of equal length, and the rows that could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["SPLITS", "Reject", "Table"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Reject:
    """A row that cannot be used: its file, its line (from 1), how it begins, and why."""

    file: str
    line: int
    content: str
    reason: str


@dataclass(frozen=True)
class Table:
    """The rows of one file or one split of a data set, as they stand there.

    `labels` are the labels as written: names, or numbers as text. `label_names` maps numbers to names where
    the source itself says so. `split` is the official split, or None.
    """

    name: str
    split: str | None
    lines: Sequence[int]
    texts: Sequence[str]
    labels: Sequence[str]
    soft: Sequence[dict[str, float] | None]
    rejects: Sequence[Reject] = ()
    label_names: tuple[str, ...] | None = None
