"""The turn engine: it listens, understands, writes and speaks at once, and can be interrupted.

What happens comes as events: those of `emolib.speech.listen` from a source of sound, or lines of text. The state is one
value (`emolib.dialogue.state`), and each move from one to another has one method here:

    listening ──_prepare──► preparing ──_release──► answering ◄──_resume── suspected
        ▲                       │                      │  ──_suspect──►        │
        └──_discard_prepared────┘                      │                       │
        └──────────────────────_end_turn───────────────┴───────────────────────┘

In each pause of the speaker an answer is prepared, unheard; once it is known that the pause was the end, it is heard at
once, clause by clause. What sounds like speech over the answer pauses it: a back-channel word or a short sound lets it
resume, anything else ends the turn, and only what was heard of its answer stays in the history.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emolib.dialogue.answering import Answerer, OnEmotion
from emolib.dialogue.events import TextInput
from emolib.dialogue.history import History
from emolib.dialogue.interruption import is_backchannel, is_echo, repeats
from emolib.dialogue.ongoing import OngoingTurn, Player
from emolib.dialogue.policy import Policy, choose_style
from emolib.dialogue.safety import SafetyPolicy
from emolib.dialogue.settings import AgentSettings
from emolib.dialogue.state import Phase, State
from emolib.dialogue.threads import in_thread
from emolib.dialogue.trace import Trace
from emolib.dialogue.turn import Turn
from emolib.labels import EmotionScores
from emolib.speakable import speakable
from emolib.stack import Engines

if TYPE_CHECKING:
    from emolib.audio import AudioClip
    from emolib.speech import NoTranscript, Partial, SpeechEnd, Transcript

__all__ = ["VoiceAgent"]


#: How long ago the loudspeaker played what is only heard now, at most.
_ECHO_S = 2.0


@dataclass
class _Utterance:
    """What the speaker has said since the last turn: the parts of it that were cut because it was long, the emotion
    estimated from partial transcripts, what failed meanwhile, and how many prepared answers were not used."""

    text: str = ""
    seconds: float = 0.0
    estimate: EmotionScores | None = None
    problems: list[str] = field(default_factory=list)
    discarded: int = 0

    def followed_by(self, text: str) -> str:
        return f"{self.text} {text}".strip()


class VoiceAgent:
    """Holds a conversation on `engines`.

    `new_player` makes the player of a turn; without it (None) the conversation is in text. `policy` chooses the style
    of the answer from the emotions, `safety` decides on distress, `history` is where it goes on from.
    `on_reply` gets the reply as far as it is written and the clause that was last given to the player, whenever either
    changes; `on_emotion` what was felt and heard; `on_turn` each turn as it ends. `offload` runs what blocks (default:
    worker threads). Whatever an engine does, the next turn works.
    """

    def __init__(
        self,
        engines: Engines,
        new_player: Callable[[], Player] | None = None,
        *,
        settings: AgentSettings | None = None,
        policy: Policy = choose_style,
        safety: SafetyPolicy | None = None,
        history: History | None = None,
        on_reply: Callable[[str, str], None] = lambda written, spoken: None,
        on_emotion: OnEmotion = lambda words, voice, fused: None,
        on_turn: Callable[[Turn], None] = lambda turn: None,
        offload: Callable[..., Awaitable[Any]] = in_thread,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engines = engines
        self.settings = settings or AgentSettings()
        self.safety = safety or SafetyPolicy()
        self.history = history or History()
        self.turns: list[Turn] = []
        self.state = State(since=clock())
        self._answerer = Answerer(engines, self.settings, policy, self.safety, on_reply, on_emotion, offload, clock)
        self._new_player = new_player
        self._on_turn = on_turn
        self._on_emotion = on_emotion
        self._offload = offload
        self._clock = clock
        self._utterance = _Utterance()
        self._emotions: list[EmotionScores] = []
        self._estimating: asyncio.Task[None] | None = None
        self._end_known_at: float | None = None

    @property
    def speaking(self) -> str:
        """The clause of the current answer that is being heard, or was last."""
        turn = self.state.answering
        return turn.clause_heard if turn else ""

    async def converse(self, events: AsyncIterable[Any]) -> list[Turn]:
        """Follow `events` to their end, let the last answer be heard, and return all turns.

        The events are those of `emolib.speech.listen` (`events_of` makes them from a source), and `TextInput`. When it
        is cancelled, everything is ended first; the turns so far stay in `turns`. Called again, it goes on from there.
        """
        if self.state.phase is Phase.OVER:
            self._move(Phase.LISTENING)
        try:
            async for event in events:
                await self._follow(event)
                if self.settings.in_turns:
                    await self._answer_over()
            if self._utterance.text:
                await self._begin_turn("")
            await self._answer_over()
        finally:
            await self._discard_prepared()
            await self._end_turn()
            await self._stop_estimating()
            self._move(Phase.OVER)
        return self.turns

    async def interrupt(self) -> None:
        """End the current answer, as a button does."""
        await self._end_turn()

    # --- events --------------------------------------------------------------------------------------

    async def _follow(self, event: Any) -> None:
        from emolib.speech import FalseAlarm, NoTranscript, Partial, SpeechEnd, SpeechLikely, SpeechStart, Transcribed

        if isinstance(event, SpeechLikely):
            if not self._is_echo(event.clip, _ECHO_S):
                self._suspect()
        elif isinstance(event, SpeechStart):
            self._suspect()
        elif isinstance(event, FalseAlarm):
            self._resume()
        elif isinstance(event, Partial):
            await self._on_partial(event)
        elif isinstance(event, SpeechEnd):
            self._end_known_at = self._clock()
        elif isinstance(event, Transcribed):
            await self._on_transcript(event.end, event.transcript)
        elif isinstance(event, NoTranscript):
            await self._on_no_transcript(event)
        elif isinstance(event, TextInput):
            await self._on_text(event.text)

    async def _on_text(self, text: str) -> None:
        await self._end_turn()
        await self._begin_turn(text)

    async def _on_partial(self, partial: Partial) -> None:
        """Estimate the emotion, prepare an answer, or end the one that is being interrupted."""
        text, state = partial.text, self.state
        if not state.answering and partial.in_pause and self.settings.preemptive:
            await self._prepare(self._utterance.followed_by(text), self._voice_of(partial))
        elif state.phase is not Phase.SUSPECTED:
            self._begin_estimate(self._utterance.followed_by(text))
        elif not state.turn.is_speaking or is_backchannel(text) or repeats(text, state.turn.heard):
            return
        elif self._clock() - state.since >= self.settings.least_interruption_s:
            await self._end_turn()

    async def _on_transcript(self, end: SpeechEnd, transcript: Transcript) -> None:
        known_at, self._end_known_at = self._end_known_at or self._clock(), None
        text, turn = transcript.text, self.state.answering
        if turn and not turn.is_over:
            if turn.is_speaking:
                if self._is_no_interruption(turn, text, end.clip):
                    self._utterance = _Utterance()
                    self._resume()
                    return
            else:
                # Nothing was answered yet: the speaker had only paused, and goes on.
                text = f"{turn.transcript} {text}"
                await self._end_turn(forget=True)
        await self._end_turn()
        if self._is_continued(end):
            await self._discard_prepared()
            self._utterance.text = self._utterance.followed_by(text)
        elif not speakable(self._utterance.followed_by(text)):
            await self._discard_prepared()
            self._utterance = _Utterance()
        else:
            turn = await self._begin_turn(text, self._voice_of(transcript))
            # The turn's time counts from the end of the speech, which was known at the moment `known_at`.
            turn.trace.zero = known_at - (end.known_at - end.end) / end.clip.sample_rate
            turn.trace.record("endpoint", turn.trace.zero, known_at)
            turn.trace.record("recognise", known_at, self._clock())

    async def _on_no_transcript(self, event: NoTranscript) -> None:
        """No words were understood, or the recogniser failed: what was said before is answered, if there is any."""
        if event.problem:
            self._utterance.problems.append(f"the recogniser failed: {event.problem}")
        if self._is_continued(event.end):
            await self._discard_prepared()
            self._resume()
        elif self._utterance.text:
            from emolib.speech import Transcript

            await self._on_transcript(event.end, Transcript(""))
        else:
            await self._discard_prepared()
            problems, self._utterance = self._utterance.problems, _Utterance()
            self._resume()
            if problems and not self.state.answering:
                self._utterance.problems = problems
                await self._begin_turn("")

    # --- moves ---------------------------------------------------------------------------------------

    def _move(self, phase: Phase, turn: OngoingTurn | None = None) -> None:
        self.state = self.state.to(phase, turn, self._clock())

    async def _prepare(self, text: str, voice: Mapping[str, float] | None) -> None:
        """Listening → preparing: answer `text` so that it can be heard at once, if it turns out to be all."""
        if self.state.prepared and self.state.prepared.transcript == text:
            return
        await self._discard_prepared()
        if speakable(text):
            turn = self._start(text, voice)
            turn.prepared = True
            self._move(Phase.PREPARING, turn)

    async def _discard_prepared(self) -> None:
        """Preparing → listening: nothing is kept of the prepared answer but what it knew of the emotion."""
        if turn := self.state.prepared:
            self._move(Phase.LISTENING)
            self._utterance.estimate = turn.words
            self._utterance.discarded += 1
            await turn.drop()

    def _release(self, turn: OngoingTurn) -> None:
        """Preparing or listening → answering: let `turn` be heard."""
        turn.number = len(self.turns) + 1
        turn.player = self._new_player() if self._new_player else None
        self._utterance = _Utterance()
        self._move(Phase.ANSWERING, turn)
        turn.released.set()
        self._answerer.show(turn)
        turn.task.add_done_callback(lambda _: self._close(turn, interrupted=False))

    def _suspect(self) -> None:
        """Answering → suspected: be silent until it is known whether somebody interrupts, or goes on speaking."""
        turn = self.state.turn
        if self.state.phase is not Phase.ANSWERING or turn.is_over or turn.player is None:
            return
        if turn.is_speaking and not self._may_be_interrupted(turn):
            return
        turn.player.pause()
        turn.paused = True
        turn.trace.mark("paused")
        self._move(Phase.SUSPECTED, turn)

    def _resume(self) -> None:
        """Suspected → answering: it was nothing."""
        if self.state.phase is Phase.SUSPECTED:
            turn = self.state.turn
            self._move(Phase.ANSWERING, turn)
            turn.paused = False
            turn.player.resume()

    async def _end_turn(self, *, forget: bool = False) -> None:
        """Answering or suspected → listening: cancel the turn, and keep what was heard of it (`forget`: nothing)."""
        if turn := self.state.answering:
            turn.stop_playing()
            self._close(turn, interrupted=True, forget=forget)
            await turn.drop()

    def _close(self, turn: OngoingTurn, *, interrupted: bool, forget: bool = False) -> None:
        if self.state.answering is not turn:
            return
        self._move(Phase.LISTENING)
        if turn.task.done() and not turn.task.cancelled() and turn.task.exception():
            turn.problems.append(f"the turn broke off: {turn.task.exception()}")
        heard = turn.heard
        turn.stop_playing()
        if forget:
            return
        if turn.transcript:
            self.history.add(turn.transcript, heard, turn.style.tone)
            self._emotions = [*self._emotions, turn.emotion][-self.safety.turns :]
        done = self._finished(turn, heard, interrupted)
        self.turns.append(done)
        self._on_turn(done)

    # --- turns ---------------------------------------------------------------------------------------

    async def _begin_turn(self, text: str, voice: Mapping[str, float] | None = None) -> OngoingTurn:
        """Answer what was said up to `text` (nothing: ask for it again), with what was prepared for it if that fits."""
        text = self._utterance.followed_by(text)
        turn, problems = self.state.prepared, self._utterance.problems
        if not (turn and turn.transcript == text and self._still_fits(turn, voice)):
            known = turn.prediction if turn and turn.transcript == text else None
            await self._discard_prepared()
            turn = self._start(text, voice, known)
        turn.problems += problems
        turn.discarded = self._utterance.discarded
        self._release(turn)
        return turn

    def _start(
        self, text: str, voice: Mapping[str, float] | None, prediction: EmotionScores | None = None
    ) -> OngoingTurn:
        """Begin the answer to `text`; nothing of it is heard before its release."""
        turn = OngoingTurn(
            text,
            Trace(self._clock),
            messages=self.history.recent(),
            emotions=self._emotions,
            estimate=self._utterance.estimate,
            voice_emotion=voice,
            prediction=prediction,
        )
        turn.task = asyncio.create_task(self._answerer.answer(turn), name="answer")
        return turn

    def _still_fits(self, turn: OngoingTurn, voice: Mapping[str, float] | None) -> bool:
        """Whether the answer of `turn`, prepared on part of the voice, suits the whole of it; notes the whole."""
        before, turn.voice_emotion = turn.voice_emotion, voice
        if voice == before or turn.prediction is None:
            return True
        style = turn.style
        self._answerer.choose_style(turn)
        return (style.tone, style.voice.emotion) == (turn.style.tone, turn.style.voice.emotion)

    def _finished(self, turn: OngoingTurn, heard: str, interrupted: bool) -> Turn:
        return Turn(
            number=turn.number,
            transcript=turn.transcript,
            emotion=turn.emotion,
            tone=turn.style.tone,
            voice=turn.style.voice,
            distress=turn.distress,
            reply=heard,
            written=" ".join(turn.clauses) if turn.player else turn.written,
            reply_from=turn.reply_from,
            interrupted=interrupted,
            prepared=turn.prepared,
            discarded=turn.discarded,
            problems=tuple(turn.problems),
            trace=turn.trace,
            words=turn.words,
            voice_emotion=turn.voice_emotion,
            understanding=turn.understanding,
            pieces=turn.pieces,
            stack=self.engines.stack.as_dict(),
        )

    async def _answer_over(self) -> None:
        """Wait until the current answer is over."""
        while turn := self.state.answering:
            await asyncio.wait([turn.task])
            # Its callback, which closes the turn, runs after this task was woken.
            await asyncio.sleep(0)

    def _voice_of(self, heard: Partial | Transcript) -> Mapping[str, float] | None:
        return None if self.engines.stack.voice_emotion == "off" else heard.voice_emotion

    def _is_continued(self, end: SpeechEnd) -> bool:
        """Whether the utterance was only cut because it is long, and may go on before it is answered."""
        if end.reason != "limit":
            return False
        self._utterance.seconds += end.clip.seconds
        return self._utterance.seconds < self.settings.longest_turn_s

    # --- interruption --------------------------------------------------------------------------------

    def _is_no_interruption(self, turn: OngoingTurn, text: str, clip: AudioClip) -> bool:
        if not self._may_be_interrupted(turn) or is_backchannel(text):
            return True
        if clip.seconds < self.settings.least_interruption_s or repeats(text, turn.heard):
            return True
        return self._is_echo(clip)

    def _is_echo(self, clip: AudioClip, within_s: float | None = None) -> bool:
        """Whether `clip` is the answer's own sound, of the last `within_s` seconds if that is given."""
        turn = self.state.answering
        if turn is None or turn.player is None or not turn.is_speaking:
            return False
        played = turn.player.recent
        if within_s:
            played = played.cut(max(0, len(played) - round(within_s * played.sample_rate)), len(played))
        return is_echo(clip.samples, played.resample(clip.sample_rate).samples)

    def _may_be_interrupted(self, turn: OngoingTurn) -> bool:
        spoken = sum(played.samples for played in turn.played) / turn.player.recent.sample_rate
        return not self.settings.half_duplex and spoken >= self.settings.warm_up_s

    # --- estimate ------------------------------------------------------------------------------------

    def _begin_estimate(self, text: str) -> None:
        if self._estimating is None or self._estimating.done():
            self._estimating = asyncio.create_task(self._estimate_emotion(text, self._utterance))

    async def _estimate_emotion(self, text: str, utterance: _Utterance) -> None:
        # Whatever is wrong with the classifier is told when the whole utterance is classified.
        with contextlib.suppress(Exception):
            utterance.estimate = (await self._offload(self.engines.classifier.classify, [text]))[0]
            self._on_emotion(utterance.estimate, None, utterance.estimate)

    async def _stop_estimating(self) -> None:
        if self._estimating:
            self._estimating.cancel()
            await asyncio.gather(self._estimating, return_exceptions=True)
