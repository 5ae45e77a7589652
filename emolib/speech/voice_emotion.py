"""Two emotions, one score: what the words say and what the voice says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emolib.emotions import ABSTAIN_BELOW, EMOTION2VEC_TO_EMOTION, EMOTIONS, SENSEVOICE_TO_EMOTION, EmotionScores
from emolib.errors import InputError

__all__ = ["DEFAULT_FUSION", "FusionWeights", "fit_fusion", "fuse", "voice_scores"]

#: What a voice can tell; "love" has no acoustic class in any of the models.
_AUDIBLE = tuple(label for label in EMOTIONS if label != "love")
#: A tag comes without a probability and models of voices are too sure of themselves: this much is believed.
_BELIEVED = 0.75
_LEAST = 1e-6
_GRID = tuple(step / 10 for step in range(0, 16))


@dataclass(frozen=True)
class FusionWeights:
    """Exponents of the two distributions in their product: 0 leaves one out, 1 takes it as it is."""

    text: float = 1.0
    voice: float = 0.5


#: The words decide and the voice tips the balance. `fit_fusion` fits them where there is data.
DEFAULT_FUSION = FusionWeights()


def voice_scores(classes: Mapping[str, float]) -> dict[str, float]:
    """SenseVoice tags or emotion2vec classes as a distribution over the five emotions that a voice can tell.

    `classes` maps their names to probabilities. What is neutral or unknown, and a quarter of the rest, is
    spread evenly. InputError for a name of neither model, and for values that are no probabilities.
    """
    total = math.fsum(classes.values())
    if not math.isfinite(total) or total <= 0 or min(classes.values()) < 0:
        raise InputError("the emotions of a voice need probabilities of at least 0 with a positive sum")
    scores = dict.fromkeys(_AUDIBLE, 0.0)
    for name, value in classes.items():
        emotion = _emotion_of(name)
        if emotion:
            scores[emotion] += _BELIEVED * value / total
    spread = (1.0 - math.fsum(scores.values())) / len(_AUDIBLE)
    return {label: score + spread for label, score in scores.items()}


def fuse(
    text: EmotionScores, voice: Mapping[str, float] | None, weights: FusionWeights = DEFAULT_FUSION
) -> EmotionScores:
    """One score from the words and the voice (SenseVoice tags or emotion2vec classes, None where unheard).

    The probability of "love" stays that of the text; the rest is the weighted product of both over the
    other five. Where both are weak the text's scores come back, and with them its abstention.
    """
    if not voice:
        return text
    heard = voice_scores(voice)
    if text.abstained and max(heard.values()) < ABSTAIN_BELOW:
        return text
    love = text.probabilities["love"]
    products = {
        label: max(text.probabilities[label], _LEAST) ** weights.text * heard[label] ** weights.voice
        for label in _AUDIBLE
    }
    scale = (1.0 - love) / math.fsum(products.values())
    fused = {label: love if label == "love" else products[label] * scale for label in EMOTIONS}
    return EmotionScores(fused, text.abstain_below)


def fit_fusion(
    texts: Sequence[EmotionScores], voices: Sequence[Mapping[str, float]], labels: Sequence[str]
) -> FusionWeights:
    """The weights with the least cross-entropy on turns whose emotion is known (a grid search)."""
    if not labels or not len(texts) == len(voices) == len(labels):
        raise InputError(
            "fitting needs as many texts as voices and labels, and at least one of each:"
            f" {len(texts)}, {len(voices)}, {len(labels)}"
        )

    def loss(weights: FusionWeights) -> float:
        fused = (fuse(text, voice, weights) for text, voice in zip(texts, voices, strict=True))
        return -math.fsum(
            math.log(max(scores.probabilities[label], _LEAST)) for scores, label in zip(fused, labels, strict=True)
        )

    return min((FusionWeights(*pair) for pair in itertools.product(_GRID, _GRID)), key=loss)


def _emotion_of(name: str) -> str | None:
    for known in (SENSEVOICE_TO_EMOTION, EMOTION2VEC_TO_EMOTION):
        if name in known:
            return known[name]
    raise InputError(f"{name!r} is no emotion class of SenseVoice or emotion2vec")
