"""One answer as it comes about: the emotion is judged, clauses are written, spoken and heard, each beside the next.

An answer may be prepared before it is known that the speaker has finished: nothing of it reaches the player until its
turn is `released`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emolib.chat import Message
from emolib.dialogue.draft import Draft
from emolib.dialogue.ongoing import OngoingTurn
from emolib.dialogue.policy import Policy
from emolib.dialogue.safety import CALM, Distress, SafetyPolicy
from emolib.dialogue.segment import segment, segment_stream
from emolib.dialogue.settings import AgentSettings
from emolib.dialogue.stages import Stages
from emolib.dialogue.turn import FALLBACK
from emolib.errors import EmolibError, ServiceError
from emolib.speakable import speakable

if TYPE_CHECKING:
    from emolib.audio import AudioClip
    from emolib.tts import SpeechRequest

__all__ = ["Answerer"]

_POLL_S = 0.02


@dataclass(frozen=True)
class Answerer:
    """Answers turns on the engines of `stages`; the fields are the arguments of `VoiceAgent`."""

    stages: Stages
    settings: AgentSettings
    policy: Policy
    safety: SafetyPolicy
    on_reply: Callable[[str, str], None]
    offload: Callable[..., Awaitable[Any]]
    clock: Callable[[], float]

    def show(self, turn: OngoingTurn) -> None:
        """Tell `on_reply` how far the answer is; of an answer that is only prepared, nothing."""
        if turn.released.is_set():
            self.on_reply(turn.written or turn.spoken, turn.spoken)

    async def answer(self, turn: OngoingTurn) -> None:
        """Answer `turn` until all was heard; without a transcript, ask for it again."""
        draft = self._begin_draft(turn)
        try:
            if turn.transcript:
                await self._feel(turn)
            if draft and (draft.tone != turn.style.tone or turn.distress is Distress.URGENT):
                await draft.drop()
                draft = None
            clauses: asyncio.Queue[str | None] = asyncio.Queue(self.settings.ahead)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write(turn, clauses, draft))
                group.create_task(self._speak(turn, clauses))
            await self._be_heard(turn)
        finally:
            if turn.judging:
                turn.judging.cancel()
            if draft:
                await draft.drop()

    def _begin_draft(self, turn: OngoingTurn) -> Draft | None:
        """Have the reply begun in the tone of the estimate: most often the prediction is the same."""
        if not turn.transcript or not turn.estimate or not self.settings.preemptive:
            return None
        tone = self.policy([*turn.emotions, turn.estimate]).tone
        return Draft(self._reply(turn, tone), tone, self.clock)

    def _reply(self, turn: OngoingTurn, tone: str) -> AsyncIterator[str]:
        history = [*turn.messages, Message("user", turn.transcript)]
        return self.stages.reply_model.stream(history, turn.emotion, tone)

    async def _feel(self, turn: OngoingTurn) -> None:
        """Judge the emotion; late or failing, the answer goes on with the last estimate.

        It is late only from the release on: before, nobody waits for the answer. What is judged late is still the
        emotion of the turn.
        """
        turn.judging = asyncio.create_task(self._judge(turn))
        hurry = asyncio.create_task(self._hurry(turn))
        with turn.trace.stage("classify"):
            try:
                await asyncio.wait([turn.judging, hurry], return_when=asyncio.FIRST_COMPLETED)
            finally:
                hurry.cancel()
        if not turn.judging.done():
            turn.problems.append("the classifier was late")
        emotions = [*turn.emotions, turn.emotion]
        turn.distress = self.safety.distress(turn.transcript, emotions)
        turn.style = self.policy(emotions) if turn.distress is Distress.NONE else CALM

    async def _judge(self, turn: OngoingTurn) -> None:
        try:
            turn.prediction = (await self.offload(self.stages.classifier.classify, [turn.transcript]))[0]
        except Exception as error:  # an engine of the user's may raise anything, and the turn goes on
            turn.problems.append(f"the classifier failed: {_told(error)}")

    async def _hurry(self, turn: OngoingTurn) -> None:
        await turn.released.wait()
        await asyncio.sleep(self.settings.classify_s)

    async def _write(self, turn: OngoingTurn, clauses: asyncio.Queue[str | None], draft: Draft | None) -> None:
        began = draft.began if draft else self.clock()
        try:
            if not turn.transcript:
                await self._say(turn, clauses, FALLBACK)
            elif turn.distress is not Distress.URGENT:
                await self._write_reply(turn, clauses, draft)
            if turn.distress is not Distress.NONE:
                for clause in segment(self.safety.help_message):
                    await self._say(turn, clauses, clause)
        finally:
            turn.trace.record("reply", began, self.clock())
        await clauses.put(None)

    async def _write_reply(self, turn: OngoingTurn, clauses: asyncio.Queue[str | None], draft: Draft | None) -> None:
        try:
            async with aclosing(draft.read() if draft else self._reply(turn, turn.style.tone)) as pieces:
                async for clause in segment_stream(self._watched(turn, pieces)):
                    await self._say(turn, clauses, clause)
        except Exception as error:  # as above
            turn.problems.append(f"the reply failed: {_told(error)}")
        if not turn.clauses:
            await self._say(turn, clauses, FALLBACK)

    async def _watched(self, turn: OngoingTurn, pieces: AsyncIterator[str]) -> AsyncIterator[str]:
        """The pieces of the reply: bounded, and a ServiceError where they stop coming."""
        while len(turn.written) < self.settings.longest_reply:
            try:
                async with asyncio.timeout(self.settings.reply_s):
                    piece = await anext(pieces, None)
            except TimeoutError:
                raise ServiceError(f"the reply model was silent for {self.settings.reply_s:g} s") from None
            if piece is None:
                return
            turn.trace.mark("first_token")
            turn.written += piece
            self.show(turn)
            yield piece
        turn.problems.append(f"the reply was cut after {self.settings.longest_reply} characters")

    async def _say(self, turn: OngoingTurn, clauses: asyncio.Queue[str | None], clause: str) -> None:
        if text := speakable(clause):
            turn.clauses.append(text)
            await clauses.put(text)

    async def _speak(self, turn: OngoingTurn, clauses: asyncio.Queue[str | None]) -> None:
        number = 0
        while (text := await clauses.get()) is not None:
            await self._until_near(turn, number)
            await self._speak_clause(turn, number, text)
            number += 1
        await turn.released.wait()
        turn.player.end(number)

    async def _speak_clause(self, turn: OngoingTurn, number: int, text: str) -> None:
        """Give the player a clause, piece by piece as its sound comes; before the release nothing but collect it."""
        pieces: asyncio.Queue[AudioClip | None] = asyncio.Queue()
        voicing = asyncio.create_task(self._voice(turn, text, pieces), name="voice")
        problem, begun = None, False
        try:
            await turn.released.wait()
            while (piece := await pieces.get()) is not None:
                turn.player.push(number, piece)
                if not begun:
                    begun = True
                    turn.trace.mark("first_sound")
                    turn.spoken = text
                    self.show(turn)
            await voicing
        except TimeoutError:
            problem = f"clause {number + 1} was not spoken within {self.settings.speak_s:g} s"
        except Exception as error:  # as above
            problem = f"clause {number + 1} was not spoken: {_told(error)}"
        finally:
            voicing.cancel()
            await asyncio.gather(voicing, return_exceptions=True)
        if problem:
            turn.problems.append(problem)
        if problem and begun:
            turn.broken_off.add(number)
        if problem and not begun:
            turn.player.fail(number)
        else:
            turn.player.finish(number)

    async def _voice(self, turn: OngoingTurn, text: str, pieces: asyncio.Queue[AudioClip | None]) -> None:
        """Put the sound of a clause into `pieces`, and None behind the last; TimeoutError where none comes for long."""
        from emolib.tts import SpeechRequest

        voice = turn.style.voice
        request = SpeechRequest(text, voice.emotion, intensity=voice.intensity)
        try:
            with turn.trace.stage("speak"):
                async with aclosing(self._sound(request)) as sound:
                    while True:
                        async with asyncio.timeout(self.settings.speak_s):
                            piece = await anext(sound, None)
                        if piece is None:
                            break
                        pieces.put_nowait(piece)
        finally:
            pieces.put_nowait(None)

    async def _sound(self, request: SpeechRequest) -> AsyncIterator[AudioClip]:
        """The sound of `request`: as it comes, where the synthesizer can stream it, else whole."""
        stream = getattr(self.stages.synthesizer, "stream", None)
        if stream is None:
            yield await self.offload(self.stages.synthesizer.synthesize, request)
            return
        pieces = await self.offload(stream, request)
        while (piece := await self.offload(next, pieces, None)) is not None:
            yield piece

    async def _until_near(self, turn: OngoingTurn, number: int) -> None:
        """Wait until clause `number` is at most `ahead` clauses after the one that is being heard."""
        waited_since, ahead = self.clock(), self.settings.ahead
        while number - sum(played.whole and played.samples == played.total for played in turn.played) > ahead:
            await asyncio.sleep(_POLL_S)
            if self.clock() - waited_since > self.settings.stuck_s:
                return

    async def _be_heard(self, turn: OngoingTurn) -> None:
        """Wait until the answer was played; a player that stands still for too long is given up."""
        position, since = -1, self.clock()
        while not turn.player.wait(0):
            await asyncio.sleep(_POLL_S)
            now = sum(played.samples for played in turn.played)
            if now != position or turn.suspected_at is not None:
                position, since = now, self.clock()
            elif self.clock() - since > self.settings.stuck_s:
                turn.problems.append(f"the player stood still for {self.settings.stuck_s:g} s")
                break
        else:
            turn.played_out = True
        if (first := turn.trace.marks.get("first_sound")) is not None:
            turn.trace.record("play", turn.trace.zero + first, self.clock())


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, EmolibError) else f"{type(error).__name__}: {error}"
