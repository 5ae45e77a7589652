"""From a source to utterances and their transcripts, recognised while they are spoken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emolib.audio import SAMPLE_RATE, AudioClip, write_wav
from emolib.errors import EmolibError, ServiceError
from emolib.speech.endpointing import Endpointer, SpeechEnd, SpeechStart
from emolib.speech.noise import FRAME
from emolib.speech.sources import AudioSource
from emolib.speech.transcript import NoSpeech, RecognitionStream, StreamingRecognizer, Transcript

__all__ = ["FalseAlarm", "NoTranscript", "Partial", "SpeechLikely", "Transcribed", "listen", "utterances"]

#: A pause this long may be the end: what was said is recognised now.
_PAUSE_S = 0.06
#: After a pause this long, what was said before it is not recognised again.
_LONG_PAUSE_S = 0.3
#: So much of what sounds like speech makes it likely; whether it is an utterance is known later.
_LIKELY_S = 0.09


@dataclass(frozen=True, eq=False)
class SpeechLikely:
    """Somebody seems to speak, known at sample `known_at`; a SpeechStart or a FalseAlarm follows.

    `clip` is what was heard, with the pre-roll before it.
    """

    known_at: int
    clip: AudioClip


@dataclass(frozen=True)
class FalseAlarm:
    """What seemed to be speech was none, known at sample `known_at`: a click, a cough."""

    known_at: int


@dataclass(frozen=True)
class Partial:
    """What was understood of the current utterance so far; it covers the sound up to sample `position`.

    `in_pause`: the speaker is silent, and it covers all that was spoken; it may be the whole utterance.
    `voice_emotion`: as in `Transcript`.
    """

    text: str
    position: int
    in_pause: bool = False
    voice_emotion: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Transcribed:
    """An utterance with its transcript."""

    end: SpeechEnd
    transcript: Transcript


@dataclass(frozen=True)
class NoTranscript:
    """An utterance in which no words were understood, or whose recognition failed (`problem`)."""

    end: SpeechEnd
    problem: str | None = None


Event = SpeechLikely | FalseAlarm | SpeechStart | Partial | SpeechEnd | Transcribed | NoTranscript


def utterances(source: AudioSource, endpointer: Endpointer, *, save_to: Path | None = None) -> Iterator[AudioClip]:
    """The utterances of `source`, each with its pre-roll; written as WAV files to `save_to` if given."""
    for end in _ends(source, endpointer):
        if save_to:
            write_wav(save_to / f"utterance-{end.start / SAMPLE_RATE:09.2f}.wav", end.clip)
        yield end.clip


def listen(source: AudioSource, endpointer: Endpointer, recognizer: StreamingRecognizer) -> Iterator[Event]:
    """Everything that happens in `source`, in order.

    Partial transcripts set how long the endpointer waits. An utterance in which no words were
    understood, or whose recognition failed, has a NoTranscript in place of its Transcribed. One that was cut because it
    was long (`end.reason` "limit") goes on in the next.
    """
    session = _Session(endpointer, recognizer)
    try:
        for frame in source.frames():
            yield from session.push(frame)
        yield from session.finish()
    finally:
        session.close()


def _ends(source: AudioSource, endpointer: Endpointer) -> Iterator[SpeechEnd]:
    for frame in source.frames():
        event = endpointer.push(frame)
        # The rest of an utterance that was cut may hold no speech.
        if isinstance(event, SpeechEnd) and event.end - event.start > FRAME:
            yield event
    last = endpointer.finish()
    if last:
        yield last


class _Session:
    def __init__(self, endpointer: Endpointer, recognizer: StreamingRecognizer) -> None:
        self._endpointer = endpointer
        self._recognizer = recognizer
        self._stream: _GuardedStream | None = None
        self._first = 0
        self._hurried = False
        self._seen = 0
        self._likely = False
        self._silence_s = 0.0
        self._last_speech = 0

    def push(self, frame: np.ndarray) -> Iterator[Event]:
        event = self._endpointer.push(frame)
        if self._stream and not isinstance(event, SpeechStart):
            self._stream.push(frame)
        if isinstance(event, SpeechStart):
            yield event
            self._begin()
        elif isinstance(event, SpeechEnd):
            yield from self._end(event)
        elif self._stream:
            yield from self._follow()
        else:
            yield from self._wait()

    def finish(self) -> Iterator[Event]:
        event = self._endpointer.finish()
        if event:
            yield from self._end(event)
        elif self._likely:
            yield FalseAlarm(self._endpointer.position)

    def close(self) -> None:
        if self._stream:
            self._stream.close()
            self._stream = None

    def _wait(self) -> Iterator[Event]:
        voiced_s, known_at = self._endpointer.voiced_s, self._endpointer.position
        if not self._likely and voiced_s >= _LIKELY_S:
            self._likely = True
            yield SpeechLikely(known_at, self._endpointer.clip())
        elif self._likely and not voiced_s:
            self._likely = False
            yield FalseAlarm(known_at)

    def _begin(self) -> None:
        self._likely = False
        clip = self._endpointer.clip()
        self._first = self._endpointer.position - len(clip)
        self._seen = 0
        self._hurried = False
        self._silence_s = 0.0
        self._stream = _GuardedStream(self._recognizer)
        self._stream.push(clip.samples)

    def _follow(self) -> Iterator[Partial]:
        silence_s = self._endpointer.silence_s
        if self._silence_s >= _LONG_PAUSE_S and not silence_s:
            self._stream.commit(self._last_speech - self._first)
        self._silence_s, self._last_speech = silence_s, self._endpointer.last_speech
        in_pause = silence_s >= _PAUSE_S
        if in_pause and not self._hurried:
            self._stream.flush()
        self._hurried = in_pause
        found, covered = self._stream.partial()
        if covered > self._seen:
            self._seen = covered
            in_pause = in_pause and self._first + covered >= self._endpointer.last_speech
            position = self._first + covered
            yield Partial(found.text, position, in_pause, found.voice_emotion) if found else Partial("", position)
        if found:
            self._endpointer.hint(found.text, self._first + covered)

    def _end(self, event: SpeechEnd) -> Iterator[Event]:
        yield event
        stream, self._stream = self._stream, None
        if not stream:
            return
        try:
            yield Transcribed(event, stream.finish(event.end - self._first))
        except NoSpeech:
            yield NoTranscript(event)
        except EmolibError as error:
            yield NoTranscript(event, str(error))
        finally:
            stream.close()


class _GuardedStream:
    """A `RecognitionStream` whose recogniser may raise anything at any time: `finish` raises it as an EmolibError."""

    def __init__(self, recognizer: StreamingRecognizer) -> None:
        self._failure: EmolibError | None = None
        self._stream: RecognitionStream | None = None
        self._stream = self._guarded(recognizer.stream)

    def push(self, samples: np.ndarray) -> None:
        self._guarded(lambda: self._stream.push(samples))

    def flush(self) -> None:
        self._guarded(lambda: self._stream.flush())

    def commit(self, spoken: int) -> None:
        self._guarded(lambda: self._stream.commit(spoken))

    def partial(self) -> tuple[Transcript | None, int]:
        return self._guarded(lambda: self._stream.partial()) or (None, 0)

    def finish(self, spoken: int) -> Transcript:
        found = self._guarded(lambda: self._stream.finish(spoken))
        if self._failure:
            raise self._failure
        return found

    def close(self) -> None:
        if self._stream:
            self._stream.close()

    def _guarded(self, work: Callable[[], Any]) -> Any:
        if self._failure:
            return None
        try:
            return work()
        except EmolibError as error:
            self._failure = error
        except Exception as error:
            self._failure = ServiceError(f"{type(error).__name__}: {error}")
        return None
