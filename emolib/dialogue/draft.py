"""A reply that is begun on a guess of the tone, while the emotion is still being judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

__all__ = ["Draft"]

#: Pieces that wait to be read; the prediction is there before a model has written so many.
_AHEAD = 64


class Draft:
    """Reads `pieces`, a reply in `tone`, from now on; whoever wants them takes them from `read`, or it is dropped."""

    def __init__(self, pieces: AsyncIterator[str], tone: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.tone = tone
        self.began = clock()
        self._waiting: asyncio.Queue[str | _End] = asyncio.Queue(_AHEAD)
        self._task = asyncio.create_task(self._follow(pieces), name="draft")

    async def read(self) -> AsyncIterator[str]:
        """The pieces from the first one on, as they come; raises what the model raises."""
        while not isinstance(piece := await self._waiting.get(), _End):
            yield piece
        if piece.error:
            raise piece.error

    async def drop(self) -> None:
        """Stop the model, if it is still writing."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self, pieces: AsyncIterator[str]) -> None:
        error = None
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    await self._waiting.put(piece)
        except Exception as raised:  # an engine of the user's may raise anything; the reader is told
            error = raised
        await self._waiting.put(_End(error))


class _End:
    def __init__(self, error: Exception | None) -> None:
        self.error = error
