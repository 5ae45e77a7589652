"""A conversation turn by turn: the question is recognised and felt, the reply written and spoken, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emolib.chat import Message
from emolib.dialogue.history import History
from emolib.dialogue.policy import Policy, ResponseStyle, choose_style
from emolib.dialogue.safety import CALM, Distress, SafetyPolicy
from emolib.dialogue.segment import segment, segment_stream
from emolib.dialogue.stages import Stages
from emolib.dialogue.threads import in_thread
from emolib.dialogue.trace import Trace
from emolib.dialogue.turn import FALLBACK, Turn
from emolib.emotions import EmotionScores
from emolib.errors import EmolibError
from emolib.speakable import speakable

if TYPE_CHECKING:
    from emolib.audio import AudioClip

__all__ = ["Conversation", "Exchange"]

# Clauses written ahead of the voice.
_AHEAD = 2
_PAUSE_SECONDS = 0.15
_LEAST_SECONDS = 0.6


@dataclass(frozen=True)
class Exchange:
    """A finished turn, its answer as sound, and the trace of its stages."""

    turn: Turn
    sound: AudioClip
    trace: Trace


class Conversation:
    """Answers recorded questions one after another on the engines of `stages`.

    `policy` chooses the style of the answer from the emotions, `safety` says what distress is, and
    `history` is where it goes on from. A turn that fails leaves the history as it was, and the next one
    works.
    """

    def __init__(
        self,
        stages: Stages,
        *,
        policy: Policy = choose_style,
        safety: SafetyPolicy | None = None,
        history: History | None = None,
    ) -> None:
        self.stages = stages
        self.policy = policy
        self.safety = safety or SafetyPolicy()
        self.history = history or History()
        self.emotions: list[EmotionScores] = []

    async def answer(self, question: AudioClip) -> Exchange:
        """Answer one question.

        InputError where nothing was said in it; ServiceError where the voice fails. A reply model that
        fails or says nothing is answered for by FALLBACK.
        """
        trace = Trace()
        with trace.stage("recognise"):
            transcript = (await in_thread(self.stages.recognizer.transcribe, question)).text
        with trace.stage("classify"):
            emotion = (await in_thread(self.stages.classifier.classify, [transcript]))[0]
        emotions = [*self.emotions, emotion]
        distress = self.safety.distress(transcript, emotions)
        style = self.policy(emotions) if distress is Distress.NONE else CALM
        reply = _Reply(self.stages, style, trace)
        await reply.make([*self.history.recent(), Message("user", transcript)], emotion, distress, self.safety)
        sound = _joined(reply.clips)
        self.emotions = emotions[-self.safety.turns :]
        self.history.add(transcript, reply.text)
        turn = Turn(
            transcript=transcript,
            emotion=emotion,
            reply=reply.text,
            reply_from=reply.origin,
            emotion_model=self.stages.emotion_model,
            tone=style.tone,
            voice=style.voice,
            distress=distress,
            answer_seconds=sound.seconds,
            latency_ms=trace.busy_ms() | trace.marks_ms() | {"total": round(trace.now() * 1000)},
        )
        return Exchange(turn, sound, trace)

    async def aclose(self) -> None:
        """Free what the reply model holds."""
        await self.stages.reply_model.aclose()


class _Reply:
    """One reply as it comes about: clauses are written, and spoken while the next ones are written."""

    def __init__(self, stages: Stages, style: ResponseStyle, trace: Trace) -> None:
        self._stages = stages
        self._style = style
        self._trace = trace
        self._clauses: asyncio.Queue[str | None] = asyncio.Queue(_AHEAD)
        self._written: list[str] = []
        self.origin = stages.reply_model.name
        self.clips: list[AudioClip] = []

    @property
    def text(self) -> str:
        return " ".join(self._written)

    async def make(
        self, history: Sequence[Message], emotion: EmotionScores, distress: Distress, safety: SafetyPolicy
    ) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write(history, emotion, distress, safety))
                group.create_task(self._speak())
        except* EmolibError as errors:
            raise errors.exceptions[0] from None

    async def _write(
        self, history: Sequence[Message], emotion: EmotionScores, distress: Distress, safety: SafetyPolicy
    ) -> None:
        with self._trace.stage("reply"):
            if distress is Distress.URGENT:
                self.origin = "the help message, for words of self-harm"
            else:
                await self._write_reply(history, emotion)
            if distress is not Distress.NONE:
                for clause in segment(safety.help_message):
                    await self._put(clause)
        await self._clauses.put(None)

    async def _write_reply(self, history: Sequence[Message], emotion: EmotionScores) -> None:
        name = self._stages.reply_model.name
        try:
            async with aclosing(self._stages.reply_model.stream(history, emotion, self._style.tone)) as pieces:
                async for clause in segment_stream(self._marked(pieces)):
                    await self._put(clause)
        except EmolibError as error:
            self.origin = f"{name}, broken off: {error}" if self._written else f"fallback: {error}"
        if not self._written:
            if self.origin == name:
                self.origin = f"fallback: {name} wrote nothing that can be spoken"
            await self._put(FALLBACK)

    async def _put(self, clause: str) -> None:
        if text := speakable(clause):
            self._written.append(text)
            await self._clauses.put(text)

    async def _marked(self, pieces: AsyncIterator[str]) -> AsyncIterator[str]:
        async for piece in pieces:
            self._trace.mark("first_token")
            yield piece

    async def _speak(self) -> None:
        from emolib.tts import SpeechRequest

        while (text := await self._clauses.get()) is not None:
            voice = self._style.voice
            request = SpeechRequest(text, voice.emotion, intensity=voice.intensity)
            with self._trace.stage("speak"):
                self.clips.append(await in_thread(self._stages.synthesizer.synthesize, request))
            self._trace.mark("first_sound")


def _joined(clips: Sequence[AudioClip]) -> AudioClip:
    """The clips in order with a breath after each, and silence at the end where they are very short."""
    import numpy as np

    from emolib.audio import AudioClip

    rate = clips[0].sample_rate
    breath = np.zeros(int(_PAUSE_SECONDS * rate), np.float32)
    samples = np.concatenate([part for clip in clips for part in (clip.resample(rate).samples, breath)])
    missing = int(_LEAST_SECONDS * rate) - len(samples)
    return AudioClip(np.pad(samples, (0, max(missing, 0))), rate, "the answer")
