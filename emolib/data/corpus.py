"""A corpus in memory, and the one way to get it from disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from emolib.errors import InputError

__all__ = ["SPLITS", "Corpus", "load_split"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Corpus:
    """Texts with their emotions.

    `labels[i]` is one of `emolib.EMOTIONS`; `soft[i]`, where given, a probability for each label with weight.
    """

    name: str
    texts: Sequence[str]
    labels: Sequence[str]
    soft: Sequence[dict[str, float]] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def sha256(self) -> str:
        """Of the rows in their order, so that a run folder can say what it was trained on."""
        digest = hashlib.sha256()
        for index, (text, label) in enumerate(zip(self.texts, self.labels, strict=True)):
            row = [text, label, self.soft[index]] if self.soft else [text, label]
            digest.update(json.dumps(row, ensure_ascii=False, sort_keys=True).encode() + b"\n")
        return digest.hexdigest()


def load_split(source: str | Path | Corpus, split: str = "train") -> Corpus:
    """The split of a folder that `emolib clean` made, or the whole of a corpus file (whatever `split` says).

    Raises InputError where nothing is there, the split is absent, no row can be used, or a row of a file
    cannot be read: only `emolib clean` sorts rows out.
    """
    from emolib.data.load import read_rows

    if isinstance(source, Corpus):
        return source
    path = Path(source)
    if path.is_dir():
        file = path / f"{split}.jsonl"
        if not file.is_file():
            found = [name for name in SPLITS if (path / f"{name}.jsonl").is_file()]
            hint = f"it has {', '.join(found)}" if found else f"make one with: emolib clean SOURCE --out {path}"
            raise InputError(f"{path} has no {split} split ({split}.jsonl); {hint}")
        path = file
    rows, rejects = read_rows(path)
    if rejects:
        first = rejects[0]
        raise InputError(
            f"{path}, line {first.line}: {first.reason} ({len(rejects)} such rows);"
            f" sort them out with: emolib clean {path} --out FOLDER"
        )
    if not rows:
        raise InputError(
            f"{path} holds no texts; a corpus has a line `text;label` for each text, or columns text, label"
        )
    soft = [row.soft for row in rows]
    return Corpus(
        path.stem,
        [row.text for row in rows],
        [row.label for row in rows],
        [weights or {row.label: 1.0} for row, weights in zip(rows, soft, strict=True)] if any(soft) else None,
    )
