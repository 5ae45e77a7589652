"""Cleaning: what is dropped, why, and the proof that nothing went missing."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from emolib.data.load import Reject, Row, read_rows
from emolib.emotions import EMOTIONS
from emolib.errors import InputError
from emolib.files import write_json, write_text

__all__ = ["CleanReport", "CleanSettings", "clean_corpus"]

_SPLIT_NAMES = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "dev": "validation"}
_SPLIT_NAMES |= {"validation": "validation", "test": "test"}


@dataclass(frozen=True)
class CleanSettings:
    """What cleaning does: the shares of the splits of a file that names none, and the seed of the draw."""

    validation_share: float = 0.1
    test_share: float = 0.1
    seed: int = 3407


@dataclass(frozen=True)
class CleanReport:
    """The counts of one cleaning; `read = kept + dropped + rejected`."""

    sources: tuple[str, ...]
    read: int
    rejected: int
    rules: dict[str, int]
    splits: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        return sum(sum(labels.values()) for labels in self.splits.values())

    @property
    def dropped(self) -> int:
        return sum(self.rules.values())

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "kept": self.kept, "dropped": self.dropped}

    def table(self) -> str:
        """A few lines for people."""
        lines = [f"read      {self.read:>9,}  from {', '.join(self.sources)}"]
        lines += [f"dropped   {count:>9,}  {rule}" for rule, count in self.rules.items()]
        lines.append(f"rejected  {self.rejected:>9,}  unreadable or of unknown label (rejects.jsonl)")
        for split, labels in self.splits.items():
            balance = ", ".join(f"{label} {labels[label]:,}" for label in EMOTIONS if label in labels)
            lines.append(f"{split:<9} {sum(labels.values()):>9,}  {balance}")
        return "\n".join(lines)


def clean_corpus(
    sources: Sequence[str | Path] | str | Path, out: str | Path, settings: CleanSettings | None = None
) -> CleanReport:
    """Read `sources`, drop duplicates and contradictions, and write the splits into the folder `out`.

    Files named train, val or test keep their split; any other is divided by `settings`, so that equal texts
    stay together. Raises InputError where no row is left.
    """
    settings = settings or CleanSettings()
    paths = [Path(source) for source in ([sources] if isinstance(sources, str | Path) else sources)]
    out = Path(out)
    rows: dict[str, list[Row]] = {}
    rejects: list[tuple[Path, Reject]] = []
    for path in paths:
        found, bad = read_rows(path)
        rejects += [(path, reject) for reject in bad]
        for row in found:
            rows.setdefault(_split_of(path, row, settings), []).append(row)
    read = sum(map(len, rows.values())) + len(rejects)
    if not any(rows.values()):
        raise InputError(
            f"{', '.join(map(str, paths))}: no usable row in {read} lines; each line is `text;label`, or a row with"
            " the columns text and label"
        )
    rules: Counter[str] = Counter({"exact duplicate": 0, "conflicting labels": 0, "stands in another split": 0})
    kept = {split: _without_twins(rows[split], rules) for split in ("train", "validation", "test") if split in rows}
    _remove_leaks(kept, rules)
    report = CleanReport(
        tuple(path.name for path in paths),
        read,
        len(rejects),
        dict(rules),
        {split: dict(Counter(row.label for row in found)) for split, found in kept.items()},
    )
    for split, found in kept.items():
        write_text(out / f"{split}.jsonl", _json_lines({"text": row.text, "label": row.label} for row in found))
    write_text(out / "rejects.jsonl", _json_lines({"file": path.name, **asdict(reject)} for path, reject in rejects))
    write_json(out / "report.json", report.as_dict())
    return report


def _split_of(path: Path, row: Row, settings: CleanSettings) -> str:
    named = _SPLIT_NAMES.get(path.name.split(".")[0].lower())
    if named:
        return named
    draw = int(hashlib.sha256(f"{settings.seed} {_key(row.text)}".encode()).hexdigest()[:8], 16) / 2**32
    if draw < settings.test_share:
        return "test"
    return "validation" if draw < settings.test_share + settings.validation_share else "train"


def _key(text: str) -> str:
    """What makes two texts the same: letters and digits, whatever their case, form and spacing."""
    return re.sub(r"\W+", " ", unicodedata.normalize("NFKC", text).casefold()).strip() or text.strip()


def _without_twins(rows: list[Row], rules: Counter[str]) -> list[Row]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_key(row.text), []).append(row)
    kept = []
    for group in groups.values():
        if len({row.label for row in group}) > 1:
            rules["conflicting labels"] += len(group)
            continue
        rules["exact duplicate"] += len(group) - 1
        kept.append(group[0])
    return kept


def _remove_leaks(kept: dict[str, list[Row]], rules: Counter[str]) -> None:
    seen: set[str] = set()
    for split in ("test", "validation", "train"):
        rows = kept.get(split, [])
        clean = [row for row in rows if _key(row.text) not in seen]
        rules["stands in another split"] += len(rows) - len(clean)
        if split in kept:
            kept[split] = clean
        seen |= {_key(row.text) for row in clean}


def _json_lines(records: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
