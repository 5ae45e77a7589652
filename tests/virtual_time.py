"""An event loop whose clock jumps to the next thing that is due, and a player on that clock."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import numpy as np

from emolib.audio import AudioClip
from emolib.speech import Played

T = TypeVar("T")
RATE = 1000


class VirtualLoop(asyncio.SelectorEventLoop):
    """Waiting costs nothing: where nothing is ready, the time is that of the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        due = [timer._when for timer in self._scheduled if not timer.cancelled()]
        if not self._ready and due:
            self._now = max(self._now, min(due))
        super()._run_once()


def run_virtually(work: Coroutine[Any, Any, T], seconds: float = 100_000) -> T:
    """The result of `work`; TimeoutError where it takes more than `seconds` of virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(asyncio.wait_for(work, seconds))


def now() -> float:
    return asyncio.get_running_loop().time()


class VirtualPlayer:
    """An `OrderedPlayer` without sound: clauses are heard at 1,000 samples a virtual second, in order."""

    def __init__(self, blocked: bool = False, latency: int = 0, sound: np.ndarray | None = None) -> None:
        self.blocked = blocked
        self.latency = latency
        self.recent = AudioClip(np.zeros(0, np.float32) if sound is None else sound, RATE)
        self.clips: dict[int, tuple[int, bool]] = {}
        self.whole: set[int] = set()
        self.positions: dict[int, int] = {}
        self.times: list[tuple[int, float]] = []
        self.count: int | None = None
        self.stopped_at: float | None = None
        self._paused = False
        self._seen = now()

    def push(self, number: int, clip: AudioClip) -> None:
        self._advance()
        if self.stopped_at is None:
            self.clips[number] = (self.clips.get(number, (0, False))[0] + len(clip.resample(RATE).samples), False)

    def finish(self, number: int) -> None:
        self._advance()
        self.whole.add(number)

    def fail(self, number: int) -> None:
        self._advance()
        if self.stopped_at is None:
            self.clips[number] = (self.clips.get(number, (0, False))[0] or RATE // 4, True)
            self.whole.add(number)

    def end(self, count: int) -> None:
        self.count = count

    def pause(self) -> None:
        self._advance()
        self._paused = True

    def resume(self) -> None:
        self._advance()
        self._paused = False

    def wait(self, timeout: float | None = None) -> bool:
        self._advance()
        if self.stopped_at is not None:
            return True
        return (
            self.count is not None
            and all(
                self.positions.get(number, 0) == self.clips[number][0]
                for number in range(self.count)
                if number in self.clips
            )
            and all(number in self.clips for number in range(self.count))
        )

    def stop(self) -> list[Played]:
        self._advance()
        if self.stopped_at is None:
            self.stopped_at = now()
        return self.heard

    @property
    def heard(self) -> list[Played]:
        self._advance()
        last = max(self.positions, default=0)
        heard = {number: at - self.latency * (number == last) for number, at in self.positions.items()}
        return [Played(number, at, *self._whole(number, at)) for number, at in sorted(heard.items()) if at > 0]

    def _whole(self, number: int, position: int) -> tuple[int, bool, bool, bool]:
        total, failed = self.clips[number]
        whole = number in self.whole
        return total, position == total and not failed and whole, failed, whole

    def _advance(self) -> None:
        left = round((now() - self._seen) * RATE)
        self._seen = now()
        if self._paused or self.blocked or self.stopped_at is not None:
            return
        number = 0
        while left > 0 and number in self.clips:
            position = self.positions.get(number, 0)
            step = min(left, self.clips[number][0] - position)
            if step:
                self.positions[number] = position + step
                self.times.append((number, now()))
                left -= step
            number += 1
