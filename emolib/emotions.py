"""The six emotions, and a probability for each of them.

The six labels and their order are those of CARER (Saravia et al., 2018, "CARER: Contextualized
Affect Representations for Emotion Recognition"; `dair-ai/emotion` on the hub).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from emolib.errors import InputError

__all__ = [
    "ABSTAIN_BELOW",
    "DEFAULT_EMOTION_MODEL",
    "EMOTION2VEC_TO_EMOTION",
    "EMOTIONS",
    "GOEMOTIONS",
    "NEUTRAL",
    "SENSEVOICE_TO_EMOTION",
    "EmotionScores",
    "parse_emotion",
]

#: The labels in the order of CARER's numeric ids: 0 sadness … 5 surprise.
EMOTIONS: tuple[str, ...] = ("sadness", "joy", "love", "anger", "fear", "surprise")

#: What GoEmotions calls a text without emotion; not one of the six, the classifier abstains on it.
NEUTRAL = "neutral"

#: GoEmotions' 28 labels (Demszky et al., 2020, "GoEmotions: A Dataset of Fine-Grained Emotions") as ours.
#:
#: The groups start from the six of Ekman that its authors publish, with four differences. Love is a class of
#: its own in CARER, where it holds affection and care for someone: `love` and `caring` go there instead of to
#: joy. Disgust, which CARER lacks, goes to anger, its nearest neighbour in the authors' own clustering.
#: `approval`, `disapproval`, `confusion`, `curiosity`, `realization` and `desire` are stances and states of
#: knowing or wanting rather than one of the six: a plain "is it open on Sundays?" or "I agree" would make an
#: assistant sound surprised or delighted for no reason, so they count as neutral.
GOEMOTIONS: dict[str, str] = {
    **dict.fromkeys(("disappointment", "embarrassment", "grief", "remorse", "sadness"), "sadness"),
    **dict.fromkeys(
        ("admiration", "amusement", "excitement", "gratitude", "joy", "optimism", "pride", "relief"), "joy"
    ),
    **dict.fromkeys(("caring", "love"), "love"),
    **dict.fromkeys(("anger", "annoyance", "disgust"), "anger"),
    **dict.fromkeys(("fear", "nervousness"), "fear"),
    "surprise": "surprise",
    **dict.fromkeys(("approval", "confusion", "curiosity", "desire", "disapproval", "neutral", "realization"), NEUTRAL),
}

#: Below this probability of the best label, a dialogue treats the text as neutral.
ABSTAIN_BELOW = 0.5

#: The bundled adapter that judges where no other model is named.
DEFAULT_EMOTION_MODEL = "everyday"


@dataclass(frozen=True)
class EmotionScores:
    """A probability for each of the six emotions.

    `probabilities` maps every label to a number in [0, 1]; they sum to 1 (within 1e-3).
    `abstain_below` is the confidence under which `.abstained` is true.
    """

    probabilities: Mapping[str, float]
    abstain_below: float = ABSTAIN_BELOW

    def __post_init__(self) -> None:
        missing = [label for label in EMOTIONS if label not in self.probabilities]
        unknown = [label for label in self.probabilities if label not in EMOTIONS]
        if missing or unknown:
            raise InputError(
                f"emotion scores need exactly the labels {', '.join(EMOTIONS)} (missing: {missing}, unknown: {unknown})"
            )
        total = math.fsum(self.probabilities.values())
        if not math.isfinite(total) or abs(total - 1.0) > 1e-3 or min(self.probabilities.values()) < 0:
            raise InputError(f"emotion probabilities must be at least 0 and sum to 1, not to {total:.4f}")

    @classmethod
    def from_sequence(cls, values: Iterable[float], abstain_below: float = ABSTAIN_BELOW) -> EmotionScores:
        """Scores from six probabilities in the order of `EMOTIONS`."""
        probabilities = dict(zip(EMOTIONS, (float(value) for value in values), strict=True))
        return cls(probabilities, abstain_below)

    @property
    def label(self) -> str:
        """The most probable emotion (the first of `EMOTIONS` where two are equal)."""
        return max(EMOTIONS, key=lambda label: self.probabilities[label])

    @property
    def confidence(self) -> float:
        """The probability of `.label`."""
        return self.probabilities[self.label]

    @property
    def abstained(self) -> bool:
        """True if the confidence is below `abstain_below`."""
        return self.confidence < self.abstain_below

    def as_dict(self, digits: int = 4) -> dict[str, float]:
        """The probabilities in the order of `EMOTIONS`, rounded for a report."""
        return {label: round(self.probabilities[label], digits) for label in EMOTIONS}


def parse_emotion(text: str) -> str | None:
    """The emotion that `text` names under the paper's rule, strict exact match, or None.

    White space around the label is ignored and nothing else is: "Joy", "joy." and
    "joy, love" are format errors.
    """
    label = text.strip()
    return label if label in EMOTIONS else None


# --- the labels of voices ------------------------------------------------------------------------

#: SenseVoice's emotion tags; None is neutral: no emotion of ours. No voice model knows "love".
SENSEVOICE_TO_EMOTION: dict[str, str | None] = {
    "HAPPY": "joy",
    "SAD": "sadness",
    "ANGRY": "anger",
    "FEARFUL": "fear",
    "DISGUSTED": "anger",
    "SURPRISED": "surprise",
    "NEUTRAL": None,
    "EMO_UNKNOWN": None,
}

#: emotion2vec+'s nine classes, by their English names.
EMOTION2VEC_TO_EMOTION: dict[str, str | None] = {
    "angry": "anger",
    "disgusted": "anger",
    "fearful": "fear",
    "happy": "joy",
    "neutral": None,
    "other": None,
    "sad": "sadness",
    "surprised": "surprise",
    "unknown": None,
}
