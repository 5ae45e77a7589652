"""What a reader hands on: columns of equal length, and the rows that could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

__all__ = ["LABELS_FILE", "SPLITS", "SPLIT_NAMES", "Reject", "Table"]

#: The label set of a cleaned folder.
LABELS_FILE = "labels.json"

SPLITS = ("train", "validation", "test")
#: Words that say a split in the names of files and tables.
SPLIT_NAMES = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLIT_NAMES |= dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "validation")


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

    `lines`, `texts` and `labels` are columns of one length; labels stand as written, as names or as numbers in
    text. `soft` has a probability for each label and row where the source gives some, else it is empty.
    `label_names` maps numbers to names where the source itself says so. `split` is the official split, or None.
    """

    name: str
    split: str | None
    lines: pl.Series
    texts: pl.Series
    labels: pl.Series
    soft: Sequence[dict[str, float] | None] = ()
    rejects: Sequence[Reject] = ()
    label_names: tuple[str, ...] | None = None
