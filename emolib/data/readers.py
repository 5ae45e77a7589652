"""Readers of corpora: each finds rows in a source, and rejects with a reason what is no row.

    text;label lines (.txt), CSV and TSV with any delimiter and column names, JSON lines and JSON, Parquet, gzip of
    each, data sets of the Hugging Face hub (`dair-ai/emotion`, `dair-ai/emotion:unsplit`), and tables in memory
    (`emolib.data.frames`)

Text files are UTF-8, or UTF-16 as Excel writes it.

Pickle files are refused: loading one runs whatever code it carries.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from emolib.data.columns import Columns
from emolib.data.delimited import read_delimited
from emolib.data.frames import Frame, is_frame, read_frame, read_frames
from emolib.data.hub import is_hub_name, read_hub
from emolib.data.json_rows import read_json
from emolib.data.labels import is_label
from emolib.data.rows import MAX_CHARACTERS, Rows
from emolib.data.table import SPLIT_NAMES, Reject, Table
from emolib.errors import InputError, UsageError
from emolib.files import refuse_workbook
from emolib.unicode import detect_encoding

__all__ = ["Columns", "find_sources", "read_lines", "read_source"]

#: Lines that the form of a .txt file is found in.
_SAMPLE = 200
#: Bytes of a gzip file that are unpacked at once: what comes before a damaged block can be used.
_GZIP_BLOCK = 1 << 16
_PICKLE = (".pkl", ".pickle", ".pck", ".joblib")


def find_sources(sources: Sequence[str | Path | Frame]) -> list[str | Path | Frame]:
    """The corpora that `sources` name; a folder stands for the files in it that are named after a split."""
    found: list[str | Path | Frame] = []
    for source in sources:
        if is_frame(source):
            found.append(source)
            continue
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


def read_source(source: str | Path | Frame, columns: Columns | None = None) -> list[Table]:
    """The tables of one source: one of a file or a table in memory, one a split of a hub data set.

    Raises InputError where the source is absent, empty of rows, of another kind or ambiguous;
    UsageError where its ending is unknown.
    """
    if is_frame(source):
        return read_frames(source, columns or Columns())
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
    refuse_workbook(path)
    _refuse_pickle(path, form)
    if form not in _FORMS:
        raise UsageError(f"{path} has an unknown ending; emolib reads {', '.join(_FORMS)} and .gz of each")
    if form == ".parquet":
        rows = _read_parquet(path, columns or Columns())
    else:
        rows = Rows()
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
    refuse_workbook(path)
    _refuse_pickle(path, _form(path)[0])
    rows = Rows()
    lines, cut = _read_text(path, _form(path)[1], rows)
    if cut:
        rows.reject(len(lines), lines[-1], cut)
        lines[-1] = ""
    return lines, [Reject(path.name, *reject) for reject in rows.rejects]


def _read_text(path: Path, zipped: bool, rows: Rows) -> tuple[list[str], str | None]:
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
    """Return the split that the first or the last word of a file name says: train.csv, emotion_test.csv."""
    form, zipped = _form(path)
    stem = path.name.lower().removesuffix(".gz" if zipped else "").removesuffix(form)
    # The hub numbers the parts of a split: train-00000-of-00002.parquet
    words = [word for word in re.split(r"[^a-z]+", re.sub(r"\d+-of-\d+", "", stem)) if word]
    ends = (words[0], words[-1]) if words else ()
    return next((SPLIT_NAMES[word] for word in ends if word in SPLIT_NAMES), None)


def _refuse_pickle(path: Path, form: str) -> None:
    with path.open("rb") as file:
        start = file.read(2)
    if form in _PICKLE or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and len(start) == 2):
        raise InputError(
            f"{path} is a pickle file, and loading one runs whatever code it carries; open it where you trust it and"
            " save it as CSV, JSON lines or Parquet"
        )


def _refuse_binary(path: Path, data: bytes) -> None:
    if detect_encoding(data[:4096])[0] == "utf-8" and b"\0" in data[:4096]:
        raise InputError(f"{path} is a binary file, not a corpus of text")


def _unzip(path: Path) -> tuple[bytes, str | None]:
    """Return the content of a gzip file, and what is wrong if its end is missing or damaged.

    Of a damaged file it is the whole lines before the damage.
    """
    packed, parts = path.read_bytes(), []
    if not packed.startswith(b"\x1f\x8b"):
        raise InputError(f"{path} is no gzip file, though its name ends in .gz")
    while packed.startswith(b"\x1f\x8b"):
        unpacker = zlib.decompressobj(wbits=31)
        blocks = io.BytesIO(packed)
        try:
            while not unpacker.eof and (block := blocks.read(_GZIP_BLOCK)):
                parts.append(unpacker.decompress(block))
        except zlib.error as error:
            return _whole_lines(parts), f"the gzip file is damaged here ({error})"
        if not unpacker.eof:
            return _whole_lines(parts), "the gzip file is cut off here; download it again for the rest"
        packed = unpacker.unused_data + blocks.read()
    if packed.strip(b"\0"):
        return _whole_lines(parts), "something else follows the end of the gzip file; download it again"
    return b"".join(parts), None


def _whole_lines(parts: Sequence[bytes]) -> bytes:
    data = b"".join(parts)
    return data[: data.rfind(b"\n") + 1]


def _decode(data: bytes, rows: Rows) -> list[str]:
    """Return the lines of `data`, in UTF-8 or UTF-16; one that is not UTF-8 is rejected and empty."""
    encoding, mark = detect_encoding(data[:4096])
    if encoding != "utf-8":
        text = data[mark:].decode(encoding, "replace")
        return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    data = data[mark:].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
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


def _read_lines(lines: Sequence[str], rows: Rows, path: Path, columns: Columns) -> None:
    """`text;label`: the label stands behind the last semicolon. Excel's "Unicode text" has tabs instead."""
    import polars as pl

    if _has_tabs(lines[:_SAMPLE]):
        _read_tsv(lines, rows, path, columns)
        return
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


def _has_tabs(sample: Sequence[str]) -> bool:
    """Whether most lines have a tab, and few a label behind a semicolon."""
    written = [line for line in sample if line.strip()]
    tabs = sum("\t" in line for line in written)
    return 2 * tabs > len(written) and 2 * sum(is_label(line.rpartition(";")[2]) for line in written) < len(written)


def _read_csv(lines: Sequence[str], rows: Rows, path: Path, columns: Columns) -> None:
    read_delimited(lines, rows, path, columns, ",")


def _read_tsv(lines: Sequence[str], rows: Rows, path: Path, columns: Columns) -> None:
    read_delimited(lines, rows, path, columns, "\t")


def _read_parquet(path: Path, columns: Columns) -> Rows:
    import polars as pl

    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path} is no Parquet file that can be read ({str(error).splitlines()[0]})") from error
    return read_frame(frame, path, columns)[0]


_READERS: dict[str, Callable[[Sequence[str], Rows, Path, Columns], None]] = {
    ".txt": _read_lines,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": read_json,
    ".json": read_json,
}
_FORMS = (*_READERS, ".parquet")
