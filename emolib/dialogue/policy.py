"""Choose how to answer from what the speaker feels.

A response style is the tone that is asked of the reply model and the voice that speaks. Anger is answered in an even
voice and fear in a warm one: an echo of either would feed it. If a heavy feeling lasts from turn to turn, the answer
asks what would help; when it lifts, the answer is glad of that. If words and voice contradict each other, the answer
goes to the heavier feeling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from emolib.chat import NEUTRAL
from emolib.labels import EmotionScores

__all__ = [
    "RESPONSE_STYLES",
    "Policy",
    "ResponseStyle",
    "Trend",
    "Voice",
    "choose_style",
    "style_of_contradiction",
    "trend",
]


@dataclass(frozen=True)
class Voice:
    """The emotion to speak with (None: a neutral voice) and how strongly, from 0 to 1."""

    emotion: str | None
    intensity: float


@dataclass(frozen=True)
class ResponseStyle:
    """How to answer: `tone` is a name in `emolib.chat.TONES`, or a sentence for the reply model."""

    tone: str
    voice: Voice


class Trend(Enum):
    """What has become of the feeling since the turn before."""

    LASTING = "lasting"
    LIFTING = "lifting"


_SOFT = Voice("love", 0.4)
NEUTRAL_STYLE = ResponseStyle(NEUTRAL, Voice(None, 0.0))

#: The style of the answer, by what the speaker feels and how that has changed (None: in any other way).
RESPONSE_STYLES: dict[tuple[str, Trend | None], ResponseStyle] = {
    ("sadness", None): ResponseStyle("sadness", Voice("sadness", 0.6)),
    ("sadness", Trend.LASTING): ResponseStyle("lasting sadness", Voice("love", 0.6)),
    ("joy", None): ResponseStyle("joy", Voice("joy", 1.0)),
    ("joy", Trend.LIFTING): ResponseStyle("relief", Voice("joy", 0.7)),
    ("love", None): ResponseStyle("love", Voice("love", 1.0)),
    ("love", Trend.LIFTING): ResponseStyle("relief", Voice("love", 0.8)),
    ("anger", None): ResponseStyle("anger", Voice(None, 0.0)),
    ("anger", Trend.LASTING): ResponseStyle("lasting anger", Voice("love", 0.4)),
    ("fear", None): ResponseStyle("fear", Voice("love", 0.7)),
    ("fear", Trend.LASTING): ResponseStyle("lasting fear", Voice("love", 0.8)),
    ("surprise", None): ResponseStyle("surprise", Voice("surprise", 0.8)),
}

#: What `emolib.dialogue` takes to replace the table: from the emotions of the turns so far, the newest last (none:
#: nothing is known), to a style.
Policy = Callable[[Sequence[EmotionScores]], ResponseStyle]

_HEAVY = ("sadness", "anger", "fear")


def choose_style(emotions: Sequence[EmotionScores]) -> ResponseStyle:
    """The style of `RESPONSE_STYLES`, its voice weaker if the emotion is less certain; neutral on abstention."""
    if not emotions or emotions[-1].abstained:
        return NEUTRAL_STYLE
    felt = emotions[-1]
    style = RESPONSE_STYLES.get((felt.label, trend(emotions))) or RESPONSE_STYLES[felt.label, None]
    return ResponseStyle(style.tone, Voice(style.voice.emotion, round(style.voice.intensity * felt.confidence, 3)))


def style_of_contradiction(words: str, voice: str) -> ResponseStyle:
    """The style if the words say one emotion and the voice another: that of the heavier one, in a soft voice.

    Whoever says sadly that all is well is not congratulated, and a laugh over bad news is not joined in.
    """
    heavier = next(label for label in (voice, words) if label in _HEAVY)
    return ResponseStyle(RESPONSE_STYLES[heavier, None].tone, _SOFT)


def trend(emotions: Sequence[EmotionScores]) -> Trend | None:
    """How the newest of `emotions` follows the one before; None if either is unclear, or it merely changed."""
    latest = emotions[-2:]
    if len(latest) < 2 or any(each.abstained for each in latest):
        return None
    before, now = (each.label for each in latest)
    if before == now:
        return Trend.LASTING
    return Trend.LIFTING if before in _HEAVY and now in ("joy", "love") else None
