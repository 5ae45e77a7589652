"""The engine behind its queue: utterances in, pieces of sound out, abandoned when nobody listens."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import numpy as np

from emolib.tts.admission import Admission
from emolib.tts.engines import Engine, EngineError, Utterance
from emolib.tts.metrics import Metrics
from emolib.tts.refusal import Refusal

__all__ = ["ServiceLimits", "Speaker", "Speech"]


@dataclass(frozen=True)
class ServiceLimits:
    """What the service takes on."""

    text_characters: int = 5000
    body_bytes: int = 32 * 1024 * 1024
    #: Requests of any kind that are answered at once, those among them whose body still arrives.
    requests: int = 64
    #: Utterances synthesised at once.
    slots: int = 1
    #: Requests that wait for a slot, and how long each does, in seconds.
    places: int = 16
    patience: float = 30.0
    #: Longest silence of the engine in an utterance, and of a client that takes its answer, in seconds.
    engine_silence: float = 60.0
    client_silence: float = 30.0


class Speaker:
    """One engine, its queue and its metrics."""

    def __init__(self, engine: Engine, limits: ServiceLimits) -> None:
        self.engine = engine
        self.room = Admission(limits.slots, limits.places, limits.patience)
        self.metrics = Metrics(self.room)
        self._limits = limits
        self._hanging = 0

    @property
    def stuck(self) -> bool:
        """Whether every slot is held by an engine call that hangs."""
        return self._hanging >= self._limits.slots

    async def speak(self, utterance: Utterance) -> Speech:
        """An utterance, once its first piece is there. Raises Refusal for whatever goes wrong before."""
        if self.stuck:
            raise Refusal(503, f"the engine {self.engine.name} hangs; restart the service", retry_after=30)
        arrived = time.monotonic()
        await self.room.enter()
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
        self.room.leave(synthesis.seconds)
        self.metrics.spoken(synthesis.samples / self.engine.sample_rate, synthesis.seconds)


class Speech:
    """Sound on its way: `pieces` (float32 mono), to be closed where they are not read to the end."""

    def __init__(self, pieces: AsyncIterator[np.ndarray], synthesis: _Synthesis) -> None:
        self.pieces = pieces
        self._synthesis = synthesis

    @property
    def engine_seconds(self) -> float:
        """How long the engine worked, once the pieces are read to the end."""
        return self._synthesis.seconds


class _Synthesis:
    """A thread that runs the engine for one utterance and fills `pieces`; the last is None or an exception.

    The engine never waits for the listener, so a client that reads slowly holds no slot; what is
    buffered is bounded by the length of the text. `done` is called in the event loop once the engine
    has returned, even where nobody listens any more: an engine that hangs keeps its slot.
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
