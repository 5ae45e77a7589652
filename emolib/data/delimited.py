"""CSV, TSV and their relatives: the delimiter, the header and the columns are found in the file itself."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emolib.data.columns import (
    Columns,
    find_columns,
    find_columns_by_content,
    find_label_columns,
    find_text_column,
    is_header,
    is_switch,
    switched_on,
)
from emolib.data.labels import is_label
from emolib.data.rows import Rows
from emolib.errors import InputError

__all__ = ["read_delimited"]

_DELIMITERS = ",;\t|"
#: Lines that the delimiter and the columns are found in.
_SAMPLE = 200
#: A quoted field over more lines than this is taken for a quote that nobody closed.
_MAX_FIELD_LINES = 20
#: The most that fits a C long on Windows.
_LONGEST_FIELD = 2**31 - 1
#: Excel's hint at the delimiter, in a line before the header.
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


@dataclass(frozen=True)
class _Layout:
    """How a file is to be read: `start` is the index of the first line of rows, `width` the fields in a row.

    In a file with one column per label, `columns` has their places and names, and `label` is the last of them.
    """

    delimiter: str
    start: int
    width: int
    text: int
    label: int
    columns: Mapping[int, str] = field(default_factory=dict)

    def label_of(self, fields: Sequence[str]) -> str:
        """Return the label of a row as written."""
        return switched_on(fields, self.columns) if self.columns else fields[self.label]


def read_delimited(lines: Sequence[str], rows: Rows, path: Path, columns: Columns, delimiter: str = ",") -> None:
    """Read `lines` into `rows`; `delimiter` is what the ending of the file promises, and wins if others fit as well."""
    csv.field_size_limit(_LONGEST_FIELD)
    layout = _find_layout(lines, path, columns, delimiter)
    if layout is None:
        return
    for line, fields in _records(lines, rows, layout):
        if len(fields) <= max(layout.text, layout.label):
            reason = f"the row has {len(fields)} fields, and the label is in field {layout.label + 1}"
            rows.reject(line, " | ".join(fields), reason)
        elif not (label := layout.label_of(fields)) and layout.columns:
            rows.reject(line, fields[layout.text], "none of the label columns is 1")
        else:
            rows.add(line, fields[layout.text], label)


def _find_layout(lines: Sequence[str], path: Path, columns: Columns, delimiter: str) -> _Layout | None:
    start = next((index for index, line in enumerate(lines) if line.strip()), None)
    if start is None:
        return None
    hint = _SEPARATOR_LINE.fullmatch(lines[start])
    if hint:
        start += 1
    sample = [line for line in lines[start : start + _SAMPLE] if line.strip()]
    if not sample:
        return None
    delimiter = hint[1] if hint else _find_delimiter(sample, columns, delimiter)
    parsed = [_fields(line, delimiter) for line in sample]
    if len(parsed[0]) < 2 and not hint and not any(len(fields) > 1 for fields in parsed):
        raise InputError(f"{path} has one column; a corpus has a text and a label in each row")
    if labels := find_label_columns(parsed[0], parsed[1:], columns):
        text = find_text_column(path, parsed[0], columns)
        return _Layout(delimiter, start + 1, len(parsed[0]), text, max(labels), labels)
    found = find_columns(path, parsed[0], columns)
    if found:
        return _Layout(delimiter, start + 1, len(parsed[0]), *found)
    numbered = _is_numbered_header(parsed[0])
    parsed = parsed[numbered:]
    width = Counter(map(len, parsed)).most_common(1)[0][0] if parsed else 0
    return _Layout(delimiter, start + numbered, width, *find_columns_by_content(path, parsed))


def _is_numbered_header(fields: Sequence[str]) -> bool:
    """Whether this is the header that pandas writes for columns without names: 0, 1, … behind an empty one."""
    names = [field.strip() for field in fields]
    return names[:1] == [""] and names[1:] == [str(number) for number in range(len(names) - 1)]


def _find_delimiter(sample: Sequence[str], columns: Columns, promised: str) -> str:
    """Return the delimiter under which the sample looks most like texts with labels."""

    def fit(delimiter: str) -> tuple[bool, int, int]:
        parsed = [_fields(line, delimiter) for line in sample]
        width = Counter(map(len, parsed)).most_common(1)[0][0]
        if width < 2:
            return False, 0, 0
        regular = [fields for fields in parsed if len(fields) == width]
        labels = max(sum(map(is_label, column)) for column in zip(*regular, strict=True))
        return is_header(parsed[0], columns), labels, len(regular)

    return max((promised, *_DELIMITERS), key=fit)


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter))


def _records(lines: Sequence[str], rows: Rows, layout: _Layout) -> Iterator[tuple[int, list[str]]]:
    """Yield the records with the line they begin on.

    A field in quotes may hold line breaks. A text that only begins with a quotation mark, in a file that quotes
    nothing, would swallow the lines up to the next mark: such a line is read as it stands, or rejected if it has not
    the fields of a row. Either way it costs its own line, not the rest of the file.
    """
    feed = _Feed(lines, layout.start)
    reader = csv.reader(feed, delimiter=layout.delimiter, strict=True)
    seen: set[str] = set()
    while True:
        start = feed.at
        try:
            fields = next(reader)
            wrong = feed.at - start > _MAX_FIELD_LINES or _is_swallowed(lines[start : feed.at], layout, seen)
        except StopIteration:
            return
        except csv.Error:
            wrong = True
        if wrong:
            feed.at = start + 1
            reader = csv.reader(feed, delimiter=layout.delimiter, strict=True)
            fields = _unquoted(lines[start], layout.delimiter)
            if not _is_row(fields, layout, seen):
                rows.reject(start + 1, lines[start], "a quote is opened and not closed")
                continue
        if fields:
            if layout.label < len(fields):
                seen.add(fields[layout.label])
            yield start + 1, fields


class _Feed:
    """Lines for csv.reader that can be read again from an earlier place."""

    def __init__(self, lines: Sequence[str], at: int) -> None:
        self.lines = lines
        self.at = at

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self.at >= len(self.lines):
            raise StopIteration
        self.at += 1
        return self.lines[self.at - 1] + "\n"


def _is_swallowed(lines: Sequence[str], layout: _Layout, seen: set[str]) -> bool:
    """Whether the lines of one record are each a row of their own."""
    return len(lines) > 1 and all(_is_row(_unquoted(line, layout.delimiter), layout, seen) for line in lines)


def _is_row(fields: Sequence[str], layout: _Layout, seen: set[str]) -> bool:
    if len(fields) != layout.width:
        return False
    label = fields[layout.label]
    return label in seen or (bool(layout.columns) and is_switch(label)) or (is_label(label) and label == label.strip())


def _unquoted(line: str, delimiter: str) -> list[str]:
    """Split `line` at every delimiter; a pair of quotes around a whole field is removed."""
    fields = []
    for written in line.split(delimiter):
        bare = written.strip()
        if len(bare) > 1 and bare[0] == bare[-1] == '"':
            written = bare[1:-1].replace('""', '"').replace('\\"', '"')
        fields.append(written)
    return fields
