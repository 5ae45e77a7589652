"""Classifying files of any size: in constant memory, in parts, and going on after a kill where it was.

    out/part-00000.jsonl …   the rows of `part_rows` lines each, in the order of the input
    out/job.json             what is classified, with what; a folder of another job is refused
    out/summary.json         when all is done: rows, labels, unreadable lines

A part appears under its name when it is whole, so what stands there is never half a part and never done twice.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from emolib.errors import InputError, UsageError
from emolib.files import refuse_workbook, sha256, storage_errors, write_json, write_text
from emolib.labels import EmotionScores
from emolib.unicode import decoded_lines, without_half_characters

if TYPE_CHECKING:
    from emolib.classify.classifier import EmotionClassifier

__all__ = ["BulkSummary", "classify_file", "prediction"]

#: Lines that are classified at once; within them, texts of like length share a batch.
_LINES_AT_ONCE = 1024


@dataclass(frozen=True)
class BulkSummary:
    """What a finished job did: lines read, lines that held no text, and how many got each label."""

    rows: int
    unreadable: int
    labels: dict[str, int]
    parts: int

    def table(self) -> str:
        """A line a label, the most frequent first."""
        lines = [f"{'rows':<12}{self.rows:>12,}"]
        lines += [f"{label:<12}{count:>12,}" for label, count in self.labels.items()]
        return "\n".join([*lines, f"{'unreadable':<12}{self.unreadable:>12,}"])


def classify_file(
    source: str | Path,
    out: str | Path,
    classifier: EmotionClassifier,
    *,
    part_rows: int = 10_000,
    progress: Callable[[int], None] = lambda rows: None,
) -> BulkSummary:
    """Classify every line of `source` into the folder `out`, and return the summary.

    `source` has a text a line, or with the ending .jsonl an object with `text` (and an `id` that is kept), in UTF-8 or
    UTF-16; .gz of either. Each row out has `line` (from 1), `text`, `label` (null where there is no text),
    `probabilities` and `abstained`; a line that cannot be read has `error` in their place, and so has the last row if
    a gzip file is cut off or damaged from there on. `progress` is called with the number of rows that are done. A job
    that was stopped goes on with the first part that is missing. UsageError where `out` holds the job of another file
    or another classifier, or something else; InputError where `source` is no file, or no gzip file despite its name.
    """
    source, out = Path(source), Path(out)
    if part_rows < 1:
        raise UsageError(f"a part has at least one row, not {part_rows}")
    if not source.is_file():
        raise InputError(f"{source} is no file; name one with a text a line, or JSON lines (.jsonl), or .gz of either")
    refuse_workbook(source)
    _refuse_other_gzip(source)
    _claim(out, {"source": sha256(source), "model": classifier.identity, "part_rows": part_rows})
    parse = _parse_json if ".jsonl" in map(str.lower, source.suffixes) else _parse_text
    done = _whole_parts(out)
    progress(done * part_rows)
    with _open(source) as file:
        lines = _lines(file)
        number = sum(1 for _ in islice(lines, done * part_rows))
        while rows := list(_rows(islice(lines, part_rows), number, parse, classifier)):
            write_text(out / f"part-{done:05d}.jsonl", "".join(map(_json_line, rows)))
            number += len(rows)
            done += 1
            progress(number)
    summary = _summarise(out, done)
    write_json(out / "summary.json", asdict(summary))
    return summary


def _claim(out: Path, job: dict[str, Any]) -> None:
    path = out / "job.json"
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        for name, value in job.items():
            if found.get(name) != value:
                raise UsageError(
                    f"{out} holds a job with another {name} ({found.get(name)}, and now {value}); choose another folder"
                )
        return
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise UsageError(f"{out} is not empty and holds no job of `emolib classify`; choose another folder")
    write_json(path, job)


def _whole_parts(out: Path) -> int:
    """How many parts there are without a gap."""
    done = 0
    while (out / f"part-{done:05d}.jsonl").is_file():
        done += 1
    return done


def _json_line(row: dict[str, Any]) -> str:
    return without_half_characters(json.dumps(row, ensure_ascii=False)) + "\n"


def _refuse_other_gzip(source: Path) -> None:
    with source.open("rb") as file:
        if source.suffix.lower() == ".gz" and file.read(2) != b"\x1f\x8b":
            raise InputError(f"{source} is no gzip file, though its name ends in .gz")


def _open(source: Path) -> IO[bytes]:
    return gzip.open(source, "rb") if source.suffix.lower() == ".gz" else source.open("rb")


def _lines(file: IO[bytes]) -> Iterator[str | bytes | _Damage]:
    """Yield the lines of `file`; bytes are one that is not UTF-8, and a damaged gzip file ends with its damage."""
    try:
        yield from decoded_lines(file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        yield _Damage(f"the gzip file is cut off or damaged from here on ({error}); get it again for the rest")


@dataclass(frozen=True)
class _Damage:
    """What ends a file before its end."""

    reason: str


def _rows(
    lines: Iterator[str | bytes | _Damage],
    before: int,
    parse: Callable[[str], dict[str, Any]],
    classifier: EmotionClassifier,
) -> Iterator[dict[str, Any]]:
    while batch := list(islice(lines, _LINES_AT_ONCE)):
        parsed = [parse(line) if isinstance(line, str) else {"error": _why_unreadable(line)} for line in batch]
        texts = [row["text"] for row in parsed if "text" in row]
        scores = iter(classifier.classify(texts))
        for row in parsed:
            before += 1
            yield {"line": before, **row, **(prediction(row["text"], next(scores)) if "text" in row else {})}


def prediction(text: str, scores: EmotionScores) -> dict[str, Any]:
    """What a row of output says of `text`; a blank one has no label."""
    said = bool(text.strip())
    found = {
        "label": scores.label if said else None,
        "probabilities": scores.as_dict(),
        "abstained": scores.abstained,
    }
    return {**found, "labels": list(scores.predicted) if said else []} if scores.labels.multi_label else found


def _why_unreadable(line: bytes | _Damage) -> str:
    return line.reason if isinstance(line, _Damage) else "the line is not valid UTF-8"


def _parse_text(line: str) -> dict[str, Any]:
    return {"text": line}


def _parse_json(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {"error": f"not JSON: {error}"}
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        return {"error": "no object with a text"}
    return {name: record[name] for name in ("id", "text") if name in record}


def _summarise(out: Path, parts: int) -> BulkSummary:
    rows = unreadable = 0
    labels: Counter[str] = Counter()
    for part in range(parts):
        with (out / f"part-{part:05d}.jsonl").open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                rows += 1
                unreadable += "error" in row
                labels.update(row.get("labels", [row["label"]] if row.get("label") else []))
    return BulkSummary(rows, unreadable, dict(labels.most_common()), parts)
