"""Readers of corpora: each finds rows in a source, and rejects with a reason what is no row.

    text;label lines (.txt), CSV and TSV with any column names, JSON lines, Parquet, gzip of each,
    and data sets of the Hugging Face hub (`dair-ai/emotion`, `dair-ai/emotion:unsplit`)

Pickle files are refused: loading one runs whatever code it carries.
"""

from __future__ import annotations

import csv
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.data.hub import is_hub_name, read_hub
from emolib.data.table import Reject, Table
from emolib.errors import InputError, UsageError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Columns", "find_sources", "read_lines", "read_source"]

#: A longer text is no text of a corpus: a broken quote or a file of another kind.
MAX_CHARACTERS = 100_000
#: A quoted field over more lines than this is taken for a quote that nobody closed.
MAX_FIELD_LINES = 20

_TEXT_NAMES = ("text", "sentence", "content", "utterance", "tweet", "comment", "document", "input")
_LABEL_NAMES = ("label", "emotion", "labels", "emotions", "class", "target", "category", "sentiment")
_SPLIT_NAMES = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SPLIT_NAMES |= dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "validation")
_PICKLE = (".pkl", ".pickle", ".pck", ".joblib")


@dataclass(frozen=True)
class Columns:
    """Which columns hold text and label; None finds them by their names."""

    text: str | None = None
    label: str | None = None


@dataclass
class _Rows:
    """What a reader collects: row by row, or all lines, texts and labels at once (`whole`)."""

    lines: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    soft: list[dict[str, float] | None] = field(default_factory=list)
    rejects: list[tuple[int, str, str]] = field(default_factory=list)
    whole: tuple[pl.Series, pl.Series, pl.Series] | None = None

    def add(self, line: int, text: str, label: str, soft: dict[str, float] | None = None) -> None:
        if len(text) > MAX_CHARACTERS:
            self.reject(line, text, f"the text has {len(text):,} characters; the limit is {MAX_CHARACTERS:,}")
            return
        self.lines.append(line)
        self.texts.append(text)
        self.labels.append(label)
        self.soft.append(soft)

    def columns(self) -> tuple[pl.Series, pl.Series, pl.Series]:
        """Lines, texts and labels."""
        import polars as pl

        if self.whole is not None:
            return self.whole
        return (
            pl.Series(self.lines, dtype=pl.UInt32),
            pl.Series(self.texts, dtype=pl.String),
            pl.Series(self.labels, dtype=pl.String),
        )

    def reject(self, line: int, content: str, reason: str) -> None:
        self.rejects.append((line, content[:200], reason))


def find_sources(sources: Sequence[str | Path]) -> list[str | Path]:
    """The corpora that `sources` name; a folder stands for the files in it that are named after a split."""
    found: list[str | Path] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if _split_of(file) and _form(file)[0] in _FORMS)
            if not files:
                raise InputError(
                    f"{path} is a folder without files named train, validation or test; name its corpus files"
                )
            found += files
        elif path.exists() or not is_hub_name(str(source)):
            found.append(path)
        else:
            found.append(str(source))
    return found


def read_source(source: str | Path, columns: Columns | None = None) -> list[Table]:
    """The tables of one source: one of a file, one a split of a hub data set.

    Raises InputError where the source is absent, empty of rows, of another kind or ambiguous;
    UsageError where its ending is unknown.
    """
    if isinstance(source, str) and is_hub_name(source) and not Path(source).exists():
        return read_hub(source)
    path = Path(source)
    if not path.exists():
        raise InputError(
            f"{path} does not exist; give a corpus file, a folder of them, or a hub name such as dair-ai/emotion"
        )
    if path.is_dir():
        raise InputError(f"{path} is a folder; give its corpus files one by one")
    form, zipped = _form(path)
    _refuse_pickle(path, form)
    if form not in _FORMS:
        raise UsageError(f"{path} has an unknown ending; emolib reads {', '.join(_FORMS)} and .gz of each")
    if form == ".parquet":
        rows = _read_parquet(path, columns or Columns())
    else:
        rows = _Rows()
        lines, cut = _read_text(path, zipped, rows)
        _READERS[form](lines, rows, path, columns or Columns())
        if cut:
            last = max(rows.columns()[0].max() or 0, *(line for line, _, _ in rows.rejects[-1:]), 0)
            rows.reject(last + 1, "", cut)
    rejects = [Reject(path.name, *reject) for reject in rows.rejects]
    return [Table(path.name, _split_of(path), *rows.columns(), rows.soft, rejects)]


def read_lines(path: Path) -> tuple[list[str], list[Reject]]:
    """Return the lines of a UTF-8 text file, or of a gzip file of one, and a reject for each that cannot be read.

    A line that cannot be read is empty, so that the others keep their numbers. InputError if `path` is no text file.
    """
    if not path.is_file():
        raise InputError(f"{path} {'is a folder; name a file in it' if path.is_dir() else 'does not exist'}")
    _refuse_pickle(path, _form(path)[0])
    rows = _Rows()
    lines, cut = _read_text(path, _form(path)[1], rows)
    if cut:
        rows.reject(len(lines), lines[-1], cut)
        lines[-1] = ""
    return lines, [Reject(path.name, *reject) for reject in rows.rejects]


def _read_text(path: Path, zipped: bool, rows: _Rows) -> tuple[list[str], str | None]:
    """The lines of a text file, and what is wrong at its end if it is a gzip file that is cut off or damaged."""
    data, cut = _unzip(path) if zipped else (path.read_bytes(), None)
    _refuse_binary(path, data)
    return _decode(data, rows), cut


def _form(path: Path) -> tuple[str, bool]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        return (suffixes[-2] if len(suffixes) > 1 else "", True)
    return (suffixes[-1] if suffixes else "", False)


def _split_of(path: Path) -> str | None:
    word = re.split(r"[^a-z]", path.name.lower())[0]
    return _SPLIT_NAMES.get(word)


def _refuse_pickle(path: Path, form: str) -> None:
    with path.open("rb") as file:
        start = file.read(2)
    if form in _PICKLE or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and len(start) == 2):
        raise InputError(
            f"{path} is a pickle file, and loading one runs whatever code it carries; open it where you trust it and"
            " save it as CSV, JSON lines or Parquet"
        )


def _refuse_binary(path: Path, data: bytes) -> None:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{path} is UTF-16; save it as UTF-8")
    if b"\0" in data[:4096]:
        raise InputError(f"{path} is a binary file, not a corpus of text")


def _unzip(path: Path) -> tuple[bytes, str | None]:
    """The content of a gzip file, and what is wrong where its end is missing or damaged."""
    packed, parts = path.read_bytes(), []
    while packed:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            parts.append(unpacker.decompress(packed) + unpacker.flush())
        except zlib.error as error:
            if not parts and not packed.startswith(b"\x1f\x8b"):
                raise InputError(f"{path} is no gzip file, though its name ends in .gz") from error
            return b"".join(parts), f"the gzip file is damaged here ({error})"
        if not unpacker.eof:
            return b"".join(parts), "the gzip file is cut off here; download it again for the rest"
        packed = unpacker.unused_data
    return b"".join(parts), None


def _decode(data: bytes, rows: _Rows) -> list[str]:
    """The lines of UTF-8 `data`, with or without a byte-order mark; one that is not UTF-8 is rejected and empty."""
    data = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        lines = []
        for number, raw in enumerate(data.split(b"\n"), start=1):
            try:
                lines.append(raw.decode("utf-8"))
            except UnicodeDecodeError:
                lines.append("")
                rows.reject(number, raw[:200].decode("utf-8", "replace"), "the line is not valid UTF-8")
    return lines


def _read_lines(lines: Sequence[str], rows: _Rows, path: Path, columns: Columns) -> None:
    """`text;label`: the label stands behind the last semicolon."""
    import polars as pl

    del path, columns
    table = pl.DataFrame({"line": lines}, schema={"line": pl.String}).with_row_index("number", offset=1)
    table = table.with_columns(label=pl.col("line").str.split(";").list.last())
    text_size = pl.col("line").str.len_chars().cast(pl.Int64) - pl.col("label").str.len_chars() - 1
    table = table.with_columns(size=text_size)
    readable = table.filter(pl.col("size").is_between(0, MAX_CHARACTERS))
    texts = readable.select(pl.col("line").str.head(pl.col("size")))["line"]
    rows.whole = (readable["number"], texts, readable["label"])
    for number, line, label, size in table.filter(~pl.col("size").is_between(0, MAX_CHARACTERS)).rows():
        if size >= 0:
            rows.add(number, line[:size], label)
        elif line.strip():
            rows.reject(number, line, "no `;label` at the end of the line")


def _read_csv(lines: Sequence[str], rows: _Rows, path: Path, columns: Columns) -> None:
    _read_delimited(lines, rows, path, columns, ",")


def _read_tsv(lines: Sequence[str], rows: _Rows, path: Path, columns: Columns) -> None:
    _read_delimited(lines, rows, path, columns, "\t")


def _read_delimited(lines: Sequence[str], rows: _Rows, path: Path, columns: Columns, delimiter: str) -> None:
    csv.field_size_limit(sys.maxsize)
    records = _records(lines, rows, delimiter)
    first = next(records, None)
    if first is None:
        return
    found = _find_columns(path, first[1], columns)
    if found is None:
        _add_record(rows, *first, _bare_columns(path, first[1]))
    text_at, label_at = found or _bare_columns(path, first[1])
    for line, fields in records:
        _add_record(rows, line, fields, (text_at, label_at))


def _records(lines: Sequence[str], rows: _Rows, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Records with the line they begin on. A quote that nobody closes costs its own line, not the rest of the file."""
    feed = _Feed(lines)
    reader = csv.reader(feed, delimiter=delimiter)
    while True:
        start = feed.at
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            rows.reject(start + 1, lines[start], f"not a row of fields: {error}")
            continue
        span = feed.at - start
        unclosed = feed.at >= len(lines) and span > 1 and not lines[-1].rstrip().endswith('"') and lines[-1].strip()
        if span > MAX_FIELD_LINES or unclosed:
            rows.reject(start + 1, lines[start], "a quote is opened and not closed")
            feed.at = start + 1
            reader = csv.reader(feed, delimiter=delimiter)
        elif fields:
            yield start + 1, fields


class _Feed:
    """Lines for csv.reader that can be read again from an earlier place."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self.at = 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self.at >= len(self.lines):
            raise StopIteration
        self.at += 1
        return self.lines[self.at - 1] + "\n"


def _add_record(rows: _Rows, line: int, fields: list[str], columns: tuple[int, int]) -> None:
    if len(fields) <= max(columns):
        rows.reject(
            line, " | ".join(fields), f"the row has {len(fields)} fields, and the label is in field {columns[1] + 1}"
        )
    else:
        rows.add(line, fields[columns[0]], fields[columns[1]])


def _find_columns(path: Path, header: Sequence[str], columns: Columns) -> tuple[int, int] | None:
    """Where text and label stand under `header`, or None where it is no header but a row."""
    names = [name.strip().lower() for name in header]
    text = _find_column(path, names, columns.text, _TEXT_NAMES, "--text-column")
    label = _find_column(path, names, columns.label, _LABEL_NAMES, "--label-column")
    if text is None and label is None:
        return None
    if text is None or label is None:
        what, option = ("text", "--text-column") if text is None else ("label", "--label-column")
        if len(names) == 2:
            return (1 - label, label) if text is None else (text, 1 - text)
        raise InputError(f"{path} has no column for the {what} among {', '.join(header)}; name it with {option}")
    return text, label


def _find_column(path: Path, names: list[str], wanted: str | None, known: Sequence[str], option: str) -> int | None:
    if wanted is not None:
        if wanted.strip().lower() not in names:
            raise UsageError(f"{path} has no column {wanted!r}; its columns are {', '.join(names)}")
        return names.index(wanted.strip().lower())
    found = [index for index, name in enumerate(names) if name in known]
    if len(found) > 1:
        options = " and ".join(names[index] for index in found)
        raise InputError(f"{path} has several columns that could be meant, {options}; choose one with {option}")
    return found[0] if found else None


def _bare_columns(path: Path, fields: Sequence[str]) -> tuple[int, int]:
    if len(fields) < 2:
        raise InputError(f"{path} has one column; a corpus has a text and a label in each row")
    return 0, 1


def _read_json_lines(lines: Sequence[str], rows: _Rows, path: Path, columns: Columns) -> None:
    places: dict[tuple[str, ...], tuple[str, str]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            rows.reject(number, line, f"not JSON: {error}")
            continue
        if not isinstance(record, dict):
            rows.reject(number, line, "not a JSON object")
            continue
        keys = tuple(record)
        if keys not in places:
            names = [key for key in keys if key != "soft"]
            found = _find_columns(path, names, columns)
            places[keys] = (names[found[0]], names[found[1]]) if found else ("text", "label")
        text, label, soft = record.get(places[keys][0]), record.get(places[keys][1]), record.get("soft")
        if not isinstance(text, str):
            rows.reject(number, line, "the text is missing or is no string")
        elif isinstance(label, bool) or not isinstance(label, str | int):
            rows.reject(number, line, f"the label is {type(label).__name__}, not a name or a number")
        elif soft is not None and not _is_distribution(soft):
            rows.reject(number, line, "the soft label is no set of probabilities that sum to 1")
        else:
            rows.add(number, text, str(label), soft)


def _is_distribution(soft: Any) -> bool:
    if not isinstance(soft, dict) or not all(isinstance(weight, int | float) for weight in soft.values()):
        return False
    return all(weight >= 0 for weight in soft.values()) and abs(sum(soft.values()) - 1) < 1e-3


def _read_parquet(path: Path, columns: Columns) -> _Rows:
    import polars as pl

    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path} is no Parquet file that can be read ({str(error).splitlines()[0]})") from error
    found = _find_columns(path, frame.columns, columns)
    if found is None:
        raise InputError(
            f"{path} has the columns {', '.join(frame.columns)}; name two with --text-column and --label-column"
        )
    text, label = frame[frame.columns[found[0]]], frame[frame.columns[found[1]]]
    if text.dtype != pl.String:
        raise InputError(f"{path}: the column {text.name} holds {text.dtype}, not text; choose one with --text-column")
    if not (label.dtype in (pl.String, pl.Categorical) or label.dtype.is_integer()):
        raise InputError(
            f"{path}: the column {label.name} holds {label.dtype}, not labels; choose one with --label-column"
        )
    rows = _Rows()
    for line, (content, name) in enumerate(zip(text, label.cast(pl.String), strict=True), start=1):
        if content is None or name is None:
            rows.reject(line, content or "", "the text or the label is missing")
        else:
            rows.add(line, content, name)
    return rows


_READERS: dict[str, Callable[[Sequence[str], _Rows, Path, Columns], None]] = {
    ".txt": _read_lines,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".json": _read_json_lines,
}
_FORMS = (*_READERS, ".parquet")
