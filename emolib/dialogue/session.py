"""Conversations on open engines: with recordings, a microphone or lines of text; the one way into the turn engine."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from emolib.dialogue.agent import VoiceAgent
from emolib.dialogue.events import Recordings, events_of, events_of_recordings
from emolib.dialogue.history import History
from emolib.dialogue.settings import UNHURRIED, AgentSettings
from emolib.dialogue.turn import Turn
from emolib.errors import DeviceError, InputError, StorageError, UsageError
from emolib.files import storage_errors
from emolib.stack import Engines, Stack, open_stack

if TYPE_CHECKING:
    from emolib.speech import AudioSink, AudioSource

__all__ = ["converse", "hold_conversation", "listening_events", "run_sync", "talk"]

T = TypeVar("T")


def talk(question: str | Path, answer: str | Path, stack: Stack | None = None) -> Turn:
    """Answer the recording `question` in a voice that fits its emotion; the sound goes to `answer` (WAV).

    `stack` says what it runs on (default: the bundled models). InputError when the recording cannot be used or holds no
    speech, StorageError when `answer` cannot be written; an `answer` that exists is replaced by a whole new one only.
    """
    (turn,) = hold_conversation([Path(question)], Path(answer), stack)
    return turn


def hold_conversation(
    recordings: Sequence[Path] = (),
    answer: Path | None = None,
    stack: Stack | None = None,
    *,
    paced: bool = False,
    half_duplex: bool = False,
    history: History | None = None,
    on_turn: Callable[[Turn], None] = lambda turn: None,
    ready: Callable[[str], None] = lambda message: None,
) -> list[Turn]:
    """Hold a spoken conversation until the recordings end, or with the microphone until Ctrl-C; return its turns.

    `recordings` are answered one after the other; `paced`, they are heard in real time, as a microphone would hear
    them, which shows where the time goes. `answer` is the WAV for all that is spoken (None: the loudspeaker). With
    `half_duplex` nobody can interrupt: for a loudspeaker beside an open microphone without echo cancellation.
    InputError for a recording that cannot be read or holds no speech, DeviceError without a microphone or loudspeaker.
    """
    from emolib.audio import read_audio

    for path in recordings:
        read_audio(path)
    _check_paths(recordings, answer)
    with ExitStack() as exits:
        # Devices first: what is missing is said before models are loaded.
        source: Any = None
        if paced and recordings:
            source = Recordings(recordings)
        elif not recordings:
            source = exits.enter_context(_microphone())
        engines = exits.enter_context(open_stack(stack))
        sink = exits.enter_context(_output(answer))
        ready("the recordings are played" if recordings else "speak; Ctrl-C ends the conversation")
        settings = UNHURRIED if source is None else AgentSettings(half_duplex=half_duplex)
        told = _Told(source, on_turn)
        try:
            turns = run_sync(
                converse(engines, source or recordings, sink, settings=settings, history=history, on_turn=told.note)
            )
        except KeyboardInterrupt:
            turns = told.turns
        if recordings and not any(turn.transcript or turn.problems for turn in turns):
            names = ", ".join(map(str, recordings))
            raise InputError(f"no speech was heard in {names}; speak nearer to the microphone")
        return turns


async def converse(
    engines: Engines,
    source: AudioSource | Sequence[Path] | AsyncIterable[Any],
    sink: AudioSink | None = None,
    *,
    noise: Any = None,
    **options: Any,
) -> list[Turn]:
    """Hold a conversation on open engines until `source` ends, and return its turns.

    `source` is a source of sound (a microphone, a page), recordings to be taken whole, or the events themselves.
    `sink` plays the answers; without one the conversation is in text. `noise` is the noise profile of the room;
    without it the first second of the source is taken for one. `options` are those of `VoiceAgent`. Frees the reply
    model at the end.
    """
    from emolib.speech import OrderedPlayer

    new_player = (lambda: OrderedPlayer(sink)) if sink else None
    agent = VoiceAgent(engines, new_player, **options)
    try:
        return await agent.converse(listening_events(engines, source, noise))
    finally:
        await engines.reply_model.aclose()


def listening_events(engines: Engines, source: Any, noise: Any = None) -> AsyncIterable[Any]:
    """Return the events of `source`: see `converse`."""
    from emolib.speech import Endpointer, best_detector, best_turn_detector

    if isinstance(source, Sequence):
        return events_of_recordings(source, engines.recognizer)
    if hasattr(source, "frames"):
        detector = best_detector(noise) if noise else best_detector()
        return events_of(source, Endpointer(detector, turn=best_turn_detector()), engines.recognizer)
    return source


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` and return its result, also when an event loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


class _Told:
    """Keeps the turns as they end, and lets recordings that wait for an answer go on."""

    def __init__(self, source: Any, on_turn: Callable[[Turn], None]) -> None:
        self.turns: list[Turn] = []
        self._source = source
        self._on_turn = on_turn

    def note(self, turn: Turn) -> None:
        self.turns.append(turn)
        self._on_turn(turn)
        if isinstance(self._source, Recordings):
            self._source.answered()


@contextmanager
def _microphone() -> Iterator[Any]:
    """Open the microphone of this computer for one conversation.

    DeviceError while another one of this user has it, in whatever process: the two would answer each other.
    """
    from filelock import FileLock, Timeout

    from emolib.models import cache_folder
    from emolib.speech import SoundDeviceSource

    source = SoundDeviceSource()
    folder = cache_folder()
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "microphone.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise DeviceError(
            "another conversation has the microphone, and the two would answer each other; end that one first"
        ) from None
    try:
        yield source
    finally:
        source.close()
        lock.release()


@contextmanager
def _output(answer: Path | None) -> Iterator[Any]:
    """Open the loudspeaker, or a WAV that appears when the conversation has gone well."""
    from emolib.speech import SoundDeviceSink, WavSink

    sink = WavSink(answer) if answer else SoundDeviceSink()
    try:
        yield sink
    except BaseException:
        if answer:
            sink.discard()
        raise
    finally:
        sink.close()


def _check_paths(recordings: Sequence[Path], answer: Path | None) -> None:
    """Fail before the models are loaded when the answer could not be written at the end."""
    if answer is None:
        return
    if answer.suffix.lower() != ".wav":
        raise UsageError(f"the answer is written as WAV: {answer} must end in .wav")
    if answer.is_dir():
        raise StorageError(f"cannot write {answer}: it is a folder; name a file in it")
    for recording in recordings:
        if answer.exists() and recording.exists() and recording.samefile(answer):
            raise UsageError(f"the answer would overwrite the question {recording}; name another file for it")
    with storage_errors(answer):
        answer.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=answer.parent).close()
