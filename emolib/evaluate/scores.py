"""The arithmetic of classification: accuracy, F1, confusion, intervals, significance, calibration.

Labels are numbers here: gold 0 … K-1, predicted 0 … K-1 or K for an answer that names no label.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = [
    "Calibration",
    "Comparison",
    "Interval",
    "bootstrap",
    "conflict_ceiling",
    "confusion_counts",
    "fit_temperature",
    "mcnemar",
    "measure_calibration",
    "per_label",
    "ratio",
]

_BINS = 10


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float

    def as_list(self) -> list[float]:
        """For metrics.json."""
        return [round(self.low, 4), round(self.high, 4)]


def confusion_counts(gold: np.ndarray, predicted: np.ndarray, labels: int) -> np.ndarray:
    """Counts [K, K + 1]: rows are the true labels, columns the predicted ones, the last column no label at all."""
    flat = np.asarray(gold) * (labels + 1) + np.asarray(predicted)
    return np.bincount(flat, minlength=labels * (labels + 1)).reshape(labels, labels + 1)


def per_label(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1, each [..., K], of confusion counts [..., K, K + 1]; 0 where undefined."""
    labels = counts.shape[-2]
    hits = np.diagonal(counts[..., :labels], axis1=-2, axis2=-1).astype(float)
    named = counts[..., :labels].sum(axis=-2)
    support = counts.sum(axis=-1)
    precision, recall = ratio(hits, named), ratio(hits, support)
    return precision, recall, ratio(2 * precision * recall, precision + recall)


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """Mean F1 [...] over the labels that occur, as true or as predicted ones, in counts [..., K, K + 1]."""
    labels = counts.shape[-2]
    occurs = (counts.sum(axis=-1) + counts[..., :labels].sum(axis=-2)) > 0
    return ratio((per_label(counts)[2] * occurs).sum(axis=-1), occurs.sum(axis=-1))


def accuracy(counts: np.ndarray) -> np.ndarray:
    """The share of right answers [...] of counts [..., K, K + 1]."""
    labels = counts.shape[-2]
    return ratio(np.trace(counts[..., :labels], axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def bootstrap(counts: np.ndarray, *, samples: int = 2000, seed: int = 0) -> tuple[Interval, Interval]:
    """95 % percentile intervals of accuracy and macro-F1 (Efron): rows are drawn again with replacement.

    Both depend on the rows through the confusion counts alone, so the counts are drawn, from a multinomial.
    """
    total = int(counts.sum())
    draws = np.random.default_rng(seed).multinomial(total, counts.ravel() / total, size=samples)
    drawn = draws.reshape(samples, *counts.shape)
    return _percentiles(accuracy(drawn)), _percentiles(macro_f1(drawn))


@dataclass(frozen=True)
class Comparison:
    """McNemar's test of two models on the same rows: who alone is right how often, and the two-sided p value."""

    only_first: int
    only_second: int
    p_value: float

    def as_dict(self) -> dict[str, float]:
        """For metrics.json."""
        return {"only_first": self.only_first, "only_second": self.only_second, "p_value": self.p_value}


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> Comparison:
    """McNemar's exact test (1947; binomial form) of two boolean arrays [N] that say which rows were right."""
    from scipy.stats import binomtest

    first = int(np.sum(first_right & ~second_right))
    second = int(np.sum(second_right & ~first_right))
    p_value = binomtest(first, first + second).pvalue if first + second else 1.0
    return Comparison(first, second, float(p_value))


@dataclass(frozen=True)
class Calibration:
    """How far confidence can be trusted.

    `error` is the expected calibration error (Guo et al., 2017) over equal-width bins. `bins` are
    {low, high, count, confidence, accuracy}, empty ones left out. `abstention` says for each threshold which
    share of the rows is answered, and how many of those rightly: {threshold, coverage, accuracy}.
    """

    error: float
    bins: list[dict[str, float]]
    abstention: list[dict[str, float | None]]

    def as_dict(self) -> dict[str, object]:
        """For metrics.json."""
        return {"ece": round(self.error, 4), "bins": self.bins, "abstention": self.abstention}


def measure_calibration(probabilities: np.ndarray, gold: np.ndarray) -> Calibration:
    """The calibration of `probabilities` [N, K] against the true labels `gold` [N]."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == gold
    which = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    bins = [
        {
            "low": number / _BINS,
            "high": (number + 1) / _BINS,
            "count": int((which == number).sum()),
            "confidence": round(float(confidence[which == number].mean()), 4),
            "accuracy": round(float(right[which == number].mean()), 4),
        }
        for number in range(_BINS)
        if (which == number).any()
    ]
    error = sum(abs(entry["confidence"] - entry["accuracy"]) * entry["count"] for entry in bins) / len(gold)
    return Calibration(error, bins, [_abstention(confidence, right, step / 20) for step in range(20)])


def fit_temperature(logits: np.ndarray, gold: np.ndarray) -> float:
    """The temperature in [0.05, 20] that gives `gold` [N] the least cross-entropy under `logits` [N, K] / T."""
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(gold))

    def cross_entropy(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[rows, gold]))

    found = minimize_scalar(cross_entropy, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))


def conflict_ceiling(texts: Sequence[Hashable], gold: Sequence[Hashable]) -> float:
    """The best accuracy that any classifier of the text alone can reach: the same text may carry several labels."""
    labels_of: dict[Hashable, Counter[Hashable]] = defaultdict(Counter)
    for text, label in zip(texts, gold, strict=True):
        labels_of[text][label] += 1
    return sum(max(labels.values()) for labels in labels_of.values()) / len(texts)


def _abstention(confidence: np.ndarray, right: np.ndarray, threshold: float) -> dict[str, float | None]:
    answered = confidence >= threshold
    share = round(float(right[answered].mean()), 4) if answered.any() else None
    return {"threshold": threshold, "coverage": round(float(answered.mean()), 4), "accuracy": share}


def _percentiles(values: np.ndarray) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(low), float(high))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return `part` / `whole`, 0 where `whole` is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part), dtype=float), where=np.asarray(whole) > 0)
