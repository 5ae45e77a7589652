"""The engine behind its queue: utterances in, pieces of sound out, cancelled when nobody listens; and its counters."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from emolib.tts.engines import Engine, EngineError, Utterance
from emolib.tts.protocol import Refusal

__all__ = ["METRICS_TYPE", "ServiceLimits", "Speech", "SpeechQueue"]

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FIRST_PIECE_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)


@dataclass(frozen=True)
class ServiceLimits:
    """The limits of the service."""

    text_characters: int = 5000
    body_bytes: int = 32 * 1024 * 1024
    #: Connections, idle ones included: what their bodies hold in memory is bounded.
    connections: int = 128
    #: Utterances synthesised at once.
    slots: int = 1
    #: Requests that wait for a slot, and how long each does, in seconds.
    places: int = 16
    patience: float = 30.0
    #: Longest silence of the engine in an utterance, and of a client that sends or reads, in seconds.
    engine_silence: float = 60.0
    client_silence: float = 30.0


class SpeechQueue:
    """One engine, the queue before it and its metrics."""

    def __init__(self, engine: Engine, limits: ServiceLimits) -> None:
        self.engine = engine
        self.admission = _Admission(limits)
        self.metrics = _Metrics(self.admission)
        self._limits = limits
        self._hanging = 0

    @property
    def stuck(self) -> bool:
        """Whether every slot is held by an engine call that hangs."""
        return self._hanging >= self._limits.slots

    async def speak(self, utterance: Utterance) -> Speech:
        """Start an utterance and return it once its first piece is there. Raises Refusal for a failure before that."""
        if self.stuck:
            raise Refusal(503, f"the engine {self.engine.name} hangs; restart the service", retry_after=30)
        arrived = time.monotonic()
        await self.admission.enter()
        synthesis = _Synthesis(self.engine, utterance, self._done)
        pieces = self._pieces(synthesis)
        try:
            first = await anext(pieces, None)
        except BaseException:
            synthesis.stop()
            raise
        self.metrics.first_piece(time.monotonic() - arrived)
        # A text without a speakable character (an emoji) is a short silence and not an error.
        silence = np.zeros(self.engine.sample_rate // 10, dtype=np.float32)
        return Speech(_joined(silence if first is None else first, pieces), synthesis)

    async def _pieces(self, synthesis: _Synthesis) -> AsyncIterator[np.ndarray]:
        try:
            while True:
                try:
                    piece = await asyncio.wait_for(synthesis.pieces.get(), self._limits.engine_silence)
                except TimeoutError:
                    synthesis.hangs = True
                    self._hanging += 1
                    silence = f"was silent for {self._limits.engine_silence:g} s"
                    raise Refusal(504, f"the engine {self.engine.name} {silence}") from None
                if piece is None:
                    return
                if isinstance(piece, Exception):
                    raise Refusal(500, f"the engine {self.engine.name} failed: {piece}") from piece
                yield piece
        finally:
            synthesis.stop()

    def _done(self, synthesis: _Synthesis) -> None:
        self._hanging -= synthesis.hangs
        self.admission.leave(synthesis.seconds)
        self.metrics.spoken(synthesis.samples / self.engine.sample_rate, synthesis.seconds)


class Speech:
    """Sound on its way: `pieces` (float32 mono), to be closed if they are not read to the end."""

    def __init__(self, pieces: AsyncIterator[np.ndarray], synthesis: _Synthesis) -> None:
        self.pieces = pieces
        self._synthesis = synthesis

    @property
    def engine_seconds(self) -> float:
        """How long the engine worked, once the pieces are read to the end."""
        return self._synthesis.seconds


class _Admission:
    """A bounded first-come-first-served queue before the slots of the engine.

    uvicorn's limit_concurrency counts connections alone. A slot of the engine is held beyond its request (an engine
    that hangs keeps it), everyone has to be served in turn, and the refusal says when a slot is likely to be free.
    """

    def __init__(self, limits: ServiceLimits) -> None:
        self._free = asyncio.Semaphore(limits.slots)
        self._limits = limits
        self._usual_seconds = 1.0
        self.waiting = 0
        self.running = 0

    async def enter(self) -> None:
        """Wait for a slot in order of arrival. Raises Refusal: 429 if the queue is full, 503 after `patience`."""
        if self._free.locked() and self.waiting >= self._limits.places:
            raise Refusal(429, f"{self.waiting} requests are waiting already", retry_after=self._retry_after())
        self.waiting += 1
        try:
            await asyncio.wait_for(self._free.acquire(), self._limits.patience)
        except TimeoutError:
            message = f"no slot became free in {self._limits.patience:g} s"
            raise Refusal(503, message, retry_after=self._retry_after()) from None
        finally:
            self.waiting -= 1
        self.running += 1

    def leave(self, seconds: float) -> None:
        """Release a slot after `seconds` of work."""
        self.running -= 1
        self._usual_seconds += 0.2 * (seconds - self._usual_seconds)
        self._free.release()

    def _retry_after(self) -> int:
        """Return the whole seconds after which a slot is likely."""
        return max(1, round((self.waiting + self.running) * self._usual_seconds / self._limits.slots))


class _Metrics:
    """Counters of one service: answers, queue, seconds of sound and of work."""

    def __init__(self, admission: _Admission) -> None:
        self._registry = CollectorRegistry()
        self._answers = Counter("emolib_tts_answers", "Answers by status", ["status"], registry=self._registry)
        self._audio = Counter("emolib_tts_audio_seconds", "Seconds of sound made", registry=self._registry)
        self._work = Counter("emolib_tts_work_seconds", "Seconds the engine worked", registry=self._registry)
        self._first = Histogram(
            "emolib_tts_first_piece_seconds",
            "From the request to the first piece of sound, waiting included",
            buckets=_FIRST_PIECE_BUCKETS,
            registry=self._registry,
        )
        self._factor = Gauge("emolib_tts_real_time_factor", "Work per second of sound", registry=self._registry)
        for name, help_text, value in (
            ("emolib_tts_waiting", "Requests that wait", lambda: admission.waiting),
            ("emolib_tts_running", "Utterances in synthesis", lambda: admission.running),
        ):
            Gauge(name, help_text, registry=self._registry).set_function(value)
        self._total_audio = 0.0
        self._total_work = 0.0

    def answered(self, status: int) -> None:
        """Count an answer of `/v1/tts`."""
        self._answers.labels(str(status)).inc()

    def first_piece(self, seconds: float) -> None:
        """Record how long a client waited for the first piece."""
        self._first.observe(seconds)

    def spoken(self, audio_seconds: float, work_seconds: float) -> None:
        """Record what the engine produced, and how long it took."""
        self._audio.inc(audio_seconds)
        self._work.inc(work_seconds)
        self._total_audio += audio_seconds
        self._total_work += work_seconds
        self._factor.set(self.real_time_factor)

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of sound, since the start of the service; 0 before the first."""
        return self._total_work / self._total_audio if self._total_audio else 0.0

    def text(self) -> bytes:
        """Return all counters in Prometheus' text format."""
        return generate_latest(self._registry)


class _Synthesis:
    """A thread that runs the engine for one utterance and fills `pieces`; the last is None or an exception.

    The engine never waits for the listener, so a client that reads slowly holds no slot; what is
    buffered is bounded by the length of the text. `done` is called in the event loop once the engine
    has returned, even if nobody listens any more: an engine that hangs keeps its slot.
    """

    def __init__(self, engine: Engine, utterance: Utterance, done: Callable[[_Synthesis], None]) -> None:
        self.pieces: asyncio.Queue[np.ndarray | Exception | None] = asyncio.Queue()
        self.seconds = 0.0
        self.samples = 0
        self.hangs = False
        self._engine = engine
        self._utterance = utterance
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="synthesis", daemon=True).start()

    def stop(self) -> None:
        """Tell the engine that nobody wants the rest."""
        self._stop.set()

    def _run(self) -> None:
        started = time.monotonic()
        last: Exception | None = None
        try:
            for piece in self._engine.synthesize(self._utterance, self._stop):
                self.samples += len(piece)
                self._tell(self.pieces.put_nowait, piece)
                if self._stop.is_set():
                    break
        except EngineError as error:
            last = error
        except Exception as error:  # an engine is foreign code: whatever it raises, the service goes on
            last = EngineError(f"{type(error).__name__}: {error}")
        self.seconds = time.monotonic() - started
        self._tell(self.pieces.put_nowait, last)
        self._tell(self._done, self)

    def _tell(self, call: Callable[..., object], value: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, value)
        except RuntimeError:
            # The event loop is closed: the service has shut down in the meantime.
            self._stop.set()


async def _joined(first: np.ndarray, rest: AsyncIterator[np.ndarray]) -> AsyncIterator[np.ndarray]:
    try:
        yield first
        async for piece in rest:
            yield piece
    finally:
        await rest.aclose()
