"""What a recogniser gives back, and the interface that every recogniser has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from emolib.errors import InputError
from emolib.speech.audio import AudioClip

__all__ = ["NoSpeech", "SpeechRecognizer", "Transcript", "Word"]


class NoSpeech(InputError):
    """Nothing in a clip was speech."""

    def __init__(self, clip: AudioClip) -> None:
        super().__init__(f"no speech was heard in {clip.name} ({clip.seconds:.1f} s); speak nearer to the microphone")


@dataclass(frozen=True)
class Word:
    """A word, or where a recogniser gives no words a segment, with its times in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Transcript:
    """Recognised speech.

    `confidence` is in [0, 1], or None where the recogniser does not know; `words` may be empty.
    `voice_emotion` maps the recogniser's own emotion classes to probabilities, None where it hears
    none; `events` names other sounds it heard (laughter, music …).
    """

    text: str
    language: str | None = None
    confidence: float | None = None
    words: tuple[Word, ...] = ()
    voice_emotion: Mapping[str, float] | None = None
    events: tuple[str, ...] = ()


@runtime_checkable
class SpeechRecognizer(Protocol):
    """Speech to text."""

    def transcribe(self, clip: AudioClip) -> Transcript:
        """The text of a clip of any rate. NoSpeech (an InputError) where nothing was said."""
        ...
