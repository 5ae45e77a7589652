"""Few-shot learning curves: what the baselines reach with a few labelled rows per label, and with all of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emolib.data.corpus import Corpus
from emolib.errors import InputError, UsageError
from emolib.evaluate.baselines import baseline_scores

if TYPE_CHECKING:
    from emolib.evaluate.baselines import Baseline

__all__ = ["check_shots", "few_shot_curves", "few_shot_rows"]

#: Draws of the rows for each number of rows.
_SEEDS = 5


def check_shots(train: Corpus, shots: int) -> None:
    """Raise UsageError or InputError if `train` cannot give `shots` rows of each label that occurs in it."""
    if shots < 1:
        raise UsageError(f"--few-shot {shots}: at least 1 row per label is needed")
    counts = Counter(label for written in train.labels for label in train.label_set.labels_of(written))
    if len(counts) < 2:
        raise InputError(f"{train.name} has rows of one label only; a baseline needs two labels to tell apart")
    rarest = min(counts, key=lambda label: counts[label])
    if counts[rarest] < shots:
        raise InputError(
            f"--few-shot {shots}: the label {rarest} has {counts[rarest]:,} rows in {train.name}; use at most"
            f" --few-shot {counts[rarest]}"
        )


def few_shot_rows(train: Corpus, shots: int, seed: int) -> list[int]:
    """Return the numbers of the rows of `train` that are drawn: `shots` for each label that occurs, in order.

    A row with several labels can be drawn for each of them, and counts once. With one seed, fewer shots draw a part of
    the rows that more shots draw.
    """
    drawn: set[int] = set()
    labels_of = [train.label_set.labels_of(written) for written in train.labels]
    for label in train.label_set.names:
        rows = [row for row, labels in enumerate(labels_of) if label in labels]
        random.Random(f"{seed} {label}").shuffle(rows)
        drawn.update(rows[:shots])
    return sorted(drawn)


def few_shot_curves(
    baselines: Sequence[Baseline], train: Corpus, texts: Sequence[str], gold: Sequence[str], shots: int
) -> list[dict[str, Any]]:
    """Return what each baseline reaches on `texts` with 1, 2, 4, … up to `shots` rows per label, and with all rows.

    Each entry has the mean and the standard deviation of accuracy and macro-F1 over 5 draws of the rows;
    `rows_per_label` is None for all rows, which are one training. No thresholds are fitted: that would take more
    labelled rows. Raises as `check_shots`.
    """
    check_shots(train, shots)
    sizes = [size for size in (2**power for power in range(shots.bit_length())) if size < shots]
    found = []
    for baseline in baselines:
        for size in [*sizes, shots]:
            parts = [_part(train, few_shot_rows(train, size, seed)) for seed in range(_SEEDS)]
            found.append(_entry(baseline, size, parts, texts, gold))
        found.append(_entry(baseline, None, [train], texts, gold))
    return found


def _part(train: Corpus, rows: Sequence[int]) -> Corpus:
    texts, labels = ([column[row] for row in rows] for column in (train.texts, train.labels))
    return Corpus(train.name, texts, labels, label_set=train.label_set)


def _entry(
    baseline: Baseline, size: int | None, parts: Sequence[Corpus], texts: Sequence[str], gold: Sequence[str]
) -> dict[str, Any]:
    scores = [baseline_scores(baseline, part, texts, gold) for part in parts]
    return {
        "baseline": baseline.name,
        "rows_per_label": size,
        "rows": round(float(np.mean([len(part) for part in parts])), 1),
        "draws": len(parts),
        "accuracy": _spread([one.accuracy for one in scores]),
        "macro_f1": _spread([one.macro_f1 for one in scores]),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": round(float(np.mean(values)), 4), "std": round(float(np.std(values)), 4)}
