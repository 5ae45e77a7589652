"""A live conversation: a microphone or recordings in, a loudspeaker or a WAV file out, and a trace of its turns."""

from __future__ import annotations

import asyncio
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.chat import ReplyModel
from emolib.dialogue.agent import AgentTurn, VoiceAgent
from emolib.dialogue.events import events_of
from emolib.dialogue.history import History
from emolib.dialogue.settings import AgentSettings
from emolib.dialogue.stages import Stages, open_stages
from emolib.dialogue.talk import run_sync
from emolib.emotions import DEFAULT_EMOTION_MODEL
from emolib.files import write_text

if TYPE_CHECKING:
    import numpy as np

    from emolib.speech import AudioSink, AudioSource

__all__ = ["Recordings", "converse", "latency_table", "talk_live", "write_trace"]

#: What a session's latency is told by, in the order of a turn: milliseconds since the end of the speech.
_MARKS = ("first_token", "first_sound")


class Recordings:
    """Recordings as a microphone would hear them, each after the answer to the one before (an `AudioSource`).

    `answered` is called when a turn has ended; a recording that gets no answer within `patience_s` is passed over.
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
        """The frames of each recording, and silence while it is answered."""
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


def talk_live(
    questions: Sequence[Path] = (),
    answer: Path | None = None,
    emotion_model: str | Path = DEFAULT_EMOTION_MODEL,
    *,
    reply_model: ReplyModel | None = None,
    tts_url: str | None = None,
    voice: str | None = None,
    half_duplex: bool = False,
    history: History | None = None,
    on_turn: Callable[[AgentTurn], None] = lambda turn: None,
    ready: Callable[[str], None] = lambda message: None,
) -> list[AgentTurn]:
    """Converse until the recordings end, or with the microphone until Ctrl-C; the turns.

    `questions` are recordings (none: the microphone), `answer` the WAV for all that is spoken (None: the loudspeaker).
    The other arguments are those of `talk`; with `half_duplex` nobody can interrupt, for a loudspeaker beside an open
    microphone without echo cancellation. InputError for a recording that cannot be read, DeviceError without a
    microphone or loudspeaker.
    """
    from emolib.speech import SoundDeviceSink, SoundDeviceSource, WavSink

    source: Any = Recordings(questions) if questions else SoundDeviceSource()
    with ExitStack() as stack:
        stack.callback(source.close)
        sink = WavSink(answer) if answer else SoundDeviceSink()
        stack.callback(sink.close)
        stages = stack.enter_context(open_stages(emotion_model, reply_model, tts_url, voice))
        ready("speak; Ctrl-C ends the conversation" if not questions else "the recordings are played")

        def told(turn: AgentTurn) -> None:
            on_turn(turn)
            if isinstance(source, Recordings):
                source.answered()

        settings = AgentSettings(half_duplex=half_duplex)
        return run_sync(converse(stages, source, sink, settings=settings, history=history, on_turn=told))


async def converse(
    stages: Stages,
    source: AudioSource,
    sink: AudioSink,
    *,
    settings: AgentSettings | None = None,
    history: History | None = None,
    on_turn: Callable[[AgentTurn], None] = lambda turn: None,
) -> list[AgentTurn]:
    """Hold a conversation on open engines until `source` ends; its first second is taken as the room's own sound."""
    from emolib.speech import Endpointer, OrderedPlayer, best_detector, best_turn_detector

    agent = VoiceAgent(stages, lambda: OrderedPlayer(sink), settings=settings, history=history, on_turn=on_turn)
    endpointer = Endpointer(best_detector(), turn=best_turn_detector())
    try:
        return await agent.converse(events_of(source, endpointer, stages.recognizer))
    except (asyncio.CancelledError, KeyboardInterrupt):
        return agent.turns
    finally:
        await stages.reply_model.aclose()


def write_trace(turns: Sequence[AgentTurn], path: Path) -> None:
    """Write the turns as JSON lines."""
    write_text(path, "".join(json.dumps(turn.as_dict(), ensure_ascii=False) + "\n" for turn in turns))


def latency_table(turns: Sequence[AgentTurn]) -> str:
    """p50 and p95 of the session, from the end of the speech."""
    lines = []
    for mark in _MARKS:
        times = sorted(turn.trace.marks[mark] for turn in turns if mark in turn.trace.marks)
        if times:
            p95 = times[min(len(times) - 1, round(0.95 * (len(times) - 1)))]
            lines.append(f"{mark:<12} p50 {1000 * statistics.median(times):6.0f} ms   p95 {1000 * p95:6.0f} ms")
    return "\n".join(lines)
