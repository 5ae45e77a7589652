"""What is said about a model on texts that can have several labels, and the thresholds that decide which ones."""

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
from emolib.evaluate.model_scores import examples_of
from emolib.labels import LabelSet

__all__ = ["MultiLabelScores", "fit_thresholds", "label_matrix"]

#: The threshold of a label that nothing was fitted for: a text has at most two such labels.
_UNFITTED = 1.0 / 3


def label_matrix(gold: Sequence[str], labels: LabelSet) -> np.ndarray:
    """Return which labels [N, K] the texts have; `gold` are labels as `LabelSet.joined` writes them."""
    matrix = np.zeros((len(gold), len(labels)), dtype=bool)
    for row, written in enumerate(gold):
        matrix[row, [labels.index(label) for label in labels.labels_of(written)]] = True
    return matrix


def fit_thresholds(probabilities: np.ndarray, truth: np.ndarray) -> tuple[float, ...]:
    """Return for each label the probability from which its F1 is highest, on `probabilities` and `truth` [N, K].

    A threshold lies halfway between two probabilities that occur. A label that no text has keeps 1/3.
    """
    return tuple(_best_threshold(probabilities[:, k], truth[:, k]) for k in range(truth.shape[1]))


def _best_threshold(probabilities: np.ndarray, truth: np.ndarray) -> float:
    if not truth.any():
        return _UNFITTED
    order = np.argsort(-probabilities, kind="stable")
    ranked, hits = probabilities[order], np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(ranked) + 1) + truth.sum())
    # Only where the probability changes can a threshold lie.
    f1[:-1][ranked[:-1] == ranked[1:]] = -1
    best = int(f1.argmax())
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return round(float((ranked[best] + below) / 2), 6)


@dataclass(frozen=True)
class MultiLabelScores:
    """One model's answers to N texts with one or several labels of K each, and what follows from them.

    `gold` are N labels as `LabelSet.joined` writes them, `generated` N free answers, one label each; `label_logits`
    [N, K] are the scores of constrained decoding. A text gets the labels whose probability reaches `thresholds`, and at
    least the most probable one.
    """

    gold: Sequence[str]
    generated: Sequence[str]
    label_logits: np.ndarray
    labels: LabelSet
    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()

    @cached_property
    def truth(self) -> np.ndarray:
        """Which labels [N, K] the texts have."""
        return label_matrix(self.gold, self.labels)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The probabilities [N, K] of the labels."""
        return softmax(self.label_logits / self.temperature)

    @cached_property
    def predicted(self) -> np.ndarray:
        """Which labels [N, K] the texts get."""
        thresholds = self.thresholds or (_UNFITTED,) * len(self.labels)
        chosen = self.probabilities >= np.array(thresholds)
        none = ~chosen.any(axis=1)
        chosen[none, self.probabilities[none].argmax(axis=1)] = True
        return chosen

    @cached_property
    def right(self) -> np.ndarray:
        """True [N] if a text gets exactly its labels (strict set match)."""
        return (self.predicted == self.truth).all(axis=1)

    @property
    def accuracy(self) -> float:
        """The share of texts that get exactly their labels."""
        return float(self.right.mean())

    @property
    def format_errors(self) -> int:
        """How many free answers are none of the labels."""
        return len(self.errors)

    @cached_property
    def errors(self) -> list[FormatError]:
        """Every free answer that is no label, in the order of the corpus."""
        kinds = ((row, text, format_error(text, self.labels)) for row, text in enumerate(self.generated))
        return [FormatError(row, text, kind) for row, text, kind in kinds if kind]

    @property
    def micro_f1(self) -> float:
        """F1 over all pairs of text and label."""
        hits = (self.truth & self.predicted).sum()
        return float(2 * hits / (self.truth.sum() + self.predicted.sum()))

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the labels that occur, as true or as predicted ones."""
        return float(_macro_f1(self.truth, self.predicted))

    @staticmethod
    def figures(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
        """Return macro-F1, micro-F1 and strict set match of predicted labels [N, K], for a report."""
        hits = 2.0 * (truth & predicted).sum() / (truth.sum() + predicted.sum())
        return {
            "macro_f1": round(_macro_f1(truth, predicted), 4),
            "micro_f1": round(float(hits), 4),
            "set_match": round(float((truth == predicted).all(axis=1).mean()), 4),
        }

    @property
    def answers_in_set(self) -> float:
        """The share of free answers that are, to the letter, one of the text's labels."""
        pairs = zip(self.generated, self.gold, strict=True)
        return float(np.mean([self.labels.parse(text) in self.labels.labels_of(gold) for text, gold in pairs]))

    def as_dict(self) -> dict[str, Any]:
        """Return the model's part of metrics.json."""
        precision, recall, f1 = _per_label(self.truth, self.predicted)
        thresholds = self.thresholds or (_UNFITTED,) * len(self.labels)
        return {
            "n": len(self.gold),
            "multi_label": True,
            "accuracy": round(self.accuracy, 4),
            "accuracy_interval": _interval(self.right),
            "micro_f1": round(self.micro_f1, 4),
            "macro_f1": round(self.macro_f1, 4),
            "macro_f1_interval": self._macro_f1_interval(),
            "answers_in_set": round(self.answers_in_set, 4),
            "labels_per_text": {
                "true": round(float(self.truth.sum(axis=1).mean()), 3),
                "predicted": round(float(self.predicted.sum(axis=1).mean()), 3),
            },
            "format_errors": self.format_errors,
            "format_error_kinds": dict(Counter(error.kind for error in self.errors).most_common()),
            "format_error_examples": [error.as_dict() for error in examples_of(self.errors)],
            "per_label": {
                label: {
                    "precision": round(float(precision[k]), 4),
                    "recall": round(float(recall[k]), 4),
                    "f1": round(float(f1[k]), 4),
                    "support": int(self.truth[:, k].sum()),
                    "threshold": round(thresholds[k], 4),
                }
                for k, label in enumerate(self.labels)
            },
        }

    def _macro_f1_interval(self, samples: int = 200) -> list[float]:
        """Return a 95 % percentile interval: texts are drawn again with replacement."""
        draw = np.random.default_rng(0)
        found = []
        for _ in range(samples):
            rows = draw.integers(0, len(self.gold), len(self.gold))
            found.append(_macro_f1(self.truth[rows], self.predicted[rows]))
        return [round(float(value), 4) for value in np.percentile(found, [2.5, 97.5])]


def _per_label(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    hits = (truth & predicted).sum(axis=0).astype(float)
    named, support = predicted.sum(axis=0), truth.sum(axis=0)
    return scores.ratio(hits, named), scores.ratio(hits, support), scores.ratio(2 * hits, named + support)


def _macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    occurs = truth.any(axis=0) | predicted.any(axis=0)
    return float(_per_label(truth, predicted)[2][occurs].mean())


def _interval(right: np.ndarray) -> list[float]:
    from scipy.stats import binomtest

    interval = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    return [round(float(interval.low), 4), round(float(interval.high), 4)]
