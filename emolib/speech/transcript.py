"""What a recogniser gives back, and the interfaces that every recogniser has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from emolib.audio import AudioClip
from emolib.errors import InputError

__all__ = ["NoSpeech", "RecognitionStream", "SpeechRecognizer", "StreamingRecognizer", "Transcript", "Word"]


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

    def followed_by(self, rest: Transcript, after_s: float) -> Transcript:
        """This and `rest`, whose clip began `after_s` seconds after the beginning of this one's.

        The confidence is the lesser, the emotion that of `rest` where one was heard in it.
        """
        known = [each.confidence for each in (self, rest) if each.confidence is not None]
        words = (Word(word.text, word.start + after_s, word.end + after_s) for word in rest.words)
        return Transcript(
            f"{self.text} {rest.text}",
            rest.language or self.language,
            min(known, default=None),
            (*self.words, *words),
            rest.voice_emotion or self.voice_emotion,
            (*self.events, *rest.events),
        )


@runtime_checkable
class SpeechRecognizer(Protocol):
    """Speech to text."""

    def transcribe(self, clip: AudioClip) -> Transcript:
        """The text of a clip of any rate. NoSpeech (an InputError) where nothing was said."""
        ...


class RecognitionStream(Protocol):
    """The recognition of one utterance while it is being spoken. Sound is float32 at 16 kHz."""

    def push(self, samples: np.ndarray) -> None:
        """Take the next samples, of any number; returns at once."""
        ...

    def flush(self) -> None:
        """A pause has begun: recognise what is there now, the utterance may be over."""
        ...

    def commit(self, spoken: int) -> None:
        """Speech goes on after a long pause: what was said up to sample `spoken` need not be heard again."""
        ...

    def partial(self) -> tuple[Transcript | None, int]:
        """Return what was understood so far (None: nothing), and the number of samples that it covers."""
        ...

    def finish(self, spoken: int) -> Transcript:
        """The transcript; speech ended at sample `spoken`. NoSpeech where nothing was said."""
        ...

    def close(self) -> None:
        """Give up: the utterance was cancelled."""
        ...


class StreamingRecognizer(SpeechRecognizer, Protocol):
    """A recogniser that starts before the utterance has ended."""

    def stream(self) -> RecognitionStream:
        """A new utterance."""
        ...
