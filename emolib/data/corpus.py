"""A corpus in memory, and the one way to get it from disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from emolib.data.frames import FRAME, Frame, is_frame
from emolib.data.labels import LabelReader, LabelRules
from emolib.data.readers import read_source
from emolib.data.table import LABELS_FILE, SPLITS, Reject, Table
from emolib.errors import InputError
from emolib.labels import CARER, LabelSet

__all__ = ["Corpus", "load_split", "read_label_set"]


@dataclass(frozen=True)
class Corpus:
    """Texts with their labels.

    `labels[i]` is one of `label_set`, or with a multi-label set one or several, joined with commas in its order;
    `soft[i]`, where given, a probability for each label with weight.
    """

    name: str
    texts: Sequence[str]
    labels: Sequence[str]
    soft: Sequence[dict[str, float]] | None = None
    label_set: LabelSet = CARER

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


def load_split(source: str | Path | Corpus | Frame, split: str = "train", *, labels: LabelSet | None = None) -> Corpus:
    """The split of a folder that `emolib clean` made, or the whole of a corpus file (whatever `split` says).

    A table in memory (a DataFrame of pandas or polars, a `datasets.Dataset`) is like a file, a mapping of splits to
    tables like a folder. `labels` is the label set that is expected; without it a cleaned folder says its own, and of
    anything else it is found.

    Raises InputError if nothing is there, the split is absent, there are no rows, one of them cannot be used (only
    `emolib clean` sorts rows out), or the corpus has other labels than those expected.
    """
    if isinstance(source, Corpus):
        _refuse_other_labels(source.label_set, labels, source.name)
        return source
    table, name = _split_of(source, split)
    own = _label_set_beside(source)
    _refuse_other_labels(own, labels, name)
    expected = own or labels
    rules = LabelRules(labels=expected, multi_label=expected.multi_label if expected else None)
    reader = LabelReader([table], rules)
    meanings, _ = reader.meanings(table)
    _refuse_rejects(table, meanings, name, reader)
    if table.texts.is_empty():
        raise InputError(f"{name} holds no texts; a corpus has a line `text;label` for each, or columns text and label")
    written = [meanings[label] for label in table.labels.to_list()]
    soft = None
    if any(table.soft):
        weights = zip(table.soft, written, strict=True)
        soft = [{name: share for name, share in (given or {label: 1.0}).items() if share} for given, label in weights]
    return Corpus(Path(name).stem, table.texts.to_list(), written, soft, reader.labels)


def _label_set_beside(source: str | Path | Frame) -> LabelSet | None:
    """Return the label set that `emolib clean` wrote into the folder of `source`, or None.

    A folder of splits without one was cleaned before there were any: its labels are the six emotions.
    """
    if is_frame(source):
        return None
    path = Path(source)
    folder = path if path.is_dir() else path.parent
    if not path.is_dir() and path.stem not in SPLITS:
        return None
    if (folder / LABELS_FILE).is_file():
        return read_label_set(folder / LABELS_FILE)
    return CARER if path.is_dir() else None


def read_label_set(path: Path) -> LabelSet:
    """Return the label set in the JSON file `path`; InputError if it holds none."""
    try:
        return LabelSet.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); clean the corpus again") from error


def _refuse_other_labels(found: LabelSet | None, expected: LabelSet | None, name: str) -> None:
    if found is None or expected is None or found == expected:
        return
    if set(found) == set(expected) and found.multi_label == expected.multi_label:
        return
    raise InputError(
        f"{name} has the labels {found.shown()}{' (several per text)' if found.multi_label else ''}, and the model"
        f" {expected.shown()}{' (several per text)' if expected.multi_label else ''}; judge it on a corpus with its own"
        " labels, or clean this one with --labels and --map"
    )


def _split_of(source: str | Path | Frame, split: str) -> tuple[Table, str]:
    """Return the table of a split and its name."""
    if is_frame(source):
        tables = {table.split: table for table in read_source(source)}
        found = tables.get(split, tables.get(None))
        if found is None:
            raise InputError(f"{FRAME} has no split {split!r}; it has {', '.join(map(str, tables))}")
        return found, found.name
    path = Path(source)
    return read_source(_split_file(path, split) if path.is_dir() else path)[0], str(path)


def _split_file(folder: Path, split: str) -> Path:
    file = folder / f"{split}.jsonl"
    if not file.is_file():
        found = [name for name in SPLITS if (folder / f"{name}.jsonl").is_file()]
        hint = f"it has {', '.join(found)}" if found else f"make one with: emolib clean SOURCE --out {folder}"
        raise InputError(f"{folder} has no {split} split ({split}.jsonl); {hint}")
    return file


def _refuse_rejects(table: Table, meanings: dict[str, str | None], name: str, reader: LabelReader) -> None:
    rejects = list(table.rejects)
    for line, text, label in zip(table.lines.to_list(), table.texts.to_list(), table.labels.to_list(), strict=True):
        if meanings[label] is None:
            rejects.append(Reject(table.name, line, text, reader.why_unknown(label, table)))
        elif not text.strip():
            rejects.append(Reject(table.name, line, text, "the text is empty"))
    if rejects:
        first = min(rejects, key=lambda reject: reject.line)
        raise InputError(
            f"{name}, line {first.line}: {first.reason}; {len(rejects)} such rows: sort them out with"
            + (" clean_corpus" if name.startswith(FRAME) else f": emolib clean {name} --out FOLDER")
        )
