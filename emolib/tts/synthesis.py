"""An engine's blocking iterator as an asynchronous one that can be abandoned."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable

import numpy as np

from emolib.tts.engines import Engine, EngineError, Utterance

__all__ = ["Synthesis"]


class Synthesis:
    """One utterance on its way: a thread runs the engine, `pieces()` gives what it yields.

    The engine never waits for the listener, so a client that reads slowly holds no slot. `done` is
    called in the event loop with the seconds of work once the engine has returned, even where nobody
    listens any more; an engine that hangs therefore keeps its slot.
    """

    def __init__(self, engine: Engine, utterance: Utterance, done: Callable[[float], None]) -> None:
        self._engine = engine
        self._utterance = utterance
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[np.ndarray | Exception | None] = asyncio.Queue()
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="synthesis", daemon=True).start()

    def stop(self) -> None:
        """Tell the engine that nobody wants the rest."""
        self._stop.set()

    async def pieces(self, timeout: float) -> AsyncIterator[np.ndarray]:
        """The pieces in order. Raises EngineError for a failure, or where a piece takes over `timeout` seconds."""
        try:
            while True:
                try:
                    piece = await asyncio.wait_for(self._pieces.get(), timeout)
                except TimeoutError:
                    raise EngineError(f"the engine {self._engine.name} was silent for {timeout:g} s") from None
                if piece is None:
                    return
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.stop()

    def _run(self) -> None:
        started = time.monotonic()
        last: Exception | None = None
        try:
            for piece in self._engine.synthesize(self._utterance, self._stop):
                self._tell(self._pieces.put_nowait, piece)
                if self._stop.is_set():
                    break
        except EngineError as error:
            last = error
        except Exception as error:  # an engine is foreign code: whatever it raises, the service goes on
            last = EngineError(f"the engine {self._engine.name} failed: {type(error).__name__}: {error}")
        self._tell(self._pieces.put_nowait, last)
        self._tell(self._done, time.monotonic() - started)

    def _tell(self, call: Callable[..., object], value: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, value)
        except RuntimeError:
            # The event loop is closed: the service has shut down in the meantime.
            self._stop.set()
