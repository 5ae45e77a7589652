"""One answer as it comes about: emotion, style, reply, clauses and sound, each beside the next.

An answer may be prepared before it is known that the speaker has finished: nothing of it reaches the player until its
turn is `released`. In a conversation in text the reply is shown piece by piece, and nothing is spoken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emolib.chat import TONES, Message
from emolib.dialogue.draft import Draft
from emolib.dialogue.ongoing import OngoingTurn
from emolib.dialogue.policy import Policy, ResponseStyle, style_of_contradiction
from emolib.dialogue.safety import CALM, Distress, SafetyPolicy
from emolib.dialogue.segment import segment, segment_stream
from emolib.dialogue.settings import AgentSettings
from emolib.dialogue.turn import FALLBACK
from emolib.errors import EmolibError, ServiceError
from emolib.labels import EmotionScores
from emolib.speakable import speakable
from emolib.stack import Engines

if TYPE_CHECKING:
    from emolib.audio import AudioClip
    from emolib.tts import SpeechRequest

__all__ = ["Answerer", "OnEmotion"]

#: Gets the emotion of the words (None: unknown), the classes of the voice (None: unheard), and what was made of both.
OnEmotion = Callable[[EmotionScores | None, Mapping[str, float] | None, EmotionScores], None]

_POLL_S = 0.02


@dataclass(frozen=True)
class Answerer:
    """Answers turns on `engines`; the fields are the arguments of `VoiceAgent`."""

    engines: Engines
    settings: AgentSettings
    policy: Policy
    safety: SafetyPolicy
    on_reply: Callable[[str, str], None]
    on_emotion: OnEmotion
    offload: Callable[..., Awaitable[Any]]
    clock: Callable[[], float]

    def show(self, turn: OngoingTurn) -> None:
        """Tell `on_reply` how far the answer is; of an answer that is only prepared, nothing."""
        if turn.released.is_set():
            self.on_reply(turn.written or turn.spoken, turn.spoken)

    def choose_style(self, turn: OngoingTurn) -> None:
        """Decide on distress and style by what is known of the emotion."""
        turn.distress = self.safety.distress(turn.transcript, turn.all_emotions)
        turn.style = self._style(turn) if turn.distress is Distress.NONE else CALM

    def _style(self, turn: OngoingTurn) -> ResponseStyle:
        """The style for what was felt: a contradiction of words and voice goes before the policy."""
        found = turn.contradicting
        return style_of_contradiction(*found) if found else self.policy(turn.all_emotions)

    async def answer(self, turn: OngoingTurn) -> None:
        """Answer `turn` until all was heard; without a transcript, ask for it again."""
        draft = self._begin_draft(turn)
        classifying = asyncio.create_task(self._predict(turn)) if self._wants_prediction(turn) else None
        try:
            if turn.transcript:
                await self._await_prediction(turn, classifying)
                self.choose_style(turn)
                self.on_emotion(turn.words, turn.voice_emotion, turn.emotion)
            if draft and (draft.tone != turn.style.tone or turn.distress is Distress.URGENT):
                await draft.drop()
                draft = None
            if self.engines.synthesizer is None:
                await self._show_answer(turn, draft)
            else:
                await self._speak_answer(turn, draft)
        finally:
            if classifying:
                classifying.cancel()
            if draft:
                await draft.drop()

    # --- emotion -------------------------------------------------------------------------------------

    def _wants_prediction(self, turn: OngoingTurn) -> bool:
        return bool(turn.transcript) and turn.prediction is None

    async def _await_prediction(self, turn: OngoingTurn, classifying: asyncio.Task[None] | None) -> None:
        """Wait for the emotion; when it is late or fails, the answer goes on with the last estimate.

        It is late only after the release: before, nobody waits for the answer. What is predicted late is still the
        emotion of the turn.
        """
        if classifying is None:
            return
        with turn.trace.stage("classify"):
            done = await self._until_due(turn, classifying, self.settings.classify_s)
        if not done:
            turn.problems.append("the classifier was late")

    async def _predict(self, turn: OngoingTurn) -> None:
        try:
            turn.prediction = (await self.offload(self.engines.classifier.classify, [turn.transcript]))[0]
        except Exception as error:  # an engine of the user's may raise anything, and the turn goes on
            turn.problems.append(f"the classifier failed: {_reason(error)}")

    async def _until_due(self, turn: OngoingTurn, task: asyncio.Task[Any], seconds: float) -> bool:
        """Wait for `task` until `seconds` after the release of `turn`; whether it is done."""

        async def due() -> None:
            await turn.released.wait()
            await asyncio.sleep(seconds)

        clock = asyncio.create_task(due())
        try:
            await asyncio.wait([task, clock], return_when=asyncio.FIRST_COMPLETED)
        finally:
            clock.cancel()
        return task.done()

    # --- reply ---------------------------------------------------------------------------------------

    def _begin_draft(self, turn: OngoingTurn) -> Draft | None:
        """Begin the reply in the tone of the estimate: most often the prediction is the same."""
        known = turn.words is not None
        if not turn.transcript or not known or not self.settings.preemptive or self.engines.stack.understanding:
            return None
        tone = self._style(turn).tone
        return Draft(self._reply(turn, tone), tone, self.clock)

    def _reply(self, turn: OngoingTurn, tone: str) -> AsyncIterator[str]:
        history = [*turn.messages, Message("user", turn.transcript)]
        return self.engines.reply_model.stream(history, turn.emotion, tone)

    async def _understand(self, turn: OngoingTurn) -> None:
        """Ask what the message is about; when that is late or fails, the reply does without."""
        from emolib.chat import understand

        history = [*turn.messages, Message("user", turn.transcript)]
        asking = asyncio.create_task(understand(self.engines.reply_model, history, turn.emotion))
        with turn.trace.stage("understand"):
            try:
                if await self._until_due(turn, asking, self.settings.understand_s):
                    turn.understanding = await asking
                else:
                    turn.problems.append("content understanding was late")
            except Exception as error:  # as above
                turn.problems.append(f"content understanding failed: {_reason(error)}")
            finally:
                asking.cancel()

    async def _reply_pieces(self, turn: OngoingTurn, draft: Draft | None) -> AsyncIterator[str]:
        """Yield the pieces of the model's reply: bounded; ServiceError when they stop coming."""
        turn.reply_from = self.engines.reply_model.name
        tone = turn.style.tone
        silence_s = max(self.settings.reply_s, getattr(self.engines.reply_model, "patience_s", 0.0))
        if self.engines.stack.understanding:
            await self._understand(turn)
            if turn.understanding:
                tone = f"{TONES.get(tone, tone)} {turn.understanding.guidance}"
        async with aclosing(draft.read() if draft else self._reply(turn, tone)) as pieces:
            while len(turn.written) < self.settings.longest_reply:
                try:
                    async with asyncio.timeout(silence_s):
                        piece = await anext(pieces, None)
                except TimeoutError:
                    raise ServiceError(f"the reply model was silent for {silence_s:g} s") from None
                if piece is None:
                    return
                turn.trace.mark("first_token")
                turn.trace.mark_latest("last_token")
                turn.pieces += 1
                turn.written += piece
                self.show(turn)
                yield piece
            turn.problems.append(f"the reply was cut after {self.settings.longest_reply} characters")

    # --- text ----------------------------------------------------------------------------------------

    async def _show_answer(self, turn: OngoingTurn, draft: Draft | None) -> None:
        await turn.released.wait()
        began = draft.began if draft else self.clock()
        try:
            if not turn.transcript:
                self._show_text(turn, FALLBACK, "the fallback sentence")
            elif turn.distress is not Distress.URGENT:
                try:
                    async with aclosing(self._reply_pieces(turn, draft)) as pieces:
                        async for _ in pieces:
                            pass
                except Exception as error:  # as above
                    turn.problems.append(f"the reply failed: {_reason(error)}")
                if not speakable(turn.written):
                    self._show_text(turn, FALLBACK, "the fallback sentence")
            if turn.distress is not Distress.NONE:
                self._show_text(turn, self.safety.help_for(turn.transcript), "the help message")
        finally:
            turn.trace.record("reply", began, self.clock())

    def _show_text(self, turn: OngoingTurn, text: str, origin: str) -> None:
        turn.written = f"{turn.written.rstrip()} {text}".strip()
        turn.reply_from = turn.reply_from or origin
        self.show(turn)

    # --- speech --------------------------------------------------------------------------------------

    async def _speak_answer(self, turn: OngoingTurn, draft: Draft | None) -> None:
        clauses: asyncio.Queue[str | None] = asyncio.Queue(self.settings.ahead)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write(turn, clauses, draft))
            group.create_task(self._speak(turn, clauses))
        await self._be_heard(turn)

    async def _write(self, turn: OngoingTurn, clauses: asyncio.Queue[str | None], draft: Draft | None) -> None:
        began = draft.began if draft else self.clock()
        try:
            if not turn.transcript:
                turn.reply_from = "the fallback sentence"
                await self._say(turn, clauses, FALLBACK)
            elif turn.distress is not Distress.URGENT:
                await self._write_reply(turn, clauses, draft)
            if turn.distress is not Distress.NONE:
                turn.reply_from = turn.reply_from or "the help message"
                for clause in segment(self.safety.help_for(turn.transcript)):
                    await self._say(turn, clauses, clause)
        finally:
            turn.trace.record("reply", began, self.clock())
        await clauses.put(None)

    async def _write_reply(self, turn: OngoingTurn, clauses: asyncio.Queue[str | None], draft: Draft | None) -> None:
        try:
            async with aclosing(self._reply_pieces(turn, draft)) as pieces:
                async for clause in segment_stream(pieces):
                    await self._say(turn, clauses, clause)
        except Exception as error:  # as above
            turn.problems.append(f"the reply failed: {_reason(error)}")
        if not turn.clauses:
            turn.reply_from = "the fallback sentence"
            await self._say(turn, clauses, FALLBACK)

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
        """Give the player a clause, piece by piece as its sound comes; before the release, only collect it."""
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
            problem = f"clause {number + 1} was not spoken: {_reason(error)}"
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
        """Put the sound of a clause into `pieces`, and None behind the last; TimeoutError when none comes for long."""
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
        """Yield the sound of `request`: as it comes when the synthesizer can stream it, else whole."""
        stream = getattr(self.engines.synthesizer, "stream", None)
        if stream is None:
            yield await self.offload(self.engines.synthesizer.synthesize, request)
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
            if now != position or turn.paused:
                position, since = now, self.clock()
            elif self.clock() - since > self.settings.stuck_s:
                turn.problems.append(f"the player stood still for {self.settings.stuck_s:g} s")
                break
        else:
            turn.played_out = True
        if (first := turn.trace.marks.get("first_sound")) is not None:
            turn.trace.record("play", turn.trace.zero + first, self.clock())


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, EmolibError) else f"{type(error).__name__}: {error}"
