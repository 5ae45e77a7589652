"""What a run trains on, and the held-out examples that it is judged by meanwhile."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from emolib.errors import InputError
from emolib.finetune.settings import TrainSettings
from emolib.labels import CARER, LabelSet

if TYPE_CHECKING:
    from emolib.data import Corpus
    from emolib.data.table import Reject

__all__ = ["TrainingData", "hold_out", "load_training_data"]

T = TypeVar("T")


@dataclass(frozen=True)
class TrainingData:
    """What a classification run trains on, and what it is judged by meanwhile.

    `soft` holds a probability for each label and row, or None; `name`, `sha256` identify the corpus, and `label_set`
    are its labels.
    """

    name: str
    sha256: str
    texts: Sequence[str]
    labels: Sequence[str]
    soft: Sequence[Mapping[str, float]] | None
    held_out_texts: Sequence[str]
    held_out_labels: Sequence[str]
    label_set: LabelSet = CARER

    @property
    def rows(self) -> int:
        """The number of texts to train on."""
        return len(self.texts)

    @property
    def held_out_rows(self) -> int:
        """The number of texts to evaluate on."""
        return len(self.held_out_texts)

    @property
    def rejects(self) -> Sequence[Reject]:
        """Nothing: a corpus with rows that cannot be used is refused, `emolib clean` sorts them out."""
        return ()


def load_training_data(
    data: str | Path | Corpus | TrainingData, validation: str | Path | None, settings: TrainSettings
) -> TrainingData:
    """Return the rows to train on and the held-out ones, chosen by the seed; InputError if there are none."""
    from emolib.data import load_split

    if isinstance(data, TrainingData):
        return data
    corpus = load_split(data, "train")
    if not len(corpus):
        raise InputError(f"the corpus {corpus.name} has no rows to train on; see its report.json and rejects.jsonl")
    other = _validation(data, validation, corpus.label_set) if settings.eval_examples else None
    kept, chosen = hold_out(range(len(corpus)), None if other is None else range(len(other)), settings)
    held_out = corpus if other is None else other
    return TrainingData(
        name=corpus.name,
        sha256=corpus.sha256,
        texts=[corpus.texts[index] for index in kept],
        labels=[corpus.labels[index] for index in kept],
        soft=None if corpus.soft is None else [corpus.soft[index] for index in kept],
        held_out_texts=[held_out.texts[index] for index in chosen],
        held_out_labels=[held_out.labels[index] for index in chosen],
        label_set=corpus.label_set,
    )


def hold_out(rows: Sequence[T], other: Sequence[T] | None, settings: TrainSettings) -> tuple[list[T], list[T]]:
    """Return the rows to train on and at most `eval_examples` held-out ones, chosen by the seed.

    The held-out ones come from `other`, or else are taken out of `rows`, at most a tenth of them.
    """
    shuffle = random.Random(settings.seed)
    if other is not None:
        return list(rows), shuffle.sample(other, min(settings.eval_examples, len(other)))
    order = shuffle.sample(range(len(rows)), len(rows))
    size = min(settings.eval_examples, len(rows) // 10)
    return [rows[index] for index in sorted(order[size:])], [rows[index] for index in order[:size]]


def _validation(data: str | Path | Corpus, validation: str | Path | None, labels: LabelSet) -> Corpus | None:
    from emolib.data import load_split

    if validation is not None:
        return load_split(validation, "validation", labels=labels)
    if isinstance(data, Mapping) and "validation" in data:
        return load_split(data, "validation", labels=labels)
    if isinstance(data, (str, Path)) and (Path(data) / "validation.jsonl").is_file():
        return load_split(data, "validation", labels=labels)
    return None
