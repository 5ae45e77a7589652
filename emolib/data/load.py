"""Readers of corpus files. A row that cannot be used becomes a Reject with its line and reason."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emolib.emotions import EMOTIONS
from emolib.errors import InputError, UsageError

__all__ = ["Reject", "Row", "read_rows"]

_TEXT_COLUMNS = ("text", "sentence", "content", "utterance", "tweet", "comment")
_LABEL_COLUMNS = ("label", "emotion", "labels", "class", "target")


@dataclass(frozen=True)
class Row:
    """One labelled text and the line of its file (from 1)."""

    line: int
    text: str
    label: str
    soft: dict[str, float] | None = None


@dataclass(frozen=True)
class Reject:
    """A line that is no row, and why."""

    line: int
    content: str
    reason: str


def read_rows(path: Path | str) -> tuple[list[Row], list[Reject]]:
    """Every row of a corpus file, and every line that is none.

    Reads `text;label` (.txt), CSV and TSV with a header or as `text<TAB>label`, and JSON lines, in UTF-8
    with or without a byte-order mark. Raises InputError where the file is absent, a folder or binary.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a corpus file or a folder made by emolib clean")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give its corpus files one by one")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path} has an unknown form; emolib reads {', '.join(_READERS)}")
    rows: list[Row] = []
    rejects: list[Reject] = []
    for line, content, text, label in reader(_text(path)):
        found = _row(line, content, text, label)
        (rows if isinstance(found, Row) else rejects).append(found)
    return rows, rejects


def _text(path: Path) -> str:
    data = path.read_bytes()
    if b"\0" in data[:4096]:
        raise InputError(f"{path} is a binary file, not a corpus of text")
    return data.decode("utf-8-sig", errors="surrogateescape")


def _row(line: int, content: str, text: Any, label: Any) -> Row | Reject:
    if isinstance(text, Exception):
        return Reject(line, content, str(text))
    if not isinstance(text, str) or not text.strip():
        return Reject(line, content, "the text is empty")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return Reject(line, content.encode("utf-8", "replace").decode(), "the text is not valid UTF-8")
    soft = None
    if isinstance(label, dict):
        soft = {str(name): float(weight) for name, weight in label.items()}
        label = max(soft, key=soft.get) if soft else None
    name = _label(label)
    if name is None:
        return Reject(line, content, f"unknown label {label!r}; known: {', '.join(EMOTIONS)} or 0 to 5")
    return Row(line, text.strip(), name, soft)


def _label(label: Any) -> str | None:
    text = str(label).strip().lower()
    if text.isdigit() and int(text) < len(EMOTIONS):
        return EMOTIONS[int(text)]
    return text if text in EMOTIONS else None


_Fields = Iterator[tuple[int, str, Any, Any]]


def _semicolon(text: str) -> _Fields:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            before, _, label = line.rpartition(";")
            yield number, line, before, label


def _delimited(delimiter: str) -> Callable[[str], _Fields]:
    def read(text: str) -> _Fields:
        lines = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
        text_at, label_at = 0, 1
        for index, fields in enumerate(lines):
            if index == 0 and (columns := _columns(fields)):
                text_at, label_at = columns
                continue
            if not fields:
                continue
            content = delimiter.join(fields)
            if len(fields) <= max(text_at, label_at):
                yield lines.line_num, content, ValueError(f"the row has {len(fields)} fields"), None
            else:
                yield lines.line_num, content, fields[text_at], fields[label_at]

    return read


def _columns(header: list[str]) -> tuple[int, int] | None:
    names = [name.strip().lower() for name in header]
    text = next((names.index(name) for name in _TEXT_COLUMNS if name in names), None)
    label = next((names.index(name) for name in _LABEL_COLUMNS if name in names), None)
    return None if text is None or label is None else (text, label)


def _json_lines(text: str) -> _Fields:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            yield number, line, ValueError(f"not JSON: {error}"), None
            continue
        if not isinstance(record, dict):
            yield number, line, ValueError("not a JSON object"), None
            continue
        yield number, line, record.get("text"), record.get("soft") or record.get("label")


_READERS: dict[str, Callable[[str], _Fields]] = {
    ".txt": _semicolon,
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".jsonl": _json_lines,
    ".json": _json_lines,
}
