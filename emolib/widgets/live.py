"""A live conversation in a page: the browser's microphone and loudspeaker, and what is heard, felt and said."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emolib.dialogue import AgentTurn, History, Stages, VoiceAgent, events_of, open_stages
from emolib.dialogue.live import Recordings, write_trace
from emolib.emotions import DEFAULT_EMOTION_MODEL, EMOTIONS, EmotionScores
from emolib.errors import EmolibError, MissingDependency
from emolib.speech.ambient import QUIET_ROOM, Ambience, calibrate
from emolib.speech.audio import SAMPLE_RATE, AudioClip
from emolib.widgets.speaker import BrowserSink

__all__ = ["LivePanel"]

_CALIBRATION_S = 2.0
#: So many blocks of the microphone are answered with a sign of life, one a second.
_BLOCKS_PER_SIGN = 31
#: A minute of the microphone.
_DELAYS_KEPT = 1900
#: Of a reply that is being written the page is told twenty times a second.
_LEAST_BETWEEN_S = 0.05
#: A notebook server closes connections whose messages pass 10 MiB.
_UPLOAD_LIMIT = 8_000_000


class LivePanel:
    """Speak to the machine from the page; the last line of a cell shows the panel.

    `emotion_model` is what `emolib talk --model` takes; `engines` opens other engines than the embedded ones.
    Turns are saved to `save_to`. The conversation has a thread of its own, so other cells can be run meanwhile;
    `close` ends it and releases the microphone and the engines.
    """

    def __init__(
        self,
        emotion_model: Path | str = DEFAULT_EMOTION_MODEL,
        *,
        save_to: Path | str = "turns.jsonl",
        engines: Callable[[], AbstractContextManager[Stages]] | None = None,
    ) -> None:
        self.turns: list[AgentTurn] = []
        self.save_to = Path(save_to)
        self.widget = _new_view()
        self._engines = engines or (lambda: open_stages(emotion_model))
        self._ambience: Ambience = QUIET_ROOM
        self._calibrating: list[np.ndarray] | None = None
        self._source: Any = None
        self._sink: BrowserSink | None = None
        self._agent: VoiceAgent | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._history = History()
        self._delays = {way: deque[float](maxlen=_DELAYS_KEPT) for way in ("microphone", "loudspeaker")}
        self._shown_at = 0.0
        self._page: float | None = None
        self.widget.on_msg(self._on_message)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)

    def close(self) -> None:
        """End the conversation and release everything."""
        self._stop()
        self.widget.send({"kind": "close"})
        if self._thread:
            self._thread.join(10)
        self.widget.close()

    def _on_message(self, _widget: Any, content: dict[str, Any], buffers: list[memoryview]) -> None:
        kind = content.get("kind")
        if kind == "sound":
            self._note_delay("microphone", time.time() * 1000 - content.get("sent", 0))
            if content.get("number", 0) % _BLOCKS_PER_SIGN == 0:
                self.widget.send({"kind": "alive"})
                self._show_delays()
            if content.get("page") == self._page:
                self._hear(bytes(buffers[0]))
        elif kind in self._ACTIONS:
            self._meet(content.get("page", self._page))
            self._ACTIONS[kind](self)
        elif kind == "began":
            self._note_delay("loudspeaker", content["delay_ms"])
        elif kind == "upload":
            self._answer_upload(bytes(buffers[0]))

    def _meet(self, page: float | None) -> None:
        """A button was pressed in `page`, which has the microphone from now on: the one before was reloaded or left."""
        if page != self._page and self._page is not None:
            self._stop()
        self._page = page

    def _note_delay(self, way: str, milliseconds: float) -> None:
        self._delays[way].append(milliseconds)

    def _show_delays(self) -> None:
        """The 95th percentiles: from the page's microphone to the kernel, and from the kernel to the first sample."""
        self.widget.delays = {
            way: round(float(np.percentile(list(found), 95)), 1) for way, found in self._delays.items() if found
        }

    def _hear(self, pcm: bytes) -> None:
        if self._calibrating is not None:
            self._calibrating.append(np.frombuffer(pcm, "<i2") / np.float32(32768))
            if sum(map(len, self._calibrating)) >= _CALIBRATION_S * SAMPLE_RATE:
                self._calibrate()
        elif self._source is not None and hasattr(self._source, "feed"):
            self._source.feed(pcm)

    def _begin_calibration(self) -> None:
        self._calibrating = []
        self.widget.status = "Measuring the room: please say nothing for two seconds."

    def _calibrate(self) -> None:
        samples, self._calibrating = np.concatenate(self._calibrating or []), None
        self._ambience = calibrate(AudioClip(samples, SAMPLE_RATE))
        self.widget.floor_dbfs = self._ambience.floor_dbfs
        advice = self._ambience.advice()
        self.widget.status = f"{advice[0].upper()}{advice[1:]}. Press Talk and speak."

    def _talk(self) -> None:
        from emolib.speech import QueueSource

        self._begin(QueueSource())

    def _answer_upload(self, content: bytes) -> None:
        with tempfile.TemporaryDirectory(prefix="emolib-upload-") as folder:
            path = Path(folder) / "recording.wav"
            path.write_bytes(content)
            try:
                self._begin(Recordings([path]))
            except EmolibError as error:
                self.widget.status = f"{error}"

    def _begin(self, source: Any) -> None:
        if self._source is not None:
            self.widget.status = "A conversation is under way: press Stop first."
            return
        self._source = source
        self.widget.status = "The models are loaded …"
        self._thread = threading.Thread(target=self._hold, args=(source, self._thread), name="live panel", daemon=True)
        self._thread.start()

    def _hold(self, source: Any, before: threading.Thread | None) -> None:
        if before:
            # One that was stopped may still be loading its models, or letting go of them.
            before.join()
            self.widget.status = "The models are loaded …"
        sink = BrowserSink(self._send_sound, self.widget.sample_rate)
        self._sink = sink
        try:
            with self._engines() as stages:
                self.widget.status = "Listening: speak."
                asyncio.run(self._converse(stages, source, sink))
            self.widget.status = "The conversation has ended. Press Talk to begin another."
        except EmolibError as error:
            self.widget.status = f"{error}"
        except Exception as error:
            # A thread has no caller to raise to: what is unexpected must still be seen.
            self.widget.status = f"Unexpected: {error!r}. Press Talk to begin again."
            raise
        finally:
            self._sink = self._agent = self._loop = None
            if self._source is source:
                self._source = None
            sink.close()

    def _send_sound(self, pcm: bytes) -> None:
        self.widget.send({"kind": "sound", "sent": time.time() * 1000}, [pcm])

    async def _converse(self, stages: Stages, source: Any, sink: BrowserSink) -> None:
        from emolib.speech import Endpointer, OrderedPlayer, best_detector, best_turn_detector

        self._loop = asyncio.get_running_loop()
        self._agent = VoiceAgent(
            replace(stages, classifier=_ShownClassifier(stages.classifier, self.widget)),
            lambda: OrderedPlayer(sink),
            history=self._history,
            on_reply=self._show_reply,
            on_turn=self._show_turn,
        )
        endpointer = Endpointer(best_detector(self._ambience), turn=best_turn_detector())
        try:
            await self._agent.converse(self._shown(events_of(source, endpointer, stages.recognizer)))
        finally:
            await stages.reply_model.aclose()

    async def _shown(self, events: AsyncIterator[Any]) -> AsyncIterator[Any]:
        from emolib.speech import Heard, Partial, SpeechStart

        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, SpeechStart):
                    self.widget.status = "I hear you …"
                elif isinstance(event, Partial):
                    self.widget.partial = f"{event.text} …"
                elif isinstance(event, Heard):
                    with self.widget.hold_sync():
                        self.widget.partial, self.widget.status = event.transcript.text, "Thinking …"
                yield event

    def _show_reply(self, written: str, spoken: str) -> None:
        # Each message to the page stands in the way of the sound behind it: few of them, and one for all that changed.
        now = time.monotonic()
        if spoken == self.widget.spoken and now - self._shown_at < _LEAST_BETWEEN_S:
            return
        self._shown_at = now
        with self.widget.hold_sync():
            self.widget.reply, self.widget.spoken = written, spoken
            if spoken:
                self.widget.status = "Speaking: talk over it or press Interrupt to stop it."

    def _show_turn(self, turn: AgentTurn) -> None:
        self.turns.append(turn)
        shown = {name: turn.as_dict()[name] for name in ("transcript", "emotion", "reply", "interrupted")}
        busy = ", ".join(f"{stage} {ms} ms" for stage, ms in turn.trace.busy_ms().items())
        first = turn.trace.marks_ms().get("first_sound")
        problems = f" ({'; '.join(turn.problems)})" if turn.problems else ""
        with self.widget.hold_sync():
            self.widget.history = [*self.widget.history, shown][-20:]
            self.widget.reply, self.widget.spoken = turn.written, ""
            self.widget.latency = f"First sound after {first} ms; {busy}" if first is not None else busy
            self.widget.status = f"Listening: speak.{problems}"
        if isinstance(self._source, Recordings):
            self._source.answered()

    def _interrupt(self) -> None:
        agent, loop, sink = self._agent, self._loop, self._sink
        if sink:
            sink.silence()
        # The page takes no sound from its own Interrupt until this answer: what is on its way is of the dead turn.
        self.widget.send({"kind": "flush"})
        if agent and loop and not loop.is_closed():
            asyncio.run_coroutine_threadsafe(agent.interrupt(), loop)

    def _stop(self) -> None:
        self._calibrating = None
        self._interrupt()
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def _lost(self) -> None:
        self._stop()
        self.widget.status = "The microphone is gone: connect it again and press Talk."

    def _clear(self) -> None:
        self._history = History()
        if self._agent:
            self._agent.history = self._history
        self.turns = []
        self.widget.history = []
        self.widget.partial = self.widget.reply = self.widget.latency = ""

    def _save(self) -> None:
        try:
            write_trace(self.turns, self.save_to)
            self.widget.status = f"{len(self.turns)} turns were written to {self.save_to.name}."
        except EmolibError as error:
            self.widget.status = f"{error}"

    _ACTIONS = {  # noqa: RUF012
        "calibrate": _begin_calibration, "talk": _talk, "interrupt": _interrupt, "stop": _stop, "lost": _lost,
        "clear": _clear, "save": _save,
    }  # fmt: skip


class _ShownClassifier:
    def __init__(self, classifier: Any, view: Any) -> None:
        self._classifier, self._view = classifier, view

    def classify(self, texts: Sequence[str]) -> list[EmotionScores]:
        judged = self._classifier.classify(texts)
        self._view.emotions = judged[-1].as_dict()
        return judged


def _new_view() -> Any:
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise MissingDependency("anywidget", extra="notebooks") from error

    class LiveView(anywidget.AnyWidget):
        _esm = Path(__file__).with_name("live.js")
        _css = Path(__file__).with_name("live.css")
        status = traitlets.Unicode("Press Calibrate, then Talk.").tag(sync=True)
        partial = traitlets.Unicode().tag(sync=True)
        reply = traitlets.Unicode().tag(sync=True)
        spoken = traitlets.Unicode().tag(sync=True)
        latency = traitlets.Unicode().tag(sync=True)
        delays = traitlets.Dict().tag(sync=True)
        emotions = traitlets.Dict(dict.fromkeys(EMOTIONS, 0.0)).tag(sync=True)
        history = traitlets.List().tag(sync=True)
        floor_dbfs = traitlets.Float(-60.0).tag(sync=True)
        sample_rate = traitlets.Int(22_050).tag(sync=True)
        upload_limit = traitlets.Int(_UPLOAD_LIMIT).tag(sync=True)

    return LiveView()
