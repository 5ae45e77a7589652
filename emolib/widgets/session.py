"""One conversation of a panel, in a thread of its own, from the loading of its engines to letting go of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from emolib.dialogue import History, Recordings, Turn, VoiceAgent
from emolib.dialogue.session import listening_events
from emolib.errors import EmolibError
from emolib.labels import EmotionScores
from emolib.speech.noise import NoiseProfile
from emolib.stack import Engines
from emolib.tts import SpeechRequest
from emolib.widgets.speaker import BrowserSink

__all__ = ["Session", "shown_turn"]

#: Each message to the page stands in the way of the sound behind it: of a reply it is told ten times a second.
_TOLD_EVERY_S = 0.1


@dataclass(eq=False)
class Session:
    """What is heard from `source`, answered on the engines of `open_engines`, and played on `sink`.

    It shows itself in `view`. `voice` gives the voiceprint of the next clause (None: the service's own); `meet` gets
    the engines once they are open, and gives what is to be remarked about them; `on_end` gets the session and a call
    that says in `view` how it ended.
    """

    view: Any
    source: Any
    sink: Any
    open_engines: Callable[[], AbstractContextManager[Engines]]
    noise: NoiseProfile
    history: History
    voice: Callable[[], str | None]
    meet: Callable[[Engines], str]
    on_turn: Callable[[Turn], None]
    on_end: Callable[[Session, Callable[[], None]], None]
    agent: VoiceAgent | None = field(default=None, init=False)
    stopped: bool = field(default=False, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _ended: str = field(default="ended", init=False)
    _written: str = field(default="", init=False)

    def start(self, before: Session | None) -> None:
        """Begin, once `before` has let go of its engines."""
        self.view.say("loading")
        self._thread = threading.Thread(target=self._hold, args=(before,), name="live panel", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until everything is released; False if it is not within `timeout_s`."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def interrupt(self) -> None:
        """End the present answer."""
        if isinstance(self.sink, BrowserSink):
            self.sink.silence()
        agent, loop = self.agent, self._loop
        if agent and loop and not loop.is_closed():
            asyncio.run_coroutine_threadsafe(agent.interrupt(), loop)

    def stop(self, ended: str = "ended") -> None:
        """End the conversation; the text `ended` of the page's table says why."""
        if not self.stopped:
            self.stopped, self._ended = True, ended
            self.interrupt()
            self.source.close()

    def forget(self, history: History) -> None:
        """Go on from `history` in place of what was said before."""
        self.history = history
        self._written = ""
        if self.agent:
            self.agent.history = self.history

    def _hold(self, before: Session | None) -> None:
        if before:
            # One that was stopped may still be loading its models.
            before.wait()
            self.view.say("loading")
        failed: Exception | None = None
        try:
            with self.open_engines() as engines:
                self.view.say("listening", remark=self.meet(engines))
                asyncio.run(self._converse(engines))
        except EmolibError as error:
            failed = error
        except Exception as error:
            # A thread has no caller to raise to: what is unexpected must still be seen.
            failed = error
            raise
        finally:
            self.stopped, self.agent, self._loop = True, None, None
            self.sink.close()
            self.on_end(self, lambda: self._say_how_it_ended(failed))

    def _say_how_it_ended(self, failed: Exception | None) -> None:
        if isinstance(failed, EmolibError):
            self.view.complain(failed)
        elif failed:
            self.view.say("unexpected", trouble=True, error=repr(failed))
        else:
            self.view.say(self._ended, trouble=self._ended != "ended")

    async def _converse(self, engines: Engines) -> None:
        from emolib.speech import OrderedPlayer

        self._loop = asyncio.get_running_loop()
        agent = self.agent = VoiceAgent(
            replace(engines, synthesizer=_ChosenVoice(engines.synthesizer, self.voice)),
            lambda: OrderedPlayer(self.sink),
            history=self.history,
            on_reply=self._note_reply,
            on_emotion=self._show_emotion,
            on_turn=self._show_turn,
        )
        progress = asyncio.create_task(self._show_progress(agent))
        try:
            await agent.converse(self._shown(listening_events(engines, self.source, self.noise)))
        finally:
            progress.cancel()
            await engines.reply_model.aclose()

    async def _shown(self, events: AsyncIterator[Any]) -> AsyncIterator[Any]:
        from emolib.speech import Partial, SpeechStart, Transcribed

        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, SpeechStart):
                    self.view.say("hearing")
                elif isinstance(event, Partial):
                    self.view.partial = f"{event.text} …"
                elif isinstance(event, Transcribed):
                    with self.view.hold_sync():
                        self.view.partial = event.transcript.text
                        self.view.say("thinking")
                yield event

    def _show_emotion(
        self, _words: EmotionScores | None, _voice: Mapping[str, float] | None, fused: EmotionScores
    ) -> None:
        with self.view.hold_sync():
            self.view.emotions = fused.as_dict()
            self.view.felt = {"label": fused.label, "share": fused.confidence, "abstained": fused.abstained}

    def _note_reply(self, written: str, _given: str) -> None:
        self._written = written

    async def _show_progress(self, agent: VoiceAgent) -> None:
        """The reply as far as it is written, and the clause that is heard at this moment."""
        while True:
            await asyncio.sleep(_TOLD_EVERY_S)
            speaking = agent.speaking
            with self.view.hold_sync():
                self.view.reply = self._written
                if speaking and not self.view.spoken:
                    self.view.say("speaking")
                self.view.spoken = speaking

    def _show_turn(self, turn: Turn) -> None:
        self._written = ""
        told = turn.as_dict()
        problems = f" ({'; '.join(turn.problems)})" if turn.problems else ""
        with self.view.hold_sync():
            self._show_emotion(turn.words, turn.voice_emotion, turn.emotion)
            # The turn moves from what is under way to the history at once.
            self.view.partial = self.view.reply = self.view.spoken = ""
            self.view.waterfall = told["spans"]
            self.view.first_sound_ms = turn.trace.marks_ms().get("first_sound", 0)
            self.view.say("listening", remark=problems)
            self.on_turn(turn)
        if isinstance(self.source, Recordings):
            self.source.answered()


def shown_turn(record: Mapping[str, Any], number: int, conversation: int) -> dict[str, Any]:
    """Return what the page shows of a turn (`record`: `Turn.as_dict`), number `number` of a conversation.

    `words` and `voice` have the label that was felt there and its probability, "share"; without a label there is none.
    """
    voice = record.get("voice_emotion") or {}
    heard = max(voice, key=lambda name: voice[name], default=None)
    return {
        "number": number,
        "conversation": conversation,
        "transcript": record["transcript"],
        "emotion": record["emotion"],
        "words": _felt(record.get("words") or record),
        "voice": {"label": heard.lower(), "share": voice[heard]} if heard else None,
        "reply": record["reply"],
        "spoken_as": record["voice"]["emotion"],
        "interrupted": record["interrupted"],
        "problems": list(record["problems"]),
    }


def _felt(scores: Mapping[str, Any]) -> dict[str, Any]:
    label = scores["emotion"]
    share = scores["probabilities"].get(label)
    return {"label": label} if share is None else {"label": label, "share": share}


class _ChosenVoice:
    """Speaks each clause in the voice that is chosen at that moment."""

    def __init__(self, synthesizer: Any, voice: Callable[[], str | None]) -> None:
        self._synthesizer, self._voice = synthesizer, voice
        if hasattr(synthesizer, "stream"):
            self.stream = lambda request: synthesizer.stream(self._chosen(request))

    def synthesize(self, request: SpeechRequest) -> Any:
        return self._synthesizer.synthesize(self._chosen(request))

    def _chosen(self, request: SpeechRequest) -> SpeechRequest:
        return replace(request, voiceprint=self._voice())
