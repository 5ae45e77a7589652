"""Train the learned score of distress: `python -m benchmarks._fit_distress [--folds N] [--write]`.

It learns from the tune half of `emolib/data/sample/distress.tsv`, from `benchmarks/distress_lines.tsv` (written for
this and nothing else, no line of it equal to one of the test half) and from the sample corpus, whose sentences count
as free of distress. Mixtures of lines, in which a line stands between others that say nothing, teach it long messages.
Prints the cross-validated figures of the tune half; with --write, fits on all of it and writes `weights.safetensors`.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from emolib.data.sample import neutral_sentences, sample_corpus, sample_path
from emolib.dialogue.distress.features import FAMILIES, hashed
from emolib.dialogue.distress.normalise import normalise
from emolib.dialogue.distress.rules import hide_lookalikes, says_self_harm
from emolib.dialogue.distress.score import WEIGHTS

LABELS = ("urgent", "careful", "none")
LINES = Path(__file__).parent / "distress_lines.tsv"
DISTRESS = sample_path("distress")

_KEPT = 40_000
_LEAST_LINES = 2
_MIXTURES = 1_500
_REGULARISATION = 10.0
# Everyday sentences are many and easy; sad and fearful ones may be in distress after all.
_EVERYDAY, _HEAVY = 0.3, 0.15
# Chinese has no sample corpus, so its lines without distress stand for it too.
_CHINESE_NONE = 2.0
_FAMILY_WEIGHTS = dict(zip(FAMILIES, (1.4, 0.8, 1.0, 1.0, 1.0, 1.0), strict=True))


@dataclass(frozen=True)
class Line:
    """A text, its label, and how much it counts in training."""

    language: str
    label: str
    kind: str
    text: str
    weight: float = 1.0


def lines_of(path: Path, split: str | None = None) -> list[Line]:
    """Read the lines of a table, those of `split` if it has splits."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Line(row["language"], row["label"], row["kind"], row["text"], _weight(row))
        for row in rows
        if split is None or row["split"] == split
    ]


def _weight(row: dict[str, str]) -> float:
    if row["kind"].startswith("chat"):
        return _HEAVY if row["kind"].endswith(("sadness", "fear")) else _EVERYDAY
    return _CHINESE_NONE if (row["language"], row["label"]) == ("zh", "none") else 1.0


def everyday_lines() -> list[Line]:
    """The sentences of the sample corpus as lines without distress."""
    corpora = [sample_corpus(split) for split in ("train", "more")]
    rows = [row for corpus in corpora for row in zip(corpus.texts, corpus.labels, strict=True)]
    rows += [(text, "neutral") for text in neutral_sentences()]
    return [
        Line("en", "none", "sample", text, _HEAVY if label in ("sadness", "fear") else _EVERYDAY)
        for text, label in rows
    ]


def mixtures(lines: Sequence[Line], rng: np.random.Generator) -> list[Line]:
    """Put a line between one or two that say nothing; its label is the label of the whole."""
    mixed = []
    for language in ("en", "zh"):
        plain = [line.text for line in lines if line.language == language and line.label == "none"]
        for label in LABELS:
            chosen = [line.text for line in lines if line.language == language and line.label == label]
            for _ in range(_MIXTURES):
                parts = [plain[rng.integers(len(plain))] for _ in range(rng.integers(1, 3))]
                place = len(parts) if rng.random() < 0.7 else 0
                parts.insert(place, chosen[rng.integers(len(chosen))])
                joint = ("，" if rng.random() < 0.6 else "") if language == "zh" else " "
                mixed.append(Line(language, label, "mixture", joint.join(parts), _EVERYDAY))
    return mixed


class Model:
    """Logistic regression over the hashed features that at least two lines have."""

    def __init__(self, lines: Sequence[Line], kept: int = _KEPT) -> None:
        from sklearn.linear_model import LogisticRegression

        counts: Counter[int] = Counter()
        weight_of: dict[int, float] = {}
        for line in lines:
            for name, family in zip(FAMILIES, _hashed(line.text), strict=True):
                counts.update(family.tolist())
                weight_of |= dict.fromkeys(family.tolist(), _FAMILY_WEIGHTS[name])
        self.hashes = np.array(sorted(f for f, count in counts.items() if count >= _LEAST_LINES), dtype=np.uint32)
        family_weights = np.array([weight_of[feature] for feature in self.hashes.tolist()], dtype=np.float32)
        trained = [*lines, *mixtures(lines, np.random.default_rng(3407))]
        regression = LogisticRegression(C=_REGULARISATION, max_iter=300)
        regression.fit(
            self._matrix([line.text for line in trained]).multiply(family_weights).tocsr(),
            [LABELS.index(line.label) for line in trained],
            sample_weight=[line.weight for line in trained],
        )
        self.bias = (regression.intercept_ - regression.intercept_[-1])[:2].astype(np.float32)
        weights = (regression.coef_ - regression.coef_[-1])[:2].T * family_weights[:, None]
        strongest = np.sort(np.argsort(-np.abs(weights).max(axis=1))[:kept])
        self.hashes = self.hashes[strongest]
        self.scale = (np.abs(weights).max(axis=0) / 127).astype(np.float32)
        self.weights = np.round(weights[strongest] / self.scale).astype(np.int8)

    def _matrix(self, texts: Sequence[str]) -> Any:
        """The known features of each text; those of a family are as long together as the root of their share."""
        from scipy.sparse import csr_matrix

        rows, columns, values = [], [], []
        for row, text in enumerate(texts):
            for family in filter(len, _hashed(text)):
                places = np.minimum(np.searchsorted(self.hashes, family), len(self.hashes) - 1)
                known = places[self.hashes[places] == family]
                rows += [row] * len(known)
                columns += known.tolist()
                values += [family.size**-0.5] * len(known)
        shape = (len(texts), len(self.hashes))
        return csr_matrix((np.array(values, dtype=np.float32), (rows, columns)), shape=shape)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return the probabilities of LABELS, a row per text."""
        logits = self._matrix(texts) @ (self.weights * self.scale) + self.bias
        odds = np.column_stack([np.exp(logits), np.ones(len(texts))])
        return odds / odds.sum(axis=1, keepdims=True)

    def write(self, path: Path) -> None:
        """Write the weights for `emolib.dialogue.distress.score`."""
        from safetensors.numpy import save_file

        names = ("hashes", "weights", "scale", "bias")
        save_file({name: getattr(self, name) for name in names}, path)


@cache
def _hashed(text: str) -> list[np.ndarray]:
    return hashed(normalise(text))


def main() -> int:
    """Cross-validate, and with --write fit on everything and write the weights."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks._fit_distress")
    parser.add_argument("--folds", type=int, default=3, help="of the tune half; 0 = no cross-validation")
    parser.add_argument("--write", action="store_true", help=f"write {WEIGHTS.name}")
    options = parser.parse_args()
    lines = [*lines_of(LINES), *everyday_lines()]
    tune = lines_of(DISTRESS, "tune")
    if options.folds:
        _cross_validate(tune, lines, options.folds)
    if options.write:
        Model([*tune, *lines]).write(WEIGHTS)
    return 0


def _cross_validate(tune: Sequence[Line], lines: Sequence[Line], folds: int) -> None:
    fold = np.random.default_rng(3407).integers(folds, size=len(tune))
    found = np.zeros((len(tune), len(LABELS)))
    for number in range(folds):
        model = Model([*(line for line, of in zip(tune, fold, strict=True) if of != number), *lines])
        held = np.flatnonzero(fold == number)
        found[held] = model.probabilities([tune[place].text for place in held])
    for place, line in enumerate(tune):
        if says_self_harm(hide_lookalikes(normalise(line.text))):
            found[place] = (1, 0, 0)
    for language in ("en", "zh"):
        chosen = [place for place, line in enumerate(tune) if line.language == language]
        _print_figures(f"tune half, {language}", [tune[place].label for place in chosen], found[chosen])


def _print_figures(title: str, labels: Sequence[str], found: np.ndarray) -> None:
    """Print for each threshold the share of each label that reaches it, in distress at all and as urgent."""
    print(title)
    for threshold in (0.3, 0.4, 0.5, 0.6, 0.7):
        cells = []
        for label in LABELS:
            own = found[[each == label for each in labels]]
            flagged, urgent = np.mean(1 - own[:, 2] >= threshold), np.mean(own[:, 0] >= threshold)
            cells.append(f"{label} {flagged:.3f} (urgent {urgent:.3f})")
        print(f"  {threshold:.1f}  {'  '.join(cells)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
