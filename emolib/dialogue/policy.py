"""How to answer what the speaker feels: the table of voices, and the choice from it.

The tone of the words is the reply model's part (`emolib.chat.TONES`); this is the tone of the voice.
Anger is answered in an even voice and fear in a warm one: an echo of either would feed it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from emolib.emotions import EmotionScores

__all__ = ["VOICES", "Policy", "Voice", "choose_voice"]


@dataclass(frozen=True)
class Voice:
    """The emotion to speak with (None: a neutral voice) and how strongly, from 0 to 1."""

    emotion: str | None
    intensity: float


NEUTRAL_VOICE = Voice(None, 0.0)

#: The voice of the answer, by the emotion of the speaker.
VOICES: dict[str, Voice] = {
    "sadness": Voice("sadness", 0.6),
    "joy": Voice("joy", 1.0),
    "love": Voice("love", 1.0),
    "anger": NEUTRAL_VOICE,
    "fear": Voice("love", 0.7),
    "surprise": Voice("surprise", 0.8),
}

#: What `emolib.dialogue` takes to replace the table: from the speaker's emotion (None: not known) to a voice.
Policy = Callable[[EmotionScores | None], Voice]


def choose_voice(emotion: EmotionScores | None) -> Voice:
    """The voice of `VOICES` for `emotion`, weaker where it is less certain; neutral on abstention."""
    if emotion is None or emotion.abstained:
        return NEUTRAL_VOICE
    voice = VOICES[emotion.label]
    return Voice(voice.emotion, round(voice.intensity * emotion.confidence, 3))
