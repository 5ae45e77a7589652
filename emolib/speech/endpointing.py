"""Endpointing: where an utterance starts and where it ends."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np

from emolib.errors import UsageError
from emolib.speech.ambient import FRAME
from emolib.speech.audio import SAMPLE_RATE, AudioClip
from emolib.speech.vad import VoiceDetector

__all__ = ["EndpointSettings", "Endpointer", "SpeechEnd", "SpeechStart", "completeness"]

Completeness = Literal["complete", "open", "hesitant"]

_FRAME_S = FRAME / SAMPLE_RATE
_TAIL_S = 0.15
#: A speaker who has paused in an utterance may pause that long again, and a bit longer.
_PAUSE_FACTOR = 1.25

_HESITATIONS = {"um", "uh", "er", "erm", "hmm", "mm", "well", "like"}
_UNFINISHED = set(
    re.findall(
        r"\w+",
        "a an the this these my your his her its our their and or but so because if when while that which who whose "
        "to of in on at by for from with without into than as is are was were be been am have has had do does did "
        "will would can could should may might must not i we they he she very really just",
    )
)
_OPENERS = {"and", "so", "but", "because", "if", "when", "while", "although", "since", "as", "unless", "before"}


@dataclass(frozen=True)
class EndpointSettings:
    """When speech starts and ends; seconds, and probabilities of the detector.

    The wait after the last speech is `hang_over_s` as long as nothing is known of the words, and
    `complete_s`, `open_s` or `hesitant_s` once a partial transcript sounds so.
    """

    on: float = 0.5
    off: float = 0.35
    min_speech_s: float = 0.25
    pre_roll_s: float = 0.3
    hang_over_s: float = 0.6
    complete_s: float = 0.36
    open_s: float = 1.2
    hesitant_s: float = 1.6
    longest_s: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.off <= self.on < 1:
            raise UsageError(f"endpointing needs 0 < off <= on < 1, not off={self.off} and on={self.on}")
        if min(self.hang_over_s, self.complete_s, self.open_s, self.hesitant_s) < 2 * _FRAME_S:
            raise UsageError("endpointing cannot wait less than 0.06 s after the last speech")
        if self.longest_s <= self.min_speech_s:
            raise UsageError("the longest utterance has to be longer than the shortest speech")


@dataclass(frozen=True)
class SpeechStart:
    """An utterance has started at sample `position`; it was known at sample `known_at`."""

    position: int
    known_at: int


@dataclass(frozen=True, eq=False)
class SpeechEnd:
    """An utterance from sample `start` to sample `end`; it was known at `known_at`.

    `clip` has the pre-roll before it. `reason` is "silence", "limit" (it was cut at the longest length
    and goes on in the next utterance) or "stopped" (the source ended).
    """

    start: int
    end: int
    known_at: int
    clip: AudioClip
    reason: Literal["silence", "limit", "stopped"]


class Endpointer:
    """Frames in, utterances out. Positions count samples from the first frame pushed."""

    def __init__(self, detector: VoiceDetector, settings: EndpointSettings | None = None) -> None:
        self.settings = settings or EndpointSettings()
        self._detector = detector
        self._position = 0
        self._history: deque[np.ndarray] = deque(maxlen=round(self.settings.pre_roll_s / _FRAME_S) + 1)
        self._clear()

    def _clear(self) -> None:
        self._frames: list[np.ndarray] = []
        self._clip_start = 0
        self._start = self._last_speech = -1
        self._voiced = 0
        self._longest_pause = 0.0
        self._hint: Completeness | None = None
        self.speaking = False

    @property
    def position(self) -> int:
        """Samples pushed so far."""
        return self._position

    @property
    def last_speech(self) -> int:
        """The sample after the last speech of the present utterance, -1 outside of one."""
        return self._last_speech

    @property
    def silence_s(self) -> float:
        """Seconds since the last speech of the present utterance; 0 outside of one."""
        return (self._position - self._last_speech) / SAMPLE_RATE if self.speaking else 0.0

    @property
    def wait_s(self) -> float:
        """How long the present silence has to last to end the utterance."""
        settings = self.settings
        waits = {None: settings.hang_over_s, "complete": settings.complete_s, "open": settings.open_s}
        return max(waits.get(self._hint, settings.hesitant_s), _PAUSE_FACTOR * self._longest_pause)

    def push(self, frame: np.ndarray) -> SpeechStart | SpeechEnd | None:
        """Take the next frame, float32 of shape (480,)."""
        probability = self._detector.push(frame)
        self._position += FRAME
        if self._start < 0:
            self._wait_for_speech(frame, probability)
        else:
            self._frames.append(frame)
            if probability >= self.settings.off:
                self._note_speech()
        return self._event()

    def hint(self, text: str) -> None:
        """Say what the present utterance sounds like so far; holds until speech goes on."""
        if self.speaking:
            self._hint = completeness(text)

    def clip(self) -> AudioClip:
        """The present utterance so far, with its pre-roll; empty outside of one."""
        samples = np.concatenate(self._frames) if self._frames else np.zeros(0, dtype=np.float32)
        return AudioClip(samples, SAMPLE_RATE, "the utterance")

    def finish(self) -> SpeechEnd | None:
        """End the present utterance, if there is one: the source has stopped."""
        return self._end("stopped") if self.speaking else None

    def _wait_for_speech(self, frame: np.ndarray, probability: float) -> None:
        self._history.append(frame)
        if probability < self.settings.on:
            return
        self._frames = list(self._history)
        self._history.clear()
        self._clip_start = self._position - FRAME * len(self._frames)
        self._start = self._position - FRAME
        self._last_speech = self._start
        self._note_speech()

    def _note_speech(self) -> None:
        pause = (self._position - FRAME - self._last_speech) / SAMPLE_RATE
        if pause > 0:
            # Short gaps belong to words; a hint was about what had been said before this.
            self._longest_pause = max(self._longest_pause, pause if pause > 0.3 else 0.0)
            self._hint = None
        self._last_speech = self._position
        self._voiced += FRAME

    def _event(self) -> SpeechStart | SpeechEnd | None:
        if self._start < 0:
            return None
        if not self.speaking:
            if self._voiced >= self.settings.min_speech_s * SAMPLE_RATE:
                self.speaking = True
                return SpeechStart(self._start, self._position)
            if self._position - self._last_speech > self.settings.min_speech_s * SAMPLE_RATE:
                self._forget()
            return None
        if self._position - self._start >= self.settings.longest_s * SAMPLE_RATE:
            return self._end("limit")
        return self._end("silence") if self.silence_s >= self.wait_s else None

    def _forget(self) -> None:
        """A click or a cough: its frames become history again."""
        self._history.extend(self._frames)
        self._clear()

    def _end(self, reason: Literal["silence", "limit", "stopped"]) -> SpeechEnd:
        end = self._position if reason == "limit" else self._last_speech
        kept = end if reason == "limit" else min(self._position, end + round(_TAIL_S * SAMPLE_RATE))
        clip = self.clip().cut(0, kept - self._clip_start)
        event = SpeechEnd(self._start, end, self._position, clip, reason)
        if reason != "limit":
            self._history.extend(self._frames)
        self._clear()
        return event


def completeness(text: str) -> Completeness:
    """Whether an English partial transcript sounds finished, or as if more is to come.

    A rule of thumb on its last words and punctuation, for the time to wait before an answer.
    """
    words = re.findall(r"[a-z']+", text.lower())
    stripped = text.strip()
    if not words:
        return "open"
    if words[-1] in _HESITATIONS or stripped.endswith(("...", "…", "-", "—")):
        return "hesitant"
    if words[-1] in _UNFINISHED or not stripped.endswith((".", "!", "?")):
        return "open"
    # "And so, my fellow …", "When the rain stopped." – an opening, not yet a sentence.
    if words[0] in _OPENERS and len(words) < 7 and not stripped.endswith("?"):
        return "open"
    return "complete"
