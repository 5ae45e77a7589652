"""A recorded question as a microphone would hear it, and an ear for the answer."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from benchmarks._noisy_speech import speech_frames
from emolib.audio import SAMPLE_RATE as RATE
from emolib.audio import AudioClip
from emolib.speech import NullSink
from emolib.speech.noise import FRAME
from emolib.speech.sinks import Pull

__all__ = ["Ear", "PacedClip", "first_audible"]

_ROOM_DBFS = -65.0
#: What is louder is heard, in a quiet room.
_AUDIBLE = 10 ** (-50 / 20)


class PacedClip:
    """A clip in a quiet room in real time (an `AudioSource`): `before_s` of the room, the clip, `after_s` of the room.

    `true_start_s` and `true_end_s` say where somebody speaks in it. It ends early once it is closed.
    """

    overruns = 0

    def __init__(self, clip: AudioClip, before_s: float = 1.0, after_s: float = 6.0) -> None:
        before, after = round(before_s * RATE), round(after_s * RATE)
        room = np.random.default_rng(3).standard_normal(before + len(clip) + after) * 10 ** (_ROOM_DBFS / 20)
        room[before : before + len(clip)] += clip.samples
        spoken = np.flatnonzero(speech_frames(clip.samples))
        self.samples = room.astype(np.float32)
        self.true_start_s = before_s + int(spoken[0]) * FRAME / RATE
        self.true_end_s = before_s + (int(spoken[-1]) + 1) * FRAME / RATE
        self.started = 0.0
        self.over = False

    def frames(self) -> Iterator[np.ndarray]:
        self.started = time.monotonic()
        for number, start in enumerate(range(0, len(self.samples) - FRAME, FRAME), 1):
            time.sleep(max(0.0, self.started + number * FRAME / RATE - time.monotonic()))
            if self.over:
                return
            yield self.samples[start : start + FRAME]

    @property
    def true_end_at(self) -> float:
        """`true_end_s` by `time.monotonic()`."""
        return self.started + self.true_end_s

    def close(self) -> None:
        self.over = True


class Ear(NullSink):
    """A loudspeaker that notes when something was audible, by `time.monotonic()`, and when it had nothing to play."""

    def __init__(self) -> None:
        super().__init__()
        self.audible_at: list[float] = []
        #: Moments at which less than a block was there to play, and the seconds that were lacking.
        self.lacking: list[tuple[float, float]] = []

    def start(self, pull: Pull) -> None:
        def heard(count: int) -> np.ndarray:
            samples, now = pull(count), time.monotonic()
            if (first := first_audible(samples)) is not None:
                self.audible_at.append(now + first / self.sample_rate)
            if len(samples) < count:
                self.lacking.append((now, (count - len(samples)) / self.sample_rate))
            return samples

        super().start(heard)


def first_audible(samples: np.ndarray) -> int | None:
    """The first sample that is heard, None where all is silence."""
    loud = np.flatnonzero(np.abs(samples) > _AUDIBLE)
    return int(loud[0]) if len(loud) else None
