"""What is heard in a source as asynchronous events: listening blocks, so it has a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emolib.speech import AudioSource, Endpointer, StreamingRecognizer

__all__ = ["events_of"]


async def events_of(source: AudioSource, endpointer: Endpointer, recognizer: StreamingRecognizer) -> AsyncIterator[Any]:
    """The events of `emolib.speech.listen`, as they happen.

    Left early, it stops listening at the next frame of the source. What the source raises is raised here.
    """
    from emolib.speech import listen

    loop = asyncio.get_running_loop()
    events: asyncio.Queue[Any] = asyncio.Queue()
    left = threading.Event()

    def tell(event: Any) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(events.put_nowait, event)

    def follow() -> None:
        failure: BaseException | None = None
        try:
            for event in listen(_until(source, left), endpointer, recognizer):
                tell(event)
        except Exception as error:
            failure = error
        tell(_End(failure))

    thread = threading.Thread(target=follow, name="listening", daemon=True)
    thread.start()
    try:
        while not isinstance(event := await events.get(), _End):
            yield event
        if event.failure:
            raise event.failure
    finally:
        left.set()


class _End:
    def __init__(self, failure: BaseException | None) -> None:
        self.failure = failure


def _until(source: AudioSource, left: threading.Event) -> Any:
    """`source`, whose frames end once `left` is set."""

    class Leaving:
        def frames(self) -> Any:
            for frame in source.frames():
                if left.is_set():
                    return
                yield frame

    return Leaving()
