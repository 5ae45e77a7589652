"""A trained peer of the segmenter's rules: at each particle, whether a boundary follows, from the characters around it.

Logistic regression over hashed character n-grams with their places (scikit-learn), the small token classifier that a
second adapter would have to beat. It is trained on messages of other topics than those it is tested on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from emolib.dialogue.particles import PARTICLES

__all__ = ["LearnedCutter"]

Case = tuple[str, set[int]]

_BEFORE, _AFTER = 4, 4


class LearnedCutter:
    """Cuts after the particles that it finds to be followed by a boundary."""

    def __init__(self, cases: Sequence[Case]) -> None:
        from sklearn.feature_extraction import FeatureHasher
        from sklearn.linear_model import LogisticRegression

        self._hasher = FeatureHasher(2**16, input_type="string")
        features, wanted = [], []
        for text, boundaries in cases:
            for place in _places(text):
                features.append(_features(text, place))
                wanted.append(place in boundaries)
        self._model = LogisticRegression(C=4, max_iter=500).fit(self._hasher.transform(features), np.array(wanted))

    def __call__(self, text: str) -> set[int]:
        places = list(_places(text))
        if not places:
            return set()
        found = self._model.predict(self._hasher.transform([_features(text, place) for place in places]))
        return {place for place, cut in zip(places, found, strict=True) if cut}


def _places(text: str) -> Iterator[int]:
    return (place for place, character in enumerate(text, 1) if character in PARTICLES and place < len(text))


def _features(text: str, place: int) -> list[str]:
    """Characters, pairs and triples near `place`, each with its distance from it."""
    around = text[max(0, place - _BEFORE) : place].rjust(_BEFORE, "^") + text[place : place + _AFTER].ljust(_AFTER, "$")
    return [f"{at - _BEFORE}:{around[at : at + size]}" for size in (1, 2, 3) for at in range(len(around) - size + 1)]
