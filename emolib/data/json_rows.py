"""JSON: an object per line, one list of objects, or an object that holds such a list or the columns of a table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from emolib.data.columns import Columns, find_columns, find_label_columns, find_text_column, is_header
from emolib.data.rows import Rows, label_text

__all__ = ["read_json"]

#: Deeply nested brackets end json.loads with a RecursionError.
_NOT_JSON = (ValueError, RecursionError)
#: A list of objects at the start of the file, or under the first key: [{… or {"data": [{…
_LIST = re.compile(r'\s*(\{\s*"[^"]*"\s*:\s*)?\[(?=\s*\{)')
_BETWEEN = re.compile(r"[\s,]*")


def read_json(lines: Sequence[str], rows: Rows, path: Path, columns: Columns) -> None:
    """Read `lines` into `rows`. A row is numbered by the line it begins on, or by its place in the list."""
    places: dict[tuple[str, ...], tuple[str, tuple[str, ...]]] = {}
    for number, record in _records(lines, rows, columns):
        if not isinstance(record, dict):
            rows.reject(number, _shown(record), "not a JSON object")
            continue
        keys = tuple(record)
        if keys not in places:
            places[keys] = _places(path, record, columns)
        _add_record(number, record, *places[keys], rows)


def _places(path: Path, record: dict[str, Any], columns: Columns) -> tuple[str, tuple[str, ...]]:
    """Return the keys of the text and of the label, or of the labels in a table with one column per label."""
    names = [key for key in record if key != "soft"]
    switches = find_label_columns(names, [[record[name] for name in names]], columns)
    if switches:
        return names[find_text_column(path, names, columns)], tuple(switches.values())
    found = find_columns(path, names, columns)
    return (names[found[0]], (names[found[1]],)) if found else ("text", ("label",))


def _add_record(number: int, record: dict[str, Any], text_key: str, label_keys: tuple[str, ...], rows: Rows) -> None:
    text, soft = record.get(text_key), record.get("soft")
    if len(label_keys) > 1:
        label = [name for name in label_keys if record.get(name)] or None
    else:
        label = record.get(label_keys[0])
    name = label_text(label)
    if not isinstance(text, str):
        rows.reject(number, _shown(record), "the text is missing or is no string")
    elif name is None:
        rows.reject(number, _shown(record), f"the label is {type(label).__name__}, not a name or a number")
    elif soft is not None and not _is_distribution(soft):
        rows.reject(number, _shown(record), "the soft label is no set of probabilities that sum to 1")
    else:
        rows.add(number, text, name, soft)


def _shown(record: Any) -> str:
    return json.dumps(record, ensure_ascii=False)


def _is_distribution(soft: Any) -> bool:
    if not isinstance(soft, dict) or not all(isinstance(weight, int | float) for weight in soft.values()):
        return False
    return all(weight >= 0 for weight in soft.values()) and abs(sum(soft.values()) - 1) < 1e-3


def _records(lines: Sequence[str], rows: Rows, columns: Columns) -> Iterable[tuple[int, Any]]:
    first = next((line for line in lines if line.strip()), "")
    if _is_row(first, columns):
        return _json_lines(lines, rows)
    text = "\n".join(lines)
    found = _LIST.match(text)
    if found and not found[1]:
        return _elements(text, found.end(), rows)
    try:
        table = _rows_of(json.loads(text), columns)
    except _NOT_JSON:
        return _elements(text, found.end(), rows) if found else _json_lines(lines, rows)
    return _json_lines(lines, rows) if table is None else enumerate(table, start=1)


def _is_row(line: str, columns: Columns) -> bool:
    """Whether `line` is an object of its own, and not a table in one line."""
    try:
        record = json.loads(line)
    except _NOT_JSON:
        return False
    return isinstance(record, dict) and _rows_of(record, columns) is None


def _json_lines(lines: Sequence[str], rows: Rows) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except _NOT_JSON as error:
            rows.reject(number, line, f"not JSON: {error}")
            continue
        yield number, record


def _elements(text: str, at: int, rows: Rows) -> Iterator[tuple[int, Any]]:
    """Yield the elements of the JSON list that is open at `at`, with the lines they begin on.

    One by one, so that what stands before a damaged place can be used.
    """
    decoder = json.JSONDecoder()
    line, counted = 1, 0
    while True:
        at = _BETWEEN.match(text, at).end()
        line, counted = line + text.count("\n", counted, at), at
        if text[at : at + 1] == "]":
            return
        try:
            value, end = decoder.raw_decode(text, at)
        except _NOT_JSON as error:
            rows.reject(line, text[at : at + 200], f"the JSON list is damaged or cut off here ({error})")
            return
        yield line, value
        at = end


def _rows_of(document: Any, columns: Columns) -> list[Any] | None:
    """Return the rows that a JSON document holds in one of the forms that pandas and the hub write, or None."""
    if not isinstance(document, dict):
        return document if isinstance(document, list) else None
    names, data = document.get("columns"), document.get("data")
    if isinstance(names, list) and isinstance(data, list):
        return [dict(zip(names, row, strict=False)) for row in data if isinstance(row, list)]
    if is_header(list(document), columns):
        return _rows_of_columns(document)
    tables = [_rows_of_list(value) for value in document.values() if isinstance(value, list)]
    tables = [table for table in tables if table and is_header(list(table[0]), columns)]
    return tables[0] if len(tables) == 1 else None


def _rows_of_columns(table: dict[str, Any]) -> list[dict[str, Any]] | None:
    """{"text": ["…", …], "label": […]}, or with an index: {"text": {"0": "…", …}, "label": {…}}."""
    columns = [column for column in table.values() if isinstance(column, list | dict)]
    if len(columns) < len(table):
        return None
    values = [list(column.values()) if isinstance(column, dict) else column for column in columns]
    return [dict(zip(table, row, strict=True)) for row in zip(*values, strict=False)]


def _rows_of_list(values: list[Any]) -> list[dict[str, Any]]:
    """Return the objects among `values`; the hub's viewer wraps each row: {"row": {…}}."""
    objects = [value for value in values if isinstance(value, dict)]
    return [value["row"] if isinstance(value.get("row"), dict) else value for value in objects]
