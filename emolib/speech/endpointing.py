"""Endpointing: where an utterance starts and where it ends."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np

from emolib.audio import SAMPLE_RATE, AudioClip
from emolib.errors import UsageError
from emolib.speech.noise import FRAME
from emolib.speech.turn import TurnDetector, TurnWatch
from emolib.speech.vad import VoiceDetector

__all__ = ["EndpointSettings", "Endpointer", "SpeechEnd", "SpeechStart", "completeness"]

Completeness = Literal["complete", "open", "hesitant"]

_FRAME_S = FRAME / SAMPLE_RATE
_TAIL_S = 0.15
#: A sentence that has only been opened is held for open so long after what is known of it.
_OPENING_S = 2.5
_OPENING_WORDS = 7
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

    How long the silence after the last speech has to be depends on what is known. Words: `open_s` or
    `hesitant_s` if they sound so, `complete_s` if they sound complete. Voice, where a turn detector
    listens: `complete_s` if it hears an end, unless the utterance has only opened a sentence so far;
    `unfinished_s` if it hears none. `hang_over_s` if nothing is known, or the two disagree.
    """

    on: float = 0.5
    off: float = 0.35
    min_speech_s: float = 0.25
    pre_roll_s: float = 0.3
    hang_over_s: float = 0.6
    complete_s: float = 0.3
    unfinished_s: float = 0.9
    open_s: float = 1.2
    hesitant_s: float = 1.6
    longest_s: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.off <= self.on < 1:
            raise UsageError(f"endpointing needs 0 < off <= on < 1, not off={self.off} and on={self.on}")
        if min(self.hang_over_s, self.complete_s, self.unfinished_s, self.open_s, self.hesitant_s) < 2 * _FRAME_S:
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

    `clip` has the pre-roll before it. `reason` is "silence", "limit" (it was cut at the longest length, amid speech,
    and the next utterance goes on with it) or "stopped" (the source ended).
    """

    start: int
    end: int
    known_at: int
    clip: AudioClip
    reason: Literal["silence", "limit", "stopped"]


class Endpointer:
    """Frames in, utterances out. Positions count samples from the first frame pushed.

    `turn`, if given, hears in the voice whether a pause is an end.
    """

    def __init__(
        self, detector: VoiceDetector, settings: EndpointSettings | None = None, *, turn: TurnDetector | None = None
    ) -> None:
        self.settings = settings or EndpointSettings()
        self._detector = detector
        self._turn = TurnWatch(turn) if turn else None
        self._position = 0
        self._history: deque[np.ndarray] = deque(maxlen=round(self.settings.pre_roll_s / _FRAME_S) + 1)
        self._clear()

    def _clear(self) -> None:
        self._frames: list[np.ndarray] = []
        self._clip_start = 0
        self._start = self._last_speech = -1
        self._voiced = 0
        self._longest_pause = 0.0
        self._words: Completeness | None = None
        self._words_up_to = -1
        self._voice_ended: bool | None = None
        self._opening_until = -1
        self.speaking = False
        if self._turn:
            self._turn.resume()

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
    def voiced_s(self) -> float:
        """Seconds of what sounds like speech, before and after it is known to be an utterance; 0 outside of it."""
        return self._voiced / SAMPLE_RATE

    @property
    def wait_s(self) -> float:
        """How long the present silence has to last to end the utterance."""
        return max(self._expected_wait(), _PAUSE_FACTOR * self._longest_pause)

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
            elif self._turn and self.speaking:
                self._voice_ended = self._turn.verdict(self.silence_s, lambda: self.clip().samples)
        return self._event()

    def hint(self, text: str, position: int | None = None) -> None:
        """Say what was understood of the present utterance up to sample `position`, by default all of it.

        What is said of its end holds until speech goes on.
        """
        if not self.speaking:
            return
        position = self._position if position is None else position
        self._opening_until = position + round(_OPENING_S * SAMPLE_RATE) if _only_opens(text) else -1
        self._words, self._words_up_to = completeness(text), position

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
            # Short gaps belong to words; the voice was judged before this.
            self._longest_pause = max(self._longest_pause, pause if pause > 0.3 else 0.0)
            self._voice_ended = None
            if self._turn:
                self._turn.resume()
        self._last_speech = self._position
        self._voiced += FRAME

    def _expected_wait(self) -> float:
        settings = self.settings
        # What was understood before the last word says nothing about whether that word was the last.
        words = self._words if self._words_up_to >= self._last_speech else None
        if words == "hesitant":
            return settings.hesitant_s
        if words == "open":
            return settings.open_s
        if words == "complete":
            return settings.hang_over_s if self._voice_ended is False else settings.complete_s
        if self._voice_ended is None:
            return settings.hang_over_s
        if not self._voice_ended:
            return settings.unfinished_s
        return settings.open_s if self._last_speech <= self._opening_until else settings.complete_s

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
        # A pause may be the end; only who goes on speaking is cut.
        if self._position - self._start >= self.settings.longest_s * SAMPLE_RATE and not self.silence_s:
            return self._end_part()
        return self._end("silence") if self.silence_s >= self.wait_s else None

    def _forget(self) -> None:
        """A click or a cough: its frames become history again."""
        self._history.extend(self._frames)
        self._clear()

    def _end(self, reason: Literal["silence", "stopped"]) -> SpeechEnd:
        # The rest of a cut utterance may be no more than silence.
        end = max(self._last_speech, self._start + FRAME)
        kept = min(self._position, end + round(_TAIL_S * SAMPLE_RATE))
        clip = self.clip().cut(0, kept - self._clip_start)
        event = SpeechEnd(self._start, end, self._position, clip, reason)
        self._history.extend(self._frames)
        self._clear()
        return event

    def _end_part(self) -> SpeechEnd:
        """Cut the utterance here: what follows is speech from its first frame on."""
        event = SpeechEnd(self._start, self._position, self._position, self.clip(), "limit")
        longest_pause, voiced = self._longest_pause, self._voiced
        self._clear()
        self._start = self._clip_start = self._last_speech = self._position
        self._longest_pause, self._voiced = longest_pause, voiced
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
    return "open" if _only_opens(text) and not stripped.endswith("?") else "complete"


def _only_opens(text: str) -> bool:
    """Whether a sentence has only been opened: "And so, my friends", "When the rain stopped"."""
    words = re.findall(r"[a-z']+", text.lower())
    return bool(words) and words[0] in _OPENERS and len(words) < _OPENING_WORDS
