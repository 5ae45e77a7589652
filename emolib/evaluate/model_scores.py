"""Everything that is said about one model on one corpus, computed from its answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from emolib.classify.classifier import softmax
from emolib.evaluate import scores
from emolib.evaluate.answers import FormatError, format_error
from emolib.labels import CARER, LabelSet

__all__ = ["ModelScores", "examples_of"]

_EXAMPLES_A_KIND = 3


@dataclass(frozen=True)
class ModelScores:
    """One model's answers to N texts, and what follows from them.

    `gold` and `generated` are N label names and N answers as they were generated; `label_logits` [N, K] are the
    scores of constrained decoding, if the model gives any; `temperature` is the one saved with the adapter. The labels
    are those of `labels`; `MultiLabelScores` is for texts with several.
    """

    gold: Sequence[str]
    generated: Sequence[str]
    label_logits: np.ndarray | None = None
    temperature: float = 1.0
    labels: LabelSet = CARER

    @cached_property
    def gold_ids(self) -> np.ndarray:
        """The true labels [N] as numbers."""
        return np.array([self.labels.index(label) for label in self.gold])

    @cached_property
    def right(self) -> np.ndarray:
        """True [N] where the generated answer is the label to the letter."""
        return self._predicted == self.gold_ids

    @cached_property
    def counts(self) -> np.ndarray:
        """Confusion counts [K, K + 1] of the free answers; the last column are format errors."""
        return scores.confusion_counts(self.gold_ids, self._predicted, len(self.labels))

    @property
    def accuracy(self) -> float:
        """The share of answers that are the true label to the letter (strict exact match)."""
        return float(scores.accuracy(self.counts))

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the labels that occur, as true or as predicted ones."""
        return float(scores.macro_f1(self.counts))

    @property
    def format_errors(self) -> int:
        """How many answers are none of the labels."""
        return int(self.counts[:, -1].sum())

    @cached_property
    def errors(self) -> list[FormatError]:
        """Every answer that is no label, in the order of the corpus."""
        kinds = ((row, text, format_error(text, self.labels)) for row, text in enumerate(self.generated))
        return [FormatError(row, text, kind) for row, text, kind in kinds if kind]

    @cached_property
    def constrained_right(self) -> np.ndarray | None:
        """True [N] where the best of the label scores is the true label."""
        return None if self.label_logits is None else self.label_logits.argmax(axis=1) == self.gold_ids

    def as_dict(self) -> dict[str, Any]:
        """The model's part of metrics.json."""
        accuracy_interval, f1_interval = scores.bootstrap(self.counts)
        precision, recall, f1 = scores.per_label(self.counts)
        support = self.counts.sum(axis=1)
        return {
            "n": len(self.gold),
            "accuracy": round(self.accuracy, 4),
            "accuracy_interval": accuracy_interval.as_list(),
            "macro_f1": round(self.macro_f1, 4),
            "macro_f1_interval": f1_interval.as_list(),
            "format_errors": self.format_errors,
            "format_error_kinds": dict(Counter(error.kind for error in self.errors).most_common()),
            "format_error_examples": [error.as_dict() for error in examples_of(self.errors)],
            "per_label": {
                label: {
                    "precision": round(float(precision[number]), 4),
                    "recall": round(float(recall[number]), 4),
                    "f1": round(float(f1[number]), 4),
                    "support": int(support[number]),
                }
                for number, label in enumerate(self.labels)
            },
            "confusion": {
                label: dict(zip([*self.labels, "format error"], counts, strict=True))
                for label, counts in zip(self.labels, self.counts.tolist(), strict=True)
            },
            "constrained": self._constrained(),
        }

    @cached_property
    def _predicted(self) -> np.ndarray:
        named = [self.labels.parse(text) for text in self.generated]
        return np.array([self.labels.index(label) if label else len(self.labels) for label in named])

    def _constrained(self) -> dict[str, Any] | None:
        if self.label_logits is None:
            return None
        chosen = self.label_logits.argmax(axis=1)
        counts = scores.confusion_counts(self.gold_ids, chosen, len(self.labels))
        interval, _ = scores.bootstrap(counts)
        calibrated = scores.measure_calibration(softmax(self.label_logits / self.temperature), self.gold_ids)
        return {
            "accuracy": round(float(scores.accuracy(counts)), 4),
            "accuracy_interval": interval.as_list(),
            "macro_f1": round(float(scores.macro_f1(counts)), 4),
            "format_errors": 0,
            "agreement_with_free": round(float(np.mean(chosen == self._predicted)), 4),
            "temperature": round(self.temperature, 4),
            "ece_uncalibrated": round(scores.measure_calibration(softmax(self.label_logits), self.gold_ids).error, 4),
            "calibration": calibrated.as_dict(),
        }


def examples_of(errors: Sequence[FormatError]) -> list[FormatError]:
    """Return the first few errors of each kind."""
    shown: Counter[str] = Counter()
    chosen = []
    for error in errors:
        shown[error.kind] += 1
        if shown[error.kind] <= _EXAMPLES_A_KIND:
            chosen.append(error)
    return chosen
