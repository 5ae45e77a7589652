"""Partial transcripts of an utterance, from a recogniser that takes whole clips only."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from emolib.audio import SAMPLE_RATE, AudioClip
from emolib.errors import EmolibError, ServiceError
from emolib.speech.transcript import NoSpeech, SpeechRecognizer, Transcript

__all__ = ["FinalTranscript", "PartialTranscripts"]

_AT_ONCE = 2
#: What is heard without what follows it is misheard more often: only a long part is worth that.
_LEAST_SETTLED_S = 8.0


class PartialTranscripts:
    """A `RecognitionStream` that transcribes what has been said so far, again and again.

    The first pass starts after `first_s`, each further one after another `every_s` seconds. Each covers the
    utterance from its start, or from the last long pause that was understood (`commit`), so the one that began after
    the last word is the final transcript: `finish` then has nothing left to do. That one does not wait for a pass that
    runs: two may run at once. `finish` waits for at most `patience_s`.
    """

    def __init__(
        self, recognizer: SpeechRecognizer, *, first_s: float = 1.0, every_s: float = 3.0, patience_s: float = 20.0
    ) -> None:
        self._recognizer = recognizer
        self._patience_s = patience_s
        self._next = round(first_s * SAMPLE_RATE)
        self._every = round(every_s * SAMPLE_RATE)
        self._pieces: list[np.ndarray] = []
        self._count = 0
        self._settled: Transcript | None = None
        self._settled_up_to = 0
        self._transcript: Transcript | None = None
        self._covered = 0
        self._begun = 0
        self._running = 0
        self._failure: EmolibError | None = None
        self._changed = threading.Condition()
        # An executor's thread is waited for when Python ends; a daemon thread inside of C++ would crash it.
        self._executor = ThreadPoolExecutor(_AT_ONCE, "partial transcripts")
        self._closed = False

    def push(self, samples: np.ndarray) -> None:
        """Take the next samples, float32 at 16 kHz."""
        with self._changed:
            self._pieces.append(samples)
            self._count += len(samples)
            self._start_if_due()

    def flush(self) -> None:
        """Transcribe what is there now, beside the present pass if there is one."""
        with self._changed:
            self._next = self._count
            self._start_if_due(_AT_ONCE)

    def commit(self, spoken: int) -> None:
        """Let later passes begin after the pause, where the words before it were understood in time."""
        with self._changed:
            enough = self._covered - self._settled_up_to >= _LEAST_SETTLED_S * SAMPLE_RATE
            if self._transcript and self._covered >= spoken and enough and not self._failure:
                self._settled, self._settled_up_to = self._transcript, self._covered

    def partial(self) -> tuple[Transcript | None, int]:
        """Return the transcript so far (None: nothing was understood) and the number of samples it covers."""
        with self._changed:
            return self._transcript, self._covered

    def finish(self, spoken: int) -> Transcript:
        """The transcript of the utterance whose speech ended at sample `spoken`.

        NoSpeech where there were no words, ServiceError where the recogniser does not answer.
        """
        with self._changed:
            if self._covered < spoken:
                if self._begun < spoken:
                    self._next = min(self._next, self._count)
                    self._start_if_due(_AT_ONCE)
                answered = self._changed.wait_for(
                    lambda: self._covered >= min(spoken, self._count) or self._closed, self._patience_s
                )
                if not answered:
                    self._failure = ServiceError(f"the recogniser gave no answer for {self._patience_s:g} s")
            transcript, failure = self._transcript, self._failure
        self.close()
        if failure:
            raise failure
        if transcript is None:
            raise NoSpeech(AudioClip(np.zeros(self._count, dtype=np.float32), SAMPLE_RATE, "the utterance"))
        return transcript

    def close(self) -> None:
        """Give up; a pass that runs is left to end by itself."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._executor.shutdown(wait=False)

    def _start_if_due(self, at_once: int = 1) -> None:
        if self._running >= at_once or self._closed or self._count < self._next or self._count <= self._begun:
            return
        self._running += 1
        self._begun = self._count
        self._next = self._count + self._every
        start, settled = self._settled_up_to, self._settled
        self._executor.submit(self._pass, np.concatenate(self._pieces)[start:], start, settled)

    def _pass(self, samples: np.ndarray, start: int, settled: Transcript | None) -> None:
        count = start + len(samples)
        transcript = failure = None
        try:
            transcript = self._recognizer.transcribe(AudioClip(samples, SAMPLE_RATE, "the utterance"))
            if settled:
                transcript = settled.followed_by(transcript, start / SAMPLE_RATE)
        except NoSpeech:
            pass
        except EmolibError as error:
            failure = error
        except Exception as error:  # a recogniser of the user's may raise anything; `finish` must not wait for it
            failure = ServiceError(f"the recogniser failed: {type(error).__name__}: {error}")
        with self._changed:
            self._running -= 1
            # The shorter of two may end later, and has nothing new to say.
            if count > self._covered:
                self._transcript, self._covered, self._failure = transcript or self._transcript, count, failure
            self._changed.notify_all()
            self._start_if_due()


class FinalTranscript:
    """A `RecognitionStream` without partial transcripts: the utterance is transcribed once, at its end."""

    def __init__(self, recognizer: SpeechRecognizer) -> None:
        self._recognizer = recognizer
        self._pieces: list[np.ndarray] = []

    def push(self, samples: np.ndarray) -> None:
        """Take the next samples, float32 at 16 kHz."""
        self._pieces.append(samples)

    def flush(self) -> None:
        """Nothing is done before the end."""

    def commit(self, spoken: int) -> None:
        """Nothing is known before the end."""

    def partial(self) -> tuple[None, int]:
        """Return nothing: nothing is known before the end."""
        return None, 0

    def finish(self, spoken: int) -> Transcript:
        """The transcript of the utterance. NoSpeech where nothing was said."""
        samples = np.concatenate(self._pieces) if self._pieces else np.zeros(0, dtype=np.float32)
        return self._recognizer.transcribe(AudioClip(samples, SAMPLE_RATE, "the utterance"))

    def close(self) -> None:
        """Give up."""
        self._pieces = []
