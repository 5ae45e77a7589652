"""Where a conversation's events come from: a sound source, recordings taken whole, or lines of text."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.dialogue.threads import in_thread
from emolib.errors import EmolibError

if TYPE_CHECKING:
    import numpy as np

    from emolib.speech import AudioSource, Endpointer, SpeechRecognizer, StreamingRecognizer

__all__ = ["Recordings", "TextInput", "events_of", "events_of_lines", "events_of_recordings"]


@dataclass(frozen=True)
class TextInput:
    """A line that was typed: it needs no recogniser, and is answered like an utterance."""

    text: str


async def events_of(source: AudioSource, endpointer: Endpointer, recognizer: StreamingRecognizer) -> AsyncIterator[Any]:
    """Yield the events of `emolib.speech.listen` as they happen: listening blocks, so it has a thread of its own.

    Left early, it stops listening at the next frame of the source. Raises what the source raises.
    """
    from emolib.speech import listen

    loop = asyncio.get_running_loop()
    events: asyncio.Queue[Any] = asyncio.Queue()
    left = threading.Event()

    def put(event: Any) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(events.put_nowait, event)

    def follow() -> None:
        failure: BaseException | None = None
        try:
            for event in listen(_until(source, left), endpointer, recognizer):
                put(event)
        except Exception as error:
            failure = error
        put(_End(failure))

    thread = threading.Thread(target=follow, name="listening", daemon=True)
    thread.start()
    try:
        while not isinstance(event := await events.get(), _End):
            yield event
        if event.failure:
            raise event.failure
    finally:
        left.set()


async def events_of_recordings(paths: Sequence[Path], recognizer: SpeechRecognizer) -> AsyncIterator[Any]:
    """Yield each recording as one utterance, as fast as it is recognised; no endpoint is looked for in it.

    InputError when a recording cannot be read. What the recogniser raises becomes a problem of the turn.
    """
    from emolib.audio import read_audio
    from emolib.speech import NoSpeech, NoTranscript, SpeechEnd, Transcribed

    for path in paths:
        clip = await in_thread(read_audio, path)
        end = SpeechEnd(0, len(clip), len(clip), clip, "silence")
        yield end
        try:
            yield Transcribed(end, await in_thread(recognizer.transcribe, clip))
        except NoSpeech:
            yield NoTranscript(end)
        except Exception as error:  # a recogniser of the user's may raise anything
            known = isinstance(error, EmolibError)
            yield NoTranscript(end, str(error) if known else f"{type(error).__name__}: {error}")


async def events_of_lines(read: Callable[[], str]) -> AsyncIterator[TextInput]:
    """Yield a `TextInput` for each line that `read` returns, until it returns an empty string; blank lines are skipped.

    `read` may block: it is called in a thread.
    """
    while line := await in_thread(read):
        if line.strip():
            yield TextInput(line.strip())


class Recordings:
    """Recordings in real time, as a microphone would hear them, each after the answer to the one before.

    An `AudioSource`. Call `answered` when a turn has ended; a recording that gets no answer within `patience_s` is
    passed over.
    """

    overruns = 0

    def __init__(self, paths: Sequence[Path], patience_s: float = 60.0) -> None:
        from emolib.speech import FileSource

        self._sources = [FileSource(path, paced=True) for path in paths]
        self._patience_s = patience_s
        self._answered = threading.Event()

    def answered(self) -> None:
        """Go on to the next recording."""
        self._answered.set()

    def frames(self) -> Iterator[np.ndarray]:
        """Yield the frames of each recording, and silence while it is answered."""
        import numpy as np

        from emolib.audio import SAMPLE_RATE
        from emolib.speech.noise import FRAME

        for source in self._sources:
            self._answered.clear()
            yield from source.frames()
            due = time.monotonic()
            until = due + self._patience_s
            while not self._answered.is_set() and due < until:
                due += FRAME / SAMPLE_RATE
                time.sleep(max(0.0, due - time.monotonic()))
                yield np.zeros(FRAME, dtype=np.float32)

    def close(self) -> None:
        """End all recordings."""
        self._patience_s = 0.0
        for source in self._sources:
            source.close()


class _End:
    def __init__(self, failure: BaseException | None) -> None:
        self.failure = failure


def _until(source: AudioSource, left: threading.Event) -> Any:
    """Return `source`, whose frames end once `left` is set."""

    class Leaving:
        def frames(self) -> Any:
            for frame in source.frames():
                if left.is_set():
                    return
                yield frame

    return Leaving()
