"""Two emotions, one score: what the words say and what the voice says.

The words decide if they are clear, the voice decides if they say nothing, and between the two both count.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emolib.emotions import EMOTION2VEC_TO_EMOTION, EMOTIONS, NEUTRAL, SENSEVOICE_TO_EMOTION
from emolib.errors import InputError
from emolib.labels import EmotionScores

__all__ = ["DEFAULT_FUSION", "FusionWeights", "contradicting", "contradiction", "fit_fusion", "fuse", "voice_scores"]

#: What a voice can tell; "love" has no acoustic class in any of the models.
_AUDIBLE = tuple(label for label in EMOTIONS if label != "love")
#: The classes of `emolib.speech.voice_head`, whose probabilities are calibrated.
_HEAD_TO_EMOTION: dict[str, str | None] = {**{label: label for label in _AUDIBLE}, NEUTRAL: None}
#: A tag comes without a probability and other models of voices are too sure of themselves: this much is believed.
_BELIEVED = 0.75
_LEAST = 1e-6
#: How sharply the voice gives way to the words as they become clearer, per unit of confidence.
_STEEPNESS = 40.0
_EXPONENTS = tuple(step / 5 for step in range(6))
_CLEAR_FROM = (-0.1, -0.05, 0.0, 0.05, 0.1)
#: What the voice has decided is taken for neutral below this confidence: its classes count a neutral one of their own.
_ABSTAIN_BELOW_VOICE = 0.4
#: So sure have words and voice to be for a contradiction.
_SURE = 0.6
_VALENCE = {"joy": 1, "love": 1, "sadness": -1, "anger": -1, "fear": -1}


@dataclass(frozen=True)
class FusionWeights:
    """How much words and voice count.

    `text` is the exponent of the words' probabilities in the product with the voice's; the less clear the words, the
    smaller it gets. `voice` in [0, 1] is the share of that product if the words say nothing. `clear_from` is the
    confidence of the words, above the one at which they abstain, at which that share is half.
    """

    text: float = 1.0
    voice: float = 1.0
    clear_from: float = 0.0


#: From `benchmarks._fit_fusion`; a larger `clear_from` lets a voice take the label of words that are clear.
#: `fit_fusion` fits them to other data.
DEFAULT_FUSION = FusionWeights()


def voice_scores(classes: Mapping[str, float]) -> dict[str, float]:
    """Return a distribution over the five emotions that a voice can tell.

    `classes` maps the classes of our head, SenseVoice's tags or emotion2vec's classes to probabilities. What is neutral
    or unknown is spread evenly, and so is a quarter of the rest for SenseVoice and emotion2vec. InputError for a name
    of none of them, and for values that are no probabilities.
    """
    scores, neutral = _emotions_of(classes)
    return {label: score + neutral / len(_AUDIBLE) for label, score in scores.items()}


def fuse(
    text: EmotionScores, voice: Mapping[str, float] | None, weights: FusionWeights = DEFAULT_FUSION
) -> EmotionScores:
    """Return one score from the words and the voice (classes as in `voice_scores`, None if it was not heard).

    The probability of "love" stays that of the text. The rest is a mixture of the text's scores and the product of both
    over the other five, in which the product counts more the less neutral the voice and the less clear the words are.
    With a voice that is neutral most likely, the text's scores come back, and with them its abstention.
    """
    text = text.as_emotions()
    if not voice:
        return text
    heard, neutral = _emotions_of(voice)
    emotional = 1.0 - neutral
    if emotional <= _LEAST or max(heard.values()) <= neutral:
        return text
    love = text.probabilities["love"]
    clear = text.confidence - text.abstain_below
    unclear = 1.0 / (1.0 + math.exp(_STEEPNESS * (clear - weights.clear_from)))
    share = emotional * weights.voice * unclear
    exponent = weights.text * (1.0 - unclear)
    products = {
        label: max(text.probabilities[label], _LEAST) ** exponent * (heard[label] / emotional) for label in _AUDIBLE
    }
    scale = (1.0 - love) / math.fsum(products.values())
    fused = {
        label: (1.0 - share) * text.probabilities[label] + share * products.get(label, 0.0) * scale
        for label in EMOTIONS
    }
    abstain_below = text.abstain_below + share * (min(_ABSTAIN_BELOW_VOICE, text.abstain_below) - text.abstain_below)
    return EmotionScores({**fused, "love": love}, abstain_below)


def contradicting(text: EmotionScores, voice: Mapping[str, float] | None) -> tuple[str, str] | None:
    """Return the emotions of words and voice if both are sure and one is glad and the other is not, else None."""
    text = text.as_emotions()
    if not voice or text.confidence < max(_SURE, text.abstain_below):
        return None
    heard, _ = _emotions_of(voice)
    label = max(heard, key=lambda name: heard[name])
    if heard[label] < _SURE or _VALENCE.get(text.label, 0) * _VALENCE.get(label, 0) >= 0:
        return None
    return text.label, label


def contradiction(text: EmotionScores, voice: Mapping[str, float] | None) -> str | None:
    """Return the sentence for `contradicting`, "words: joy, voice: sadness", or None."""
    found = contradicting(text, voice)
    return f"words: {found[0]}, voice: {found[1]}" if found else None


def fit_fusion(
    texts: Sequence[EmotionScores], voices: Sequence[Mapping[str, float]], labels: Sequence[str]
) -> FusionWeights:
    """Return the weights with the least cross-entropy on turns whose emotion is known (a grid search)."""
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

    return min((FusionWeights(*each) for each in itertools.product(_EXPONENTS, _EXPONENTS, _CLEAR_FROM)), key=loss)


def _emotions_of(classes: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """Return the probability of each of the five emotions, and that of none; they sum to 1."""
    total = math.fsum(classes.values())
    if not math.isfinite(total) or total <= 0 or min(classes.values()) < 0:
        raise InputError("the emotions of a voice need probabilities of at least 0 with a positive sum")
    scores = dict.fromkeys(_AUDIBLE, 0.0)
    for name, value in classes.items():
        emotion, believed = _emotion_of(name)
        if emotion:
            scores[emotion] += believed * value / total
    return scores, max(0.0, 1.0 - math.fsum(scores.values()))


def _emotion_of(name: str) -> tuple[str | None, float]:
    if name in _HEAD_TO_EMOTION:
        return _HEAD_TO_EMOTION[name], 1.0
    for known in (SENSEVOICE_TO_EMOTION, EMOTION2VEC_TO_EMOTION):
        if name in known:
            return known[name], _BELIEVED
    raise InputError(f"{name!r} is no emotion class of our voice head, SenseVoice or emotion2vec")
