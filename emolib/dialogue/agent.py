"""A spoken conversation that overlaps: it listens, feels, writes, speaks and can be interrupted, all at once.

What happens in the room comes as events (`emolib.speech.listen`). At the end of an utterance the emotion is judged
and the reply begins; its clauses are spoken while the next ones are written, and heard in order. Speech over the
answer pauses it at once: a back-channel word or a short sound lets it go on, anything else ends the turn, and of its
answer only what was heard stays in the history.

A turn has a number. An interrupted one is cancelled as a whole: nothing of it is heard later.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from emolib.chat import Message
from emolib.dialogue.care import CALM, Care, Distress
from emolib.dialogue.history import History
from emolib.dialogue.interruption import heard_words, is_backchannel, is_echo, repeats
from emolib.dialogue.policy import Policy, Voice, choose_voice
from emolib.dialogue.segment import segment, segment_stream
from emolib.dialogue.speakable import speakable
from emolib.dialogue.stages import Stages
from emolib.dialogue.trace import Span, Trace
from emolib.dialogue.turn import FALLBACK
from emolib.emotions import EMOTIONS, EmotionScores
from emolib.errors import EmolibError, ServiceError

if TYPE_CHECKING:
    from emolib.speech import AudioClip, Played

__all__ = ["AgentSettings", "AgentTurn", "Player", "VoiceAgent"]

_POLL_S = 0.02


class Player(Protocol):
    """Plays the numbered clauses of one turn in order; `emolib.speech.OrderedPlayer` is one."""

    def put(self, number: int, clip: AudioClip) -> None: ...
    def fail(self, number: int) -> None: ...
    def end(self, count: int) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def stop(self) -> list[Played]: ...

    @property
    def heard(self) -> list[Played]: ...

    @property
    def recent(self) -> AudioClip: ...


@dataclass(frozen=True)
class AgentSettings:
    """Seconds, but for `ahead` (clauses synthesised before they are played) and `longest_reply` (characters).

    The classifier has `classify_s`, then the reply goes on with the last estimate. A reply model may be silent for
    `reply_s`, a clause may take `speak_s` to be synthesised, and a player may stand still for `stuck_s`. Speech over
    the answer is an interruption from `least_interruption_s` on, and after the first `warm_up_s` of the answer; with
    `half_duplex` never, for loudspeakers beside an open microphone.
    """

    classify_s: float = 0.15
    reply_s: float = 20.0
    speak_s: float = 10.0
    stuck_s: float = 30.0
    ahead: int = 2
    longest_reply: int = 4000
    least_interruption_s: float = 0.5
    warm_up_s: float = 1.0
    half_duplex: bool = False


@dataclass(frozen=True)
class AgentTurn:
    """A turn that is over: what was heard of the speaker, what of the answer, and how long its stages took.

    `reply` is what was played, `written` what the reply model wrote until then; `problems` name what failed.
    """

    number: int
    transcript: str
    emotion: EmotionScores
    voice: Voice
    distress: Distress
    reply: str
    written: str
    interrupted: bool
    problems: tuple[str, ...]
    trace: Trace

    def as_dict(self) -> dict[str, Any]:
        """The turn for a trace file."""
        return {
            "turn": self.number,
            "transcript": self.transcript,
            "emotion": "neutral" if self.emotion.abstained else self.emotion.label,
            "probabilities": self.emotion.as_dict(),
            "voice": {"emotion": self.voice.emotion or "neutral", "intensity": self.voice.intensity},
            "distress": self.distress.value,
            "reply": self.reply,
            "written": self.written,
            "interrupted": self.interrupted,
            "problems": list(self.problems),
            **self.trace.as_dict(),
        }


@dataclass
class _Turn:
    """A turn in progress."""

    number: int
    transcript: str
    player: Player
    trace: Trace
    emotion: EmotionScores
    voice: Voice = field(default_factory=lambda: choose_voice(None))
    distress: Distress = Distress.NONE
    clauses: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    played_out: bool = False

    @property
    def heard(self) -> str:
        """What was played of the answer so far."""
        return heard_words(self.clauses, _shares(self.player.heard, self.played_out))

    @property
    def is_speaking(self) -> bool:
        return any(played.samples for played in self.player.heard)

    @property
    def is_over(self) -> bool:
        return self.task is None or self.task.done()


class VoiceAgent:
    """Holds a conversation on the engines of `stages`.

    `new_player` gives the player of a turn. `policy` chooses the voice from the emotion, `care` says what distress is
    and what is said then, `history` is where it goes on from, `on_turn` gets each turn as it ends. `offload` runs what
    blocks (default: worker threads). Whatever an engine does, the next turn works.
    """

    def __init__(
        self,
        stages: Stages,
        new_player: Callable[[], Player],
        *,
        settings: AgentSettings | None = None,
        policy: Policy = choose_voice,
        care: Care | None = None,
        history: History | None = None,
        on_turn: Callable[[AgentTurn], None] = lambda turn: None,
        offload: Callable[..., Awaitable[Any]] = asyncio.to_thread,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stages = stages
        self.settings = settings or AgentSettings()
        self.policy = policy
        self.care = care or Care()
        self.history = history or History()
        self.turns: list[AgentTurn] = []
        self._new_player = new_player
        self._on_turn = on_turn
        self._offload = offload
        self._clock = clock
        self._turn: _Turn | None = None
        self._numbers = 0
        self._emotions: list[EmotionScores] = []
        self._estimate: EmotionScores = _unknown()
        self._estimating: asyncio.Task[None] | None = None
        self._suspected_at: float | None = None

    async def converse(self, events: AsyncIterable[Any]) -> list[AgentTurn]:
        """Follow `events` to their end, let the last answer be heard, and give all turns.

        `events` are those of `emolib.speech.listen`; see `events_of` for a source.
        """
        try:
            async for event in events:
                await self._follow(event)
            if self._turn and self._turn.task:
                await asyncio.wait([self._turn.task])
        finally:
            await self._end_turn(interrupted=True)
            if self._estimating:
                self._estimating.cancel()
                await asyncio.gather(self._estimating, return_exceptions=True)
        return self.turns

    async def interrupt(self) -> None:
        """End the present answer, as a button does."""
        await self._end_turn(interrupted=True)

    async def _follow(self, event: Any) -> None:
        from emolib.speech import Heard, Partial, SpeechStart, Unheard

        if isinstance(event, SpeechStart):
            self._suspect()
        elif isinstance(event, Partial):
            await self._consider(event.text)
        elif isinstance(event, Heard):
            await self._heard(event.transcript.text, event.end.clip)
        elif isinstance(event, Unheard):
            self._let_go_on()
            if event.problem and self._turn is None:
                self._begin_turn("", f"the recogniser failed: {event.problem}")

    def _suspect(self) -> None:
        """Somebody speaks over the answer: be silent until it is known what it is."""
        turn = self._turn
        if turn is None or turn.is_over or not turn.is_speaking or not self._may_be_interrupted(turn):
            return
        turn.player.pause()
        turn.trace.mark("paused")
        self._suspected_at = self._clock()

    async def _consider(self, text: str) -> None:
        """A partial transcript: an estimate of the emotion, and perhaps an interruption."""
        if self._suspected_at is None:
            self._begin_estimate(text)
            return
        if is_backchannel(text) or (self._turn and repeats(text, self._turn.heard)):
            return
        if self._clock() - self._suspected_at >= self.settings.least_interruption_s:
            await self._end_turn(interrupted=True)

    async def _heard(self, text: str, clip: AudioClip) -> None:
        turn = self._turn
        if turn and not turn.is_over:
            if turn.is_speaking:
                if self._is_no_interruption(turn, text, clip):
                    self._let_go_on()
                    return
            else:
                # Nothing was answered yet: the speaker had only paused, and goes on.
                text = f"{turn.transcript} {text}"
                await self._end_turn(interrupted=True, forget=True)
        await self._end_turn(interrupted=True)
        if speakable(text):
            self._begin_turn(text)

    def _is_no_interruption(self, turn: _Turn, text: str, clip: AudioClip) -> bool:
        if not self._may_be_interrupted(turn) or is_backchannel(text):
            return True
        if clip.seconds < self.settings.least_interruption_s or repeats(text, turn.heard):
            return True
        played = turn.player.recent
        return is_echo(clip.samples, played.resample(clip.sample_rate).samples)

    def _may_be_interrupted(self, turn: _Turn) -> bool:
        spoken = sum(played.samples for played in turn.player.heard) / turn.player.recent.sample_rate
        return not self.settings.half_duplex and spoken >= self.settings.warm_up_s

    def _let_go_on(self) -> None:
        self._suspected_at = None
        if self._turn and not self._turn.is_over:
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

    def _begin_turn(self, text: str, *problems: str) -> None:
        """Answer `text`; without a text, ask for it again."""
        self._numbers += 1
        turn = _Turn(self._numbers, text, self._new_player(), Trace(self._clock), self._estimate)
        turn.problems += problems
        self._turn = turn
        turn.task = asyncio.create_task(self._answer(turn), name=f"turn {turn.number}")
        turn.task.add_done_callback(lambda _: self._close(turn, interrupted=False))

    async def _end_turn(self, *, interrupted: bool, forget: bool = False) -> None:
        """Cancel the present turn where it is not over, and keep what was heard of it (`forget`: nothing)."""
        turn, self._suspected_at = self._turn, None
        if turn is None:
            return
        if not turn.is_over:
            turn.player.stop()
            self._close(turn, interrupted=interrupted, forget=forget)
            turn.task.cancel()
            await asyncio.gather(turn.task, return_exceptions=True)
        self._close(turn, interrupted=interrupted, forget=forget)

    def _close(self, turn: _Turn, *, interrupted: bool, forget: bool = False) -> None:
        if self._turn is not turn:
            return
        self._turn = None
        self._estimate = _unknown()
        if turn.task and turn.task.done() and not turn.task.cancelled() and turn.task.exception():
            turn.problems.append(f"the turn broke off: {turn.task.exception()}")
        heard = "" if forget else turn.heard
        turn.player.stop()
        if forget:
            return
        if turn.transcript:
            self.history.add(turn.transcript, heard)
            self._emotions = [*self._emotions, turn.emotion][-self.care.turns :]
        done = AgentTurn(
            turn.number, turn.transcript, turn.emotion, turn.voice, turn.distress, heard, " ".join(turn.clauses),
            interrupted, tuple(turn.problems), turn.trace,
        )  # fmt: skip
        self.turns.append(done)
        self._on_turn(done)

    async def _answer(self, turn: _Turn) -> None:
        if turn.transcript:
            await self._feel(turn)
        clauses: asyncio.Queue[str | None] = asyncio.Queue(self.settings.ahead)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write(turn, clauses))
            group.create_task(self._speak(turn, clauses))
        await self._be_heard(turn)

    async def _feel(self, turn: _Turn) -> None:
        """Judge the emotion; late or failing, the last estimate stands."""
        with turn.trace.stage("classify"):
            judging = asyncio.ensure_future(self._offload(self.stages.classifier.classify, [turn.transcript]))
            # Not cancelled when it is late: a thread cannot be, and its answer does no harm.
            judging.add_done_callback(lambda task: task.cancelled() or task.exception())
            try:
                async with asyncio.timeout(self.settings.classify_s):
                    turn.emotion = (await asyncio.shield(judging))[0]
            except TimeoutError:
                turn.problems.append("the classifier was late")
            except Exception as error:  # an engine of the user's may raise anything, and the turn goes on
                turn.problems.append(f"the classifier failed: {_told(error)}")
        turn.distress = self.care.distress(turn.transcript, [*self._emotions, turn.emotion])
        turn.voice = self.policy(turn.emotion) if turn.distress is Distress.NONE else CALM

    async def _write(self, turn: _Turn, clauses: asyncio.Queue[str | None]) -> None:
        with turn.trace.stage("reply"):
            if not turn.transcript:
                await self._say(turn, clauses, FALLBACK)
            elif turn.distress is not Distress.URGENT:
                await self._write_reply(turn, clauses)
            if turn.distress is not Distress.NONE:
                for clause in segment(self.care.help_message):
                    await self._say(turn, clauses, clause)
        await clauses.put(None)

    async def _write_reply(self, turn: _Turn, clauses: asyncio.Queue[str | None]) -> None:
        history = [*self.history.recent(), Message("user", turn.transcript)]
        try:
            async with aclosing(self.stages.reply_model.stream(history, turn.emotion)) as pieces:
                async for clause in segment_stream(self._watched(turn, pieces)):
                    await self._say(turn, clauses, clause)
        except Exception as error:  # as above
            turn.problems.append(f"the reply failed: {_told(error)}")
        if not turn.clauses:
            await self._say(turn, clauses, FALLBACK)

    async def _watched(self, turn: _Turn, pieces: AsyncIterator[str]) -> AsyncIterator[str]:
        """The pieces of the reply: bounded, and a ServiceError where they stop coming."""
        written = 0
        while written < self.settings.longest_reply:
            try:
                async with asyncio.timeout(self.settings.reply_s):
                    piece = await anext(pieces, None)
            except TimeoutError:
                raise ServiceError(f"the reply model was silent for {self.settings.reply_s:g} s") from None
            if piece is None:
                return
            turn.trace.mark("first_token")
            written += len(piece)
            yield piece
        turn.problems.append(f"the reply was cut after {self.settings.longest_reply} characters")

    async def _say(self, turn: _Turn, clauses: asyncio.Queue[str | None], clause: str) -> None:
        if text := speakable(clause):
            turn.clauses.append(text)
            await clauses.put(text)

    async def _speak(self, turn: _Turn, clauses: asyncio.Queue[str | None]) -> None:
        from emolib.tts import SpeechRequest

        number = 0
        while (text := await clauses.get()) is not None:
            await self._until_near(turn, number)
            request = SpeechRequest(text, turn.voice.emotion, intensity=turn.voice.intensity)
            try:
                with turn.trace.stage("speak"):
                    async with asyncio.timeout(self.settings.speak_s):
                        clip = await self._offload(self.stages.synthesizer.synthesize, request)
                turn.player.put(number, clip)
                turn.trace.mark("first_sound")
            except TimeoutError:
                turn.problems.append(f"clause {number + 1} was not spoken within {self.settings.speak_s:g} s")
                turn.player.fail(number)
            except Exception as error:  # as above
                turn.problems.append(f"clause {number + 1} was not spoken: {_told(error)}")
                turn.player.fail(number)
            number += 1
        turn.player.end(number)

    async def _until_near(self, turn: _Turn, number: int) -> None:
        """Wait until clause `number` is at most `ahead` clauses after the one that is being heard."""
        waited_since = self._clock()
        while number - sum(played.samples == played.total for played in turn.player.heard) > self.settings.ahead:
            await asyncio.sleep(_POLL_S)
            if self._clock() - waited_since > self.settings.stuck_s:
                return

    async def _be_heard(self, turn: _Turn) -> None:
        """Wait until the answer was played; a player that stands still for too long is given up."""
        position, since = -1, self._clock()
        while not turn.player.wait(0):
            await asyncio.sleep(_POLL_S)
            now = sum(played.samples for played in turn.player.heard)
            if now != position or self._suspected_at is not None:
                position, since = now, self._clock()
            elif self._clock() - since > self.settings.stuck_s:
                turn.problems.append(f"the player stood still for {self.settings.stuck_s:g} s")
                break
        else:
            turn.played_out = True
        if (first := turn.trace.marks.get("first_sound")) is not None:
            turn.trace.spans.append(Span("play", first, turn.trace.now()))


def _shares(heard: Sequence[Played], played_out: bool) -> list[float | None]:
    """Of each clause, the share that was heard; None for one that failed.

    Once all was `played_out`, what is still on its way through the device is heard too.
    """

    def share(played: Played) -> float | None:
        if played.failed:
            return None
        return 1.0 if played.complete or played_out else played.samples / max(played.total, 1)

    return [share(played) for played in heard]


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, EmolibError) else f"{type(error).__name__}: {error}"


def _unknown() -> EmotionScores:
    return EmotionScores.from_sequence([1 / len(EMOTIONS)] * len(EMOTIONS))
