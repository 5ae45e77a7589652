"""Tables in memory: DataFrames of pandas and polars, Arrow tables, `datasets.Dataset`, and mappings of splits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.data.columns import Columns, find_columns, find_label_columns, find_text_column, switched_on
from emolib.data.rows import Rows, label_text
from emolib.data.table import SPLIT_NAMES, Reject, Table
from emolib.errors import InputError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["FRAME", "Frame", "class_names", "is_frame", "read_frame", "read_frames"]

#: A table in memory: see `is_frame`.
Frame = Any
#: Rows in which columns of labels are found.
_SAMPLE = 200
#: How a table without a name is called.
FRAME = "the DataFrame"


def class_names(feature: Any) -> tuple[str, ...] | None:
    """Return the names that a `ClassLabel` of datasets, or a list of one, gives its numbers."""
    feature = getattr(feature, "feature", feature)
    names = getattr(feature, "names", None)
    return tuple(names) if names else None


def is_frame(source: Any) -> bool:
    """Return whether `source` is a table in memory, or a mapping of splits to tables such as a `DatasetDict`."""
    if isinstance(source, Mapping):
        return bool(source) and all(map(is_frame, source.values()))
    return hasattr(source, "to_polars") or (hasattr(source, "columns") and hasattr(source, "__arrow_c_stream__"))


def read_frames(source: Frame, columns: Columns, split: str | None = None) -> list[Table]:
    """Return the rows of a table in memory, or of each split of a mapping.

    Lines count from 1. A `ClassLabel` of datasets names its numbers. Raises InputError if there are no two columns for
    text and label.
    """
    if isinstance(source, Mapping):
        splits = [(SPLIT_NAMES.get(str(name).lower()), frame) for name, frame in source.items()]
        return [table for name, frame in splits for table in read_frames(frame, columns, name)]
    name = f"{FRAME} {split}" if split else FRAME
    rows, label = read_frame(_in_polars(source), name, columns)
    names = class_names(getattr(source, "features", {}).get(label))
    rejects = [Reject(name, *reject) for reject in rows.rejects]
    return [Table(name, split, *rows.columns(), rows.soft, rejects, names)]


def read_frame(frame: pl.DataFrame, source: Path | str, columns: Columns) -> tuple[Rows, str]:
    """Return the rows of `frame`, which `source` names in errors, and the name of its label column."""
    import polars as pl

    switches = find_label_columns(frame.columns, frame.head(_SAMPLE).rows(), columns)
    if switches:
        return _read_switches(frame, find_text_column(source, frame.columns, columns), switches)
    found = find_columns(source, frame.columns, columns)
    if found is None:
        raise InputError(
            f"{source} has the columns {', '.join(frame.columns)}; name two with --text-column and --label-column"
        )
    text, label = frame[frame.columns[found[0]]], frame[frame.columns[found[1]]]
    if text.dtype != pl.String:
        raise InputError(
            f"{source}: the column {text.name} holds {text.dtype}, not text; choose one with --text-column"
        )
    if not _holds_labels(label):
        raise InputError(
            f"{source}: the column {label.name} holds {label.dtype}, not labels; choose one with --label-column"
        )
    rows = Rows()
    if label.dtype == pl.Categorical or isinstance(label.dtype, pl.Enum):
        label = label.cast(pl.String)
    for line, (content, value) in enumerate(zip(text.to_list(), label.to_list(), strict=True), start=1):
        name = label_text(value)
        if content is None or name is None:
            rows.reject(line, content or "", "the text or the label is missing")
        else:
            rows.add(line, content, name)
    return rows, label.name


def _read_switches(frame: pl.DataFrame, text: int, labels: Mapping[int, str]) -> tuple[Rows, str]:
    """Return the rows of a table with one column per label."""
    rows = Rows()
    for line, row in enumerate(frame.iter_rows(), start=1):
        label = switched_on(row, labels)
        if isinstance(row[text], str) and label:
            rows.add(line, row[text], label)
        else:
            rows.reject(line, str(row[text] or ""), "the text is missing, or none of the label columns is 1")
    return rows, ""


def _in_polars(source: Frame) -> pl.DataFrame:
    import polars as pl

    # A Dataset of datasets converts itself, the rows that were selected alone.
    return source.to_polars() if hasattr(source, "to_polars") else pl.DataFrame(source)


def _holds_labels(column: pl.Series) -> bool:
    """Whether `column` holds names, whole numbers (those of pandas are floats if one is missing), or lists of them."""
    import polars as pl

    kind = column.dtype.inner if isinstance(column.dtype, pl.List) else column.dtype
    if isinstance(column.dtype, pl.List) or not kind.is_float():
        return kind in (pl.String, pl.Categorical, pl.Enum) or kind.is_integer()
    present = column.drop_nulls().drop_nans()
    return bool((present == present.floor()).all())
