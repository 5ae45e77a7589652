"""One conversation of a panel, in a thread of its own, from the loading of its engines to letting go of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from emolib.dialogue import AgentTurn, History, Stages, VoiceAgent, events_of
from emolib.dialogue.live import Recordings
from emolib.emotions import EmotionScores
from emolib.errors import EmolibError
from emolib.speech.noise import NoiseProfile
from emolib.tts import SpeechRequest
from emolib.widgets.speaker import BrowserSink

__all__ = ["ENDED", "Session"]

ENDED = "The conversation has ended. Press Talk to begin another."
_LOADING = "The models are loaded …"
#: Each message to the page stands in the way of the sound behind it: of a reply it is told ten times a second.
_TOLD_EVERY_S = 0.1


@dataclass(eq=False)
class Session:
    """What is heard from `source`, answered on the engines of `open_engines`, and played on `sink`.

    It shows itself in `view`. `voice` gives the voiceprint of the next clause (None: the service's own); `meet` gets
    the engines once they are open, and gives what is to be remarked about them; `on_end` gets the session and how it
    ended, in a sentence.
    """

    view: Any
    source: Any
    sink: Any
    open_engines: Callable[[], AbstractContextManager[Stages]]
    ambience: NoiseProfile
    history: History
    voice: Callable[[], str | None]
    meet: Callable[[Stages], str]
    on_turn: Callable[[AgentTurn], None]
    on_end: Callable[[Session, str], None]
    agent: VoiceAgent | None = field(default=None, init=False)
    stopped: bool = field(default=False, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _ended: str = field(default=ENDED, init=False)
    _written: str = field(default="", init=False)

    def start(self, before: Session | None) -> None:
        """Begin, once `before` has let go of its engines."""
        self.view.status = _LOADING
        self._thread = threading.Thread(target=self._hold, args=(before,), name="live panel", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until everything is released; False where it is not within `timeout_s`."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def interrupt(self) -> None:
        """End the present answer."""
        if isinstance(self.sink, BrowserSink):
            self.sink.silence()
        agent, loop = self.agent, self._loop
        if agent and loop and not loop.is_closed():
            asyncio.run_coroutine_threadsafe(agent.interrupt(), loop)

    def stop(self, ended: str = ENDED) -> None:
        """End the conversation; `ended` says why."""
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
            self.view.status = _LOADING
        ended = ""
        try:
            with self.open_engines() as stages:
                self.view.status = f"Listening: speak.{self.meet(stages)}"
                asyncio.run(self._converse(stages))
        except EmolibError as error:
            ended = f"{error}"
        except Exception as error:
            # A thread has no caller to raise to: what is unexpected must still be seen.
            ended = f"Unexpected: {error!r}. Press Talk to begin again."
            raise
        finally:
            self.stopped, self.agent, self._loop = True, None, None
            self.sink.close()
            self.on_end(self, ended or self._ended)

    async def _converse(self, stages: Stages) -> None:
        from emolib.speech import Endpointer, OrderedPlayer, best_detector, best_turn_detector

        self._loop = asyncio.get_running_loop()
        shown = replace(
            stages,
            classifier=_ShownClassifier(stages.classifier, self.view),
            synthesizer=_ChosenVoice(stages.synthesizer, self.voice),
        )
        agent = self.agent = VoiceAgent(
            shown,
            lambda: OrderedPlayer(self.sink),
            history=self.history,
            on_reply=self._note_reply,
            on_turn=self._show_turn,
        )
        endpointer = Endpointer(best_detector(self.ambience), turn=best_turn_detector())
        progress = asyncio.create_task(self._show_progress(agent))
        try:
            await agent.converse(self._shown(events_of(self.source, endpointer, stages.recognizer)))
        finally:
            progress.cancel()
            await stages.reply_model.aclose()

    async def _shown(self, events: AsyncIterator[Any]) -> AsyncIterator[Any]:
        from emolib.speech import Partial, SpeechStart, Transcribed

        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, SpeechStart):
                    self.view.status = "I hear you …"
                elif isinstance(event, Partial):
                    self.view.partial = f"{event.text} …"
                elif isinstance(event, Transcribed):
                    with self.view.hold_sync():
                        self.view.partial, self.view.status = event.transcript.text, "Thinking …"
                yield event

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
                    self.view.status = "Speaking: talk over it or press Interrupt to stop it."
                self.view.spoken = speaking

    def _show_turn(self, turn: AgentTurn) -> None:
        self._written = turn.written
        told = turn.as_dict()
        shown = {name: told[name] for name in ("transcript", "emotion", "reply", "interrupted")}
        busy = ", ".join(f"{stage} {ms} ms" for stage, ms in turn.trace.busy_ms().items())
        first = turn.trace.marks_ms().get("first_sound")
        problems = f" ({'; '.join(turn.problems)})" if turn.problems else ""
        with self.view.hold_sync():
            self.view.history = [*self.view.history, shown][-20:]
            self.view.reply, self.view.spoken = turn.written, ""
            self.view.latency = f"First sound after {first} ms; {busy}" if first is not None else busy
            self.view.waterfall, self.view.first_sound_ms = told["spans"], first or 0
            self.view.status = f"Listening: speak.{problems}"
        self.on_turn(turn)
        if isinstance(self.source, Recordings):
            self.source.answered()


class _ShownClassifier:
    def __init__(self, classifier: Any, view: Any) -> None:
        self._classifier, self._view = classifier, view

    def classify(self, texts: Sequence[str]) -> list[EmotionScores]:
        judged = self._classifier.classify(texts)
        with self._view.hold_sync():
            self._view.emotions, self._view.felt = judged[-1].as_dict(), _felt(judged[-1])
        return judged


def _felt(scores: EmotionScores) -> str:
    if scores.abstained:
        return f"nothing in particular ({scores.label} is likeliest, with {scores.confidence:.0%})"
    return f"{scores.label}, {scores.confidence:.0%} sure"


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
