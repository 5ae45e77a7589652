"""Reading a model's errors: the misclassified texts that it is most sure of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emolib.tables import Table, percent

if TYPE_CHECKING:
    from emolib.data import Corpus

__all__ = ["ReadErrors", "read_errors"]


@dataclass(frozen=True)
class ReadErrors:
    """Misclassified texts of `rows`, the most confident first: (text, true label, answer, confidence)."""

    rows: int
    errors: Sequence[tuple[str, str, str, float]]

    def table(self, shown: int = 10) -> Table:
        """The first `shown` of them."""
        lines = [[text, true, answer, percent(sure)] for text, true, answer, sure in self.errors[:shown]]
        return Table(["text", "true label", "answer", "confidence"], lines)


def read_errors(model: str | Path, corpus: Corpus) -> ReadErrors:
    """Classify `corpus` with `model` and return what it gets wrong, the answers it is surest of first."""
    from emolib.classify import EmotionClassifier

    scores = EmotionClassifier.load(model).classify(corpus.texts)
    answers = zip(corpus.texts, corpus.labels, scores, strict=True)
    wrong = [(text, true, one.label, one.confidence) for text, true, one in answers if one.label != true]
    return ReadErrors(len(corpus), sorted(wrong, key=lambda error: -error[3]))
