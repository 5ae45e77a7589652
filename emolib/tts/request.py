"""What is to be said, with which emotion and in whose voice."""

from __future__ import annotations

import math
from dataclasses import dataclass

from emolib.emotions import EMOTIONS
from emolib.errors import InputError, UsageError

__all__ = ["MAX_INTENSITY", "SpeechRequest"]

#: Intensity 0 is a neutral voice, 1 the emotion as documented, 2 an exaggeration of it.
MAX_INTENSITY = 2.0


@dataclass(frozen=True)
class SpeechRequest:
    """One utterance; emotion and voice belong to each request and not to the connection.

    `text` is plain text without emotion tags; `emotion` is one of EMOTIONS, or None (or "neutral")
    for a neutral voice; `voiceprint` names a voice of the service, None is its default voice;
    `intensity` is in [0, MAX_INTENSITY]. Raises InputError for an empty text and UsageError for the rest.
    """

    text: str
    emotion: str | None = None
    voiceprint: str | None = None
    intensity: float = 1.0

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InputError("there is no text to speak; give at least one word")
        if self.emotion == "neutral":
            object.__setattr__(self, "emotion", None)
        if self.emotion is not None and self.emotion not in EMOTIONS:
            raise UsageError(f"unknown emotion {self.emotion!r}; use neutral or one of {', '.join(EMOTIONS)}")
        if not (math.isfinite(self.intensity) and 0 <= self.intensity <= MAX_INTENSITY):
            raise UsageError(f"intensity {self.intensity} is outside 0 to {MAX_INTENSITY:g}")
