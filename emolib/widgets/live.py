"""A live conversation in a page: the browser's microphone and loudspeaker, and what is heard, felt and said."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from emolib.audio import SAMPLE_RATE, AudioClip, from_pcm16
from emolib.dialogue import History, Recordings, Turn, read_trace, write_trace
from emolib.errors import EmolibError, UsageError
from emolib.speech.calibration import calibrate
from emolib.speech.noise import QUIET_ROOM, NoiseProfile, level_dbfs
from emolib.stack import Engines, Stack, open_stack
from emolib.widgets.choices import COMPUTER, OWN_VOICE, PAGE, check_files, offered
from emolib.widgets.page import text
from emolib.widgets.session import Session, shown_turn
from emolib.widgets.speaker import BrowserSink
from emolib.widgets.view import new_view

__all__ = ["LivePanel"]

_CALIBRATION_S = 2.0
#: So many blocks of the microphone are answered with a sign of life, one a second.
_BLOCKS_PER_SIGN = 31
#: A minute of the microphone.
_DELAYS_KEPT = 1900
_LEVELS_EVERY_S = 0.1
#: The page gets so many turns with each new one, and this many more when it asks for earlier ones.
_TURNS_SHOWN = 20
_EARLIER_TURNS = 50


class LivePanel:
    """Speak to the machine from the page; the last line of a cell shows the panel.

    `stack` says what the conversation runs on (default: the bundled models), and `engines` opens it (default:
    `emolib.stack.open_stack`). Each part can be chosen in the page, or with `choose`. Save and Reopen in the page, and
    `save` and `reopen`, write the turns to `save_to` (JSON lines) and go on from them another day. The conversation
    has a thread of its own, so other cells can be run meanwhile; `close` ends it and releases the microphone and the
    engines.
    """

    #: A second panel of this kernel takes the conversation over: both would hear and answer each other.
    _conversing: ClassVar[LivePanel | None] = None

    def __init__(
        self,
        stack: Stack | None = None,
        *,
        save_to: Path | str = "turns.jsonl",
        engines: Callable[[Stack], AbstractContextManager[Engines]] = open_stack,
    ) -> None:
        self.stack = stack or Stack()
        check_files(self.stack)
        self.sound = PAGE
        self.turns: list[Turn] = []
        self.save_to = Path(save_to)
        self.widget = new_view()
        self._offered = offered()
        self._engines = engines
        self._noise: NoiseProfile = QUIET_ROOM
        self._calibrating: list[np.ndarray] | None = None
        self._rate = SAMPLE_RATE
        self._session: Session | None = None
        self._history = History()
        #: All turns as `Turn.as_dict`, the reopened ones first; those of one conversation are numbered from 0.
        self._records: list[dict[str, Any]] = []
        self._conversation = 0
        self._level_at = 0.0
        self._delays = {way: deque[float](maxlen=_DELAYS_KEPT) for way in ("microphone", "loudspeaker", "device")}
        self._page: float | None = None
        self._show_choice()
        self.widget.on_msg(self._on_message)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)

    def choose(self, **changes: str) -> None:
        """Change what the conversation runs on: fields of `Stack`, and `sound` (whose microphone and loudspeaker).

        A voice is heard from the next clause on, everything else from the next Talk. UsageError, InputError or
        ModelError for what cannot be found, and nothing is changed.
        """
        parts = {name: value for name, value in changes.items() if name != "sound"}
        if parts.get("voice") == OWN_VOICE:
            parts["voice"] = None
        stack = self.stack.with_changes(**parts)
        if changes.get("sound", PAGE) not in (PAGE, COMPUTER):
            raise UsageError(f"sound is {PAGE!r} or {COMPUTER!r}, not {changes['sound']!r}")
        check_files(stack)
        self.stack, self.sound = stack, changes.get("sound", self.sound)
        self._show_choice()
        if self.widget.talking and set(changes) != {"voice"}:
            self.widget.say("change_later")

    def close(self) -> None:
        """End the conversation and release everything."""
        self._stop()
        self.widget.send({"kind": "close"})
        if self._session:
            self._session.wait(10)
        if LivePanel._conversing is self:
            LivePanel._conversing = None
        self.widget.close()

    def _show_choice(self) -> None:
        chosen = {name: value for name, value in asdict(self.stack).items() if name in self._offered}
        chosen |= {"voice": self.stack.voice or OWN_VOICE, "sound": self.sound}
        with self.widget.hold_sync():
            # What was typed is offered from then on.
            self.widget.options = {
                name: list(dict.fromkeys([*found, chosen[name]])) for name, found in self._offered.items()
            }
            self.widget.chosen = chosen

    def _on_message(self, _widget: Any, content: dict[str, Any], buffers: list[memoryview]) -> None:
        kind = content.get("kind")
        if kind == "sound":
            self._note_delay("microphone", time.time() * 1000 - content.get("sent", 0))
            if content.get("number", 0) % _BLOCKS_PER_SIGN == 0:
                self.widget.send({"kind": "alive"})
                self._show_delays()
            if content.get("page") == self._page:
                self._hear(bytes(buffers[0]))
        elif kind == "began":
            self._note_delay("loudspeaker", content["delay_ms"])
            self._note_delay("device", content.get("device_ms", 0.0))
        elif kind in ("leave", "lost"):
            if content.get("page") == self._page:
                self._LEFT[kind](self)
        else:
            self._act(kind, content, buffers)

    def _act(self, kind: str | None, content: dict[str, Any], buffers: list[memoryview]) -> None:
        """What a button, a chooser or an upload asks for; if it cannot be done, the status says why."""
        try:
            if kind in self._ACTIONS:
                if kind in ("calibrate", "talk"):
                    self._meet(content.get("page"), content.get("rate", SAMPLE_RATE))
                self._ACTIONS[kind](self)
            elif kind == "choose":
                self.choose(**{content["name"]: content["value"]})
            elif kind == "upload":
                self._answer_upload(bytes(buffers[0]))
            elif kind == "earlier":
                self._show_earlier(int(content["before"]))
        except EmolibError as error:
            self.widget.complain(error)

    def _meet(self, page: float | None, rate: int) -> None:
        """`page` has the microphone from now on, at `rate` (Hz); the one before was reloaded or left."""
        if page != self._page and self._page is not None:
            self._stop()
            self.widget.send({"kind": "taken", "page": page})
        self._page, self._rate = page, rate

    def _note_delay(self, way: str, milliseconds: float) -> None:
        self._delays[way].append(milliseconds)

    def _show_delays(self) -> None:
        """The 95th percentiles: from the page's microphone to the kernel, from the kernel to the page's audio thread
        having the first sample, and from there through the browser's own buffer."""
        self.widget.delays = {
            way: round(float(np.percentile(list(found), 95)), 1) for way, found in self._delays.items() if found
        }

    def _hear(self, pcm: bytes) -> None:
        from emolib.speech import QueueSource

        if self._calibrating is not None:
            self._collect(from_pcm16(pcm), self._rate)
        elif self._session and isinstance(self._session.source, QueueSource):
            self._session.source.feed(pcm)

    def _overhear(self, frame: np.ndarray) -> None:
        """A frame of the computer's own microphone."""
        if time.monotonic() - self._level_at > _LEVELS_EVERY_S:
            self._level_at = time.monotonic()
            self.widget.level_dbfs = level_dbfs(frame)
        if self._calibrating is not None:
            self._collect(frame, SAMPLE_RATE)

    def _begin_calibration(self) -> None:
        if self.sound == COMPUTER and not self.widget.talking:
            from emolib.speech import SoundDeviceSource

            source = SoundDeviceSource()
            threading.Thread(target=self._measure_room, args=(source,), name="calibration", daemon=True).start()
        self._calibrating = []
        self.widget.say("measuring")

    def _measure_room(self, source: Any) -> None:
        try:
            with contextlib.closing(source):
                for _ in _Overheard(source, self._overhear).frames():
                    if self._calibrating is None:
                        return
        except EmolibError as error:
            self.widget.complain(error)

    def _collect(self, samples: np.ndarray, rate: int) -> None:
        collected = self._calibrating
        if collected is None:
            return
        collected.append(samples)
        if sum(map(len, collected)) >= _CALIBRATION_S * rate:
            self._calibrating = None
            self._noise = calibrate(AudioClip(np.concatenate(collected), rate))
            self.widget.floor_dbfs = self._noise.floor_dbfs
            advice = self._noise.advice()
            self.widget.say("measured", advice=f"{advice[0].upper()}{advice[1:]}")

    def _talk(self) -> None:
        from emolib.speech import QueueSource, SoundDeviceSource

        if self.sound == COMPUTER:
            self._begin(lambda: _Overheard(SoundDeviceSource(), self._overhear))
        else:
            self._begin(lambda: QueueSource(self._rate))

    def _answer_upload(self, content: bytes) -> None:
        with tempfile.TemporaryDirectory(prefix="emolib-upload-") as folder:
            path = Path(folder) / "recording.wav"
            path.write_bytes(content)
            self._begin(lambda: Recordings([path]))

    def _begin(self, open_source: Callable[[], Any]) -> None:
        before, stack = self._session, self.stack
        if before and not before.stopped:
            self.widget.say("under_way", trouble=True)
            return
        self._session = Session(
            self.widget,
            source=open_source(),
            sink=self._open_sink(),
            open_engines=lambda: self._engines(stack),
            noise=self._noise,
            history=self._history,
            voice=lambda: self.stack.voice,
            meet=self._meet_voices,
            on_turn=self._keep,
            on_end=self._end,
        )
        other, LivePanel._conversing = LivePanel._conversing, self
        if other not in (None, self):
            other._give_way()
        self.widget.talking = True
        self._session.start(before)

    def _open_sink(self) -> Any:
        from emolib.speech import SoundDeviceSink

        if self.sound == COMPUTER:
            return SoundDeviceSink()
        return BrowserSink(self._send_sound, self.widget.sample_rate)

    def _send_sound(self, pcm: bytes) -> None:
        self.widget.send({"kind": "sound", "sent": time.time() * 1000}, [pcm])

    def _meet_voices(self, engines: Engines) -> str:
        """Offer the voices of the speech service; a remark if the chosen one is not among them."""
        if not isinstance(engines.synthesizer, _HasVoices):
            return ""
        self._offered["voice"] = [OWN_VOICE, *engines.synthesizer.voices()]
        wanted = self.stack.voice
        if wanted is None or wanted in self._offered["voice"]:
            self._show_choice()
            return ""
        self.choose(voice=OWN_VOICE)
        return text("no_such_voice", self.widget.language, voice=repr(wanted))

    def _give_way(self) -> None:
        if self._session and not self._session.stopped:
            self._session.stop("taken")
            self.widget.send({"kind": "taken", "page": None})

    def _end(self, session: Session, tell: Callable[[], None]) -> None:
        if session is self._session:
            with self.widget.hold_sync():
                self.widget.talking, self.widget.phase = False, "idle"
                self.widget.partial = self.widget.reply = self.widget.spoken = ""
                tell()

    def _interrupt(self) -> None:
        if self._session:
            self._session.interrupt()
        # The page takes no sound from its own Interrupt until this answer: what is on its way is of the dead turn.
        self.widget.send({"kind": "flush"})

    def _stop(self, ended: str = "ended") -> None:
        self._calibrating = None
        if self._session and not self._session.stopped:
            self._session.stop(ended)
            self.widget.talking = False
        self.widget.send({"kind": "flush"})

    def _lost(self) -> None:
        self._stop("microphone_lost")
        self.widget.say("microphone_lost", trouble=True)

    def _keep(self, turn: Turn) -> None:
        self.turns.append(turn)
        self._records.append(turn.as_dict())
        self._show_history()

    def _show_history(self) -> None:
        """The newest turns, each with its number from 0 and the conversation that it belongs to."""
        first = max(0, len(self._records) - _TURNS_SHOWN)
        self.widget.history = self._shown(first, len(self._records))

    def _show_earlier(self, before: int) -> None:
        turns = self._shown(max(0, before - _EARLIER_TURNS), before)
        self.widget.send({"kind": "earlier", "turns": turns})

    def _shown(self, first: int, end: int) -> list[dict[str, Any]]:
        placed = enumerate(self._records[first:end], first)
        return [shown_turn(record, number, self._conversation) for number, record in placed]

    def _clear(self) -> None:
        self._begin_anew(History(), [])

    def _begin_anew(self, history: History, records: list[dict[str, Any]]) -> None:
        """Go on from `history`, whose turns are `records`."""
        self._history, self._records = history, records
        self._conversation += 1
        self.turns.clear()
        if self._session:
            self._session.forget(self._history)
        with self.widget.hold_sync():
            self.widget.waterfall = []
            self.widget.partial = self.widget.reply = self.widget.spoken = ""
            self.widget.felt = {}
            self.widget.emotions = dict.fromkeys(self.widget.emotions, 0.0)
            self._show_history()

    def save(self) -> None:
        """Write the turns to `save_to`, those that were reopened first. StorageError when it cannot be written."""
        write_trace(self._records, self.save_to)
        self.widget.say("saved", count=len(self._records), file=self.save_to.name)

    def reopen(self, path: Path | str | None = None) -> None:
        """Show the turns of a file that `save` wrote (default: `save_to`), and go on from there.

        Raises InputError when there is no such file or a line of it is no turn; then nothing changes.
        """
        path = Path(path or self.save_to)
        records = read_trace(path)
        history = History()
        for record in records:
            history.add(record["transcript"], record["reply"], record.get("tone"))
        self._begin_anew(history, records)
        self.widget.say("reopened", count=len(records), file=path.name)

    _ACTIONS = {  # noqa: RUF012
        "calibrate": _begin_calibration, "talk": _talk, "interrupt": _interrupt, "stop": _stop, "clear": _clear,
        "save": save, "reopen": reopen,
    }  # fmt: skip
    #: What counts from the page that has the microphone alone.
    _LEFT = {"leave": _stop, "lost": _lost}  # noqa: RUF012


@runtime_checkable
class _HasVoices(Protocol):
    def voices(self) -> list[str]: ...


class _Overheard:
    """A source whose frames are told on their way (an `AudioSource`)."""

    def __init__(self, source: Any, tell: Callable[[np.ndarray], None]) -> None:
        self._source, self._tell = source, tell
        self.close = source.close

    @property
    def overruns(self) -> int:
        return self._source.overruns

    def frames(self) -> Iterator[np.ndarray]:
        for frame in self._source.frames():
            self._tell(frame)
            yield frame
