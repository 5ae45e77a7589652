"""How to answer what the speaker feels: the table of manners, and the choice from it.

A manner is the tone that is asked of the reply model and the voice that speaks. Anger is answered in an even voice and
fear in a warm one: an echo of either would feed it. Where a heavy feeling lasts from turn to turn the answer asks what
would help, and where it lifts the answer is glad of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from emolib.chat import NEUTRAL
from emolib.emotions import EmotionScores

__all__ = ["MANNERS", "Manner", "Policy", "Trend", "Voice", "choose_manner", "trend"]


@dataclass(frozen=True)
class Voice:
    """The emotion to speak with (None: a neutral voice) and how strongly, from 0 to 1."""

    emotion: str | None
    intensity: float


@dataclass(frozen=True)
class Manner:
    """How to answer: `tone` is a name in `emolib.chat.TONES`, or a sentence for the reply model."""

    tone: str
    voice: Voice


class Trend(Enum):
    """What has become of the feeling since the turn before."""

    LASTING = "lasting"
    LIFTING = "lifting"


NEUTRAL_MANNER = Manner(NEUTRAL, Voice(None, 0.0))

#: The manner of the answer, by what the speaker feels and how that has changed (None: in any other way).
MANNERS: dict[tuple[str, Trend | None], Manner] = {
    ("sadness", None): Manner("sadness", Voice("sadness", 0.6)),
    ("sadness", Trend.LASTING): Manner("lasting sadness", Voice("love", 0.6)),
    ("joy", None): Manner("joy", Voice("joy", 1.0)),
    ("joy", Trend.LIFTING): Manner("relief", Voice("joy", 0.7)),
    ("love", None): Manner("love", Voice("love", 1.0)),
    ("love", Trend.LIFTING): Manner("relief", Voice("love", 0.8)),
    ("anger", None): Manner("anger", Voice(None, 0.0)),
    ("anger", Trend.LASTING): Manner("lasting anger", Voice("love", 0.4)),
    ("fear", None): Manner("fear", Voice("love", 0.7)),
    ("fear", Trend.LASTING): Manner("lasting fear", Voice("love", 0.8)),
    ("surprise", None): Manner("surprise", Voice("surprise", 0.8)),
}

#: What `emolib.dialogue` takes to replace the table: from the emotions of the turns so far, the newest last (none:
#: nothing is known), to a manner.
Policy = Callable[[Sequence[EmotionScores]], Manner]

_HEAVY = ("sadness", "anger", "fear")


def choose_manner(emotions: Sequence[EmotionScores]) -> Manner:
    """The manner of `MANNERS`, its voice weaker where the emotion is less certain; neutral on abstention."""
    if not emotions or emotions[-1].abstained:
        return NEUTRAL_MANNER
    felt = emotions[-1]
    manner = MANNERS.get((felt.label, trend(emotions))) or MANNERS[felt.label, None]
    return Manner(manner.tone, Voice(manner.voice.emotion, round(manner.voice.intensity * felt.confidence, 3)))


def trend(emotions: Sequence[EmotionScores]) -> Trend | None:
    """How the newest of `emotions` follows the one before; None where either is unclear, or it merely changed."""
    latest = emotions[-2:]
    if len(latest) < 2 or any(each.abstained for each in latest):
        return None
    before, now = (each.label for each in latest)
    if before == now:
        return Trend.LASTING
    return Trend.LIFTING if before in _HEAVY and now in ("joy", "love") else None
