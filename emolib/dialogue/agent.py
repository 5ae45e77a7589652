"""A spoken conversation that overlaps: it listens, feels, writes, speaks and can be interrupted, all at once.

What happens in the room comes as events (`emolib.speech.listen`). In each pause of the speaker the answer is prepared:
the emotion is judged, the reply begins, and its first clause is spoken without being heard. Once it is known that the
pause was the end, it is heard at once, clause by clause in order, while the next ones are written. What sounds like
speech over the answer pauses it at once: a back-channel word or a short sound lets it go on, anything else ends the
turn, and of its answer only what was heard stays in the history.

Who speaks for so long that the utterance is cut is answered once, at the end of all of it.

A turn has a number. An interrupted one is cancelled as a whole: nothing of it is heard later.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emolib.dialogue.answering import Answerer
from emolib.dialogue.history import History
from emolib.dialogue.interruption import is_backchannel, is_echo, repeats
from emolib.dialogue.ongoing import OngoingTurn, Player
from emolib.dialogue.policy import Policy, Voice, choose_style
from emolib.dialogue.safety import Distress, SafetyPolicy
from emolib.dialogue.settings import AgentSettings
from emolib.dialogue.stages import Stages
from emolib.dialogue.threads import in_thread
from emolib.dialogue.trace import Trace
from emolib.emotions import EmotionScores
from emolib.speakable import speakable

if TYPE_CHECKING:
    from emolib.audio import AudioClip
    from emolib.speech import NoTranscript, Partial, SpeechEnd

__all__ = ["AgentTurn", "VoiceAgent"]


#: How long ago the loudspeaker played what is only heard now, at most.
_ECHO_S = 2.0


@dataclass(frozen=True)
class AgentTurn:
    """A turn that is over: what was heard of the speaker, what of the answer, and how long its stages took.

    `reply` is what was played, `written` what the reply model wrote until then; `problems` name what failed.
    `prepared` says that the answer was begun in the pause before the end was known. The trace counts from the end of
    the speech.
    """

    number: int
    transcript: str
    emotion: EmotionScores
    tone: str
    voice: Voice
    distress: Distress
    reply: str
    written: str
    interrupted: bool
    prepared: bool
    problems: tuple[str, ...]
    trace: Trace

    def as_dict(self) -> dict[str, Any]:
        """The turn for a trace file."""
        return {
            "turn": self.number,
            "transcript": self.transcript,
            "emotion": "neutral" if self.emotion.abstained else self.emotion.label,
            "probabilities": self.emotion.as_dict(),
            "tone": self.tone,
            "voice": {"emotion": self.voice.emotion or "neutral", "intensity": self.voice.intensity},
            "distress": self.distress.value,
            "reply": self.reply,
            "written": self.written,
            "interrupted": self.interrupted,
            "prepared": self.prepared,
            "problems": list(self.problems),
            **self.trace.as_dict(),
        }


@dataclass
class _Parts:
    """What was said so far of an utterance that was cut because it was long, and what failed meanwhile."""

    text: str = ""
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def followed_by(self, text: str) -> str:
        return f"{self.text} {text}".strip()


class VoiceAgent:
    """Holds a conversation on the engines of `stages`.

    `new_player` gives the player of a turn. `policy` chooses the style of the answer from the emotions, `safety` says
    what distress is and what is said then, `history` is where it goes on from. `on_reply` gets the reply as far as it
    is written and the clause that was last given to the player, whenever either changes; `on_turn` gets each turn as
    it ends. `offload` runs what blocks (default: worker threads). Whatever an engine does, the next turn works.
    """

    def __init__(
        self,
        stages: Stages,
        new_player: Callable[[], Player],
        *,
        settings: AgentSettings | None = None,
        policy: Policy = choose_style,
        safety: SafetyPolicy | None = None,
        history: History | None = None,
        on_reply: Callable[[str, str], None] = lambda written, spoken: None,
        on_turn: Callable[[AgentTurn], None] = lambda turn: None,
        offload: Callable[..., Awaitable[Any]] = in_thread,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stages = stages
        self.settings = settings or AgentSettings()
        self.safety = safety or SafetyPolicy()
        self.history = history or History()
        self.turns: list[AgentTurn] = []
        self._answerer = Answerer(stages, self.settings, policy, self.safety, on_reply, offload, clock)
        self._new_player = new_player
        self._on_turn = on_turn
        self._offload = offload
        self._clock = clock
        self._turn: OngoingTurn | None = None
        self._prepared: OngoingTurn | None = None
        self._parts = _Parts()
        self._numbers = 0
        self._emotions: list[EmotionScores] = []
        self._estimate: EmotionScores | None = None
        self._estimating: asyncio.Task[None] | None = None
        self._end_known_at: float | None = None

    async def converse(self, events: AsyncIterable[Any]) -> list[AgentTurn]:
        """Follow `events` to their end, let the last answer be heard, and give all turns.

        `events` are those of `emolib.speech.listen`; see `events_of` for a source.
        """
        try:
            async for event in events:
                await self._follow(event)
            if self._parts.text:
                await self._begin_heard("")
            if self._turn and self._turn.task:
                await asyncio.wait([self._turn.task])
        finally:
            await self._take_back()
            await self._end_turn(interrupted=True)
            if self._estimating:
                self._estimating.cancel()
                await asyncio.gather(self._estimating, return_exceptions=True)
        return self.turns

    @property
    def speaking(self) -> str:
        """The clause of the present answer that is being heard, or was last."""
        return self._turn.clause_heard if self._turn else ""

    async def interrupt(self) -> None:
        """End the present answer, as a button does."""
        await self._end_turn(interrupted=True)

    async def _follow(self, event: Any) -> None:
        from emolib.speech import FalseAlarm, NoTranscript, Partial, SpeechEnd, SpeechLikely, SpeechStart, Transcribed

        if isinstance(event, SpeechLikely):
            if not self._is_echo(event.clip, _ECHO_S):
                self._suspect()
        elif isinstance(event, SpeechStart):
            self._suspect()
        elif isinstance(event, FalseAlarm):
            self._let_go_on()
        elif isinstance(event, Partial):
            await self._consider(event)
        elif isinstance(event, SpeechEnd):
            self._end_known_at = self._clock()
        elif isinstance(event, Transcribed):
            await self._heard(event.end, event.transcript.text)
        elif isinstance(event, NoTranscript):
            await self._unheard(event)

    def _suspect(self) -> None:
        """Somebody speaks over the answer, or goes on before it: be silent until it is known what it is."""
        turn = self._turn
        if turn is None or turn.is_over or turn.suspected_at is not None:
            return
        if turn.is_speaking and not self._may_be_interrupted(turn):
            return
        turn.player.pause()
        turn.trace.mark("paused")
        turn.suspected_at = self._clock()

    async def _consider(self, partial: Partial) -> None:
        """A partial transcript: an estimate of the emotion, an answer to prepare, or perhaps an interruption."""
        text, turn = partial.text, self._turn
        if turn is None and partial.in_pause and self.settings.preemptive:
            await self._prepare(self._parts.followed_by(text))
        elif turn is None or turn.suspected_at is None:
            self._begin_estimate(self._parts.followed_by(text))
        elif not turn.is_speaking or is_backchannel(text) or repeats(text, turn.heard):
            return
        elif self._clock() - turn.suspected_at >= self.settings.least_interruption_s:
            await self._end_turn(interrupted=True)

    async def _prepare(self, text: str) -> None:
        """Answer `text` so far that it could be heard at once, should it turn out to be all."""
        if self._prepared and self._prepared.transcript == text:
            return
        await self._take_back()
        if speakable(text):
            self._prepared = self._start(text)
            self._prepared.prepared = True

    async def _take_back(self) -> None:
        """Throw the prepared answer away, but for what it knew of the emotion."""
        prepared, self._prepared = self._prepared, None
        if prepared:
            self._estimate = prepared.prediction or prepared.estimate
            await prepared.drop()

    async def _heard(self, end: SpeechEnd, text: str) -> None:
        known_at, self._end_known_at = self._end_known_at or self._clock(), None
        turn = self._turn
        if turn and not turn.is_over:
            if turn.is_speaking:
                if self._is_no_interruption(turn, text, end.clip):
                    self._let_go_on()
                    return
            else:
                # Nothing was answered yet: the speaker had only paused, and goes on.
                text = f"{turn.transcript} {text}"
                await self._end_turn(interrupted=True, forget=True)
        await self._end_turn(interrupted=True)
        if self._goes_on(end):
            await self._take_back()
            self._parts.text = self._parts.followed_by(text)
        elif not speakable(self._parts.followed_by(text)):
            self._parts = _Parts()
            await self._take_back()
        else:
            self._follow_trace(await self._begin_heard(text), end, known_at)

    async def _unheard(self, event: NoTranscript) -> None:
        """No words were understood, or the recogniser failed: what was said before is answered, where there is any."""
        if event.problem:
            self._parts.problems.append(f"the recogniser failed: {event.problem}")
        if self._goes_on(event.end):
            await self._take_back()
            self._let_go_on()
        elif self._parts.text:
            await self._heard(event.end, "")
        else:
            problems, self._parts = self._parts.problems, _Parts()
            await self._take_back()
            self._estimate = None
            self._let_go_on()
            if problems and self._turn is None:
                self._begin_turn("", *problems)

    def _goes_on(self, end: SpeechEnd) -> bool:
        """Whether the speaker was merely cut, and may go on before he is answered."""
        if end.reason != "limit":
            return False
        self._parts.seconds += end.clip.seconds
        return self._parts.seconds < self.settings.longest_turn_s

    async def _begin_heard(self, text: str) -> OngoingTurn:
        """Begin the turn that `text` ends, with the answer that was prepared for it where there is one."""
        parts, self._parts = self._parts, _Parts()
        text = parts.followed_by(text)
        if self._prepared and self._prepared.transcript == text:
            turn, self._prepared = self._prepared, None
            turn.problems += parts.problems
            return self._release(turn)
        await self._take_back()
        return self._begin_turn(text, *parts.problems)

    def _follow_trace(self, turn: OngoingTurn, end: SpeechEnd, known_at: float) -> None:
        """Count the turn's time from the end of the speech, which was known at the moment `known_at`."""
        turn.trace.zero = known_at - (end.known_at - end.end) / end.clip.sample_rate
        turn.trace.record("endpoint", turn.trace.zero, known_at)
        turn.trace.record("recognise", known_at, self._clock())

    def _is_no_interruption(self, turn: OngoingTurn, text: str, clip: AudioClip) -> bool:
        if not self._may_be_interrupted(turn) or is_backchannel(text):
            return True
        if clip.seconds < self.settings.least_interruption_s or repeats(text, turn.heard):
            return True
        return self._is_echo(clip)

    def _is_echo(self, clip: AudioClip, within_s: float | None = None) -> bool:
        """Whether `clip` is the answer's own sound, of the last `within_s` seconds where that is given."""
        if self._turn is None or not self._turn.is_speaking:
            return False
        played = self._turn.player.recent
        if within_s:
            played = played.cut(max(0, len(played) - round(within_s * played.sample_rate)), len(played))
        return is_echo(clip.samples, played.resample(clip.sample_rate).samples)

    def _may_be_interrupted(self, turn: OngoingTurn) -> bool:
        spoken = sum(played.samples for played in turn.played) / turn.player.recent.sample_rate
        return not self.settings.half_duplex and spoken >= self.settings.warm_up_s

    def _let_go_on(self) -> None:
        if self._turn and not self._turn.is_over:
            self._turn.suspected_at = None
            self._turn.player.resume()

    def _begin_estimate(self, text: str) -> None:
        if self._estimating is None or self._estimating.done():
            self._estimating = asyncio.create_task(self._estimate_emotion(text))

    async def _estimate_emotion(self, text: str) -> None:
        before = self._numbers
        # Whatever is wrong with the classifier is told when the whole utterance is judged.
        with contextlib.suppress(Exception):
            estimate = (await self._offload(self.stages.classifier.classify, [text]))[0]
            if self._numbers == before:
                self._estimate = estimate

    def _begin_turn(self, text: str, *problems: str) -> OngoingTurn:
        """Answer `text`; without a text, ask for it again."""
        return self._release(self._start(text, *problems))

    def _start(self, text: str, *problems: str) -> OngoingTurn:
        """Set to work on the answer to `text`; nothing is heard of it before its release."""
        turn = OngoingTurn(
            text,
            Trace(self._clock),
            self._estimate,
            messages=self.history.recent(),
            emotions=self._emotions,
            problems=list(problems),
        )
        turn.task = asyncio.create_task(self._answerer.answer(turn), name="answer")
        return turn

    def _release(self, turn: OngoingTurn) -> OngoingTurn:
        """Make `turn` the present one, and let it be heard."""
        self._numbers += 1
        turn.number = self._numbers
        turn.player = self._new_player()
        self._turn = turn
        turn.released.set()
        self._answerer.show(turn)
        turn.task.add_done_callback(lambda _: self._close(turn, interrupted=False))
        return turn

    async def _end_turn(self, *, interrupted: bool, forget: bool = False) -> None:
        """Cancel the present turn where it is not over, and keep what was heard of it (`forget`: nothing)."""
        if turn := self._turn:
            turn.player.stop()
            self._close(turn, interrupted=interrupted, forget=forget)
            await turn.drop()

    def _close(self, turn: OngoingTurn, *, interrupted: bool, forget: bool = False) -> None:
        if self._turn is not turn:
            return
        self._turn = None
        self._estimate = None
        if turn.task and turn.task.done() and not turn.task.cancelled() and turn.task.exception():
            turn.problems.append(f"the turn broke off: {turn.task.exception()}")
        heard = "" if forget else turn.heard
        turn.player.stop()
        if forget:
            return
        if turn.transcript:
            self.history.add(turn.transcript, heard)
            self._emotions = [*self._emotions, turn.emotion][-self.safety.turns :]
        done = AgentTurn(
            turn.number, turn.transcript, turn.emotion, turn.style.tone, turn.style.voice, turn.distress, heard,
            " ".join(turn.clauses), interrupted, turn.prepared, tuple(turn.problems), turn.trace,
        )  # fmt: skip
        self.turns.append(done)
        self._on_turn(done)
