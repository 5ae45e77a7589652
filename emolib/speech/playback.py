"""Ordered playback: sentences are heard in the order of their numbers, whichever is ready first."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from emolib.audio import AudioClip
from emolib.speech.sinks import AudioSink

__all__ = ["OrderedPlayer", "Played"]

_FADE_S = 0.005
_FAILED_S = 0.25
#: Of what was played, so much is kept to tell an echo by.
_REMEMBERED_S = 12.0
_HELD_BACK = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True)
class Played:
    """How much of sentence `number` was heard: `samples` of `total`, at the rate of the sink.

    `total` is what was given of it so far, and all of it if it is `whole`.
    """

    number: int
    samples: int
    total: int
    complete: bool
    failed: bool = False
    whole: bool = True


class _Sentence:
    def __init__(self) -> None:
        self.ready: list[np.ndarray] = []
        self.total = 0
        self.finished = False
        self.failed = False


class OrderedPlayer:
    """Plays the sentences of one turn through `sink`, numbered from 0.

    Sentences may be given from any thread, whole or piece by piece, in any order. One that failed
    becomes a short silence. Cuts are faded over 5 ms. Once stopped, nothing more is heard of this turn,
    whatever is still given; a new turn takes a new player on the same sink.
    """

    def __init__(self, sink: AudioSink) -> None:
        self._sink = sink
        self._sentences: dict[int, _Sentence] = {}
        self._heard: list[Played] = []
        self._current = 0
        self._last: int | None = None
        self._starting = True
        self._stopped = False
        self._fade_out_left: np.ndarray | None = None
        self._first_sample_at: float | None = None
        self._paused = False
        self._given: deque[np.ndarray] = deque()
        self._changed = threading.Condition()
        self._fade = max(1, round(_FADE_S * sink.sample_rate))
        sink.start(self._pull)

    def put(self, number: int, clip: AudioClip) -> None:
        """Give sentence `number` whole."""
        self.push(number, clip)
        self.finish(number)

    def push(self, number: int, clip: AudioClip) -> None:
        """Give the next piece of sentence `number`."""
        samples = clip.resample(self._sink.sample_rate).samples
        with self._changed:
            sentence = self._sentences.setdefault(number, _Sentence())
            if self._stopped or sentence.finished or not len(samples):
                return
            sentence.ready.append(samples)
            sentence.total += len(samples)

    def finish(self, number: int) -> None:
        """Say that sentence `number` has no more pieces."""
        with self._changed:
            self._sentences.setdefault(number, _Sentence()).finished = True

    def fail(self, number: int) -> None:
        """Say that sentence `number` cannot be spoken: a short silence takes its place, or its missing end's."""
        pause = np.zeros(round(_FAILED_S * self._sink.sample_rate), dtype=np.float32)
        with self._changed:
            sentence = self._sentences.setdefault(number, _Sentence())
            sentence.failed = sentence.finished = True
            if not sentence.total:
                sentence.ready.append(pause)
                sentence.total = len(pause)

    def end(self, count: int) -> None:
        """Say that the turn has `count` sentences."""
        with self._changed:
            self._last = count
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all sentences were played, or the player was stopped; False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(self._is_over, timeout)

    def pause(self) -> None:
        """Be silent as fast as `stop` is, until `resume`."""
        with self._changed:
            if not self._stopped and not self._paused:
                self._paused = True
                self._fade_out_left = self._faded_tail()
                self._starting = True

    def resume(self) -> None:
        """Go on after `pause`."""
        with self._changed:
            self._paused = False

    @property
    def recent(self) -> AudioClip:
        """What was given to the device in the last seconds, at its rate."""
        with self._changed:
            samples = np.concatenate(self._given) if self._given else _HELD_BACK
        return AudioClip(samples, self._sink.sample_rate, "what was played")

    def stop(self) -> list[Played]:
        """Be silent within 10 ms and the latency of the device; give what was heard."""
        with self._changed:
            if not self._stopped:
                self._stopped = True
                if not self._paused:
                    self._fade_out_left = self._faded_tail()
                self._close_current()
                self._changed.notify_all()
        return self.heard

    @property
    def heard(self) -> list[Played]:
        """What was heard so far, in order; the samples still in the device's buffer are taken off the last."""
        with self._changed:
            heard = list(self._heard)
            sentence = self._sentences.get(self._current)
            played = self._position(sentence) if sentence and not self._stopped else 0
            if played:
                heard.append(Played(self._current, played, sentence.total, False, sentence.failed, sentence.finished))
        return _without_latency(heard, self._sink.latency_samples)

    @property
    def first_sample_at(self) -> float | None:
        """`time.monotonic()` of the first sample given to the device, None before it."""
        return self._first_sample_at

    def _pull(self, count: int) -> np.ndarray:
        """The next samples, at most `count`, for the sink; fewer if nothing is ready."""
        with self._changed:
            if self._stopped or self._paused:
                tail, self._fade_out_left = self._fade_out_left, None
                samples = tail if tail is not None else _HELD_BACK
            else:
                samples = self._take(count)
            if len(samples) and self._first_sample_at is None:
                self._first_sample_at = time.monotonic()
            self._remember(samples)
            return samples

    def _faded_tail(self) -> np.ndarray:
        """The next samples, fading out to silence."""
        tail = self._take(2 * self._fade)
        return _faded(tail, 0, len(tail)) if len(tail) else tail

    def _remember(self, samples: np.ndarray) -> None:
        if len(samples):
            self._given.append(samples)
        kept = sum(map(len, self._given))
        while kept - len(self._given[0] if self._given else ()) > _REMEMBERED_S * self._sink.sample_rate:
            kept -= len(self._given.popleft())

    def _take(self, count: int) -> np.ndarray:
        taken: list[np.ndarray] = []
        while count > 0:
            sentence = self._sentences.get(self._current)
            if sentence is None:
                break
            block = self._take_from(sentence, count)
            if len(block):
                taken.append(block)
                count -= len(block)
            elif sentence.finished:
                self._close_current()
            else:
                break
        return np.concatenate(taken) if taken else _HELD_BACK

    def _take_from(self, sentence: _Sentence, count: int) -> np.ndarray:
        available = np.concatenate(sentence.ready) if len(sentence.ready) > 1 else _first(sentence.ready)
        # The last 5 ms wait until it is known whether the sentence goes on: a cut there must be faded.
        usable = len(available) if sentence.finished else len(available) - self._fade
        block = available[: max(0, min(count, usable))]
        rest = available[len(block) :]
        sentence.ready = [rest] if len(rest) else []
        fade_in = self._fade if self._starting and len(block) else 0
        self._starting = self._starting and not len(block)
        fade_out = self._fade if sentence.finished and not len(rest) else 0
        return _faded(block, fade_in, fade_out) if fade_in or fade_out else block

    def _position(self, sentence: _Sentence) -> int:
        return sentence.total - sum(map(len, sentence.ready))

    def _close_current(self) -> None:
        sentence = self._sentences.pop(self._current, None)
        if sentence is None:
            return
        played = self._position(sentence)
        if played or sentence.finished:
            complete = sentence.finished and played == sentence.total and not sentence.failed
            self._heard.append(
                Played(self._current, played, sentence.total, complete, sentence.failed, sentence.finished)
            )
        self._current += 1
        self._starting = True
        self._changed.notify_all()

    def _is_over(self) -> bool:
        return self._stopped or (self._last is not None and self._current >= self._last)


def _first(pieces: list[np.ndarray]) -> np.ndarray:
    return pieces[0] if pieces else _HELD_BACK


def _faded(block: np.ndarray, fade_in: int, fade_out: int) -> np.ndarray:
    block = block.copy()
    fade_in, fade_out = min(fade_in, len(block)), min(fade_out, len(block))
    if fade_in:
        block[:fade_in] *= np.linspace(0, 1, fade_in, dtype=np.float32)
    if fade_out:
        block[-fade_out:] *= np.linspace(1, 0, fade_out, dtype=np.float32)
    return block


def _without_latency(heard: list[Played], latency: int) -> list[Played]:
    remaining = latency
    kept: list[Played] = []
    for played in reversed(heard):
        cut = min(remaining, played.samples)
        remaining -= cut
        kept.append(replace(played, samples=played.samples - cut, complete=played.complete and not cut))
    return kept[::-1]
