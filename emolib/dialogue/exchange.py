"""A turn: the question is recognised and felt, the reply written and spoken clause by clause, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emolib.chat import Message
from emolib.dialogue.policy import Policy, Voice, choose_voice
from emolib.dialogue.segment import segment_stream
from emolib.dialogue.speakable import speakable
from emolib.dialogue.stages import Stages
from emolib.dialogue.trace import Trace
from emolib.dialogue.turn import Turn
from emolib.emotions import EmotionScores
from emolib.errors import EmolibError

if TYPE_CHECKING:
    from emolib.speech import AudioClip

__all__ = ["FALLBACK", "Answer", "answer_question"]

#: What is said where the reply model gives nothing that can be spoken.
FALLBACK = "I am sorry, I could not find an answer just now. Could you say that again?"

# Clauses written ahead of the voice.
_AHEAD = 2
_PAUSE_SECONDS = 0.15
_LEAST_SECONDS = 0.6


@dataclass
class Answer:
    """A reply as it comes about: its text so far, where that is from, and its clauses as sound."""

    reply: str = ""
    reply_from: str = ""
    clips: list[AudioClip] = field(default_factory=list)


async def answer_question(
    question: AudioClip, stages: Stages, history: Sequence[Message] = (), policy: Policy = choose_voice
) -> tuple[Turn, AudioClip, Trace]:
    """Answer one recorded question: the turn, its sound, and its trace.

    `history` holds the messages before it. InputError where nothing was said in it; ServiceError
    where the voice fails. A reply model that fails or says nothing is answered for by FALLBACK.
    """
    trace = Trace()
    with trace.stage("recognise"):
        transcript = (await asyncio.to_thread(stages.recognizer.transcribe, question)).text
    with trace.stage("classify"):
        emotion = (await asyncio.to_thread(stages.classifier.classify, [transcript]))[0]
    voice = policy(emotion)
    answer = await _answer([*history, Message("user", transcript)], emotion, voice, stages, trace)
    sound = _joined(answer.clips)
    latency = trace.busy_ms() | trace.marks_ms() | {"total": round(trace.now() * 1000)}
    turn = Turn(
        transcript, emotion, answer.reply, answer.reply_from, stages.emotion_model, voice, sound.seconds, latency
    )
    return turn, sound, trace


async def _answer(
    history: Sequence[Message], emotion: EmotionScores, voice: Voice, stages: Stages, trace: Trace
) -> Answer:
    answer = Answer(reply_from=stages.reply_model.name)
    clauses: asyncio.Queue[str | None] = asyncio.Queue(_AHEAD)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_write(history, emotion, stages, answer, clauses, trace))
            group.create_task(_speak(voice, stages, answer, clauses, trace))
    except* EmolibError as errors:
        raise errors.exceptions[0] from None
    return answer


async def _write(
    history: Sequence[Message],
    emotion: EmotionScores,
    stages: Stages,
    answer: Answer,
    clauses: asyncio.Queue[str | None],
    trace: Trace,
) -> None:
    spoken: list[str] = []
    with trace.stage("reply"):
        try:
            async with aclosing(stages.reply_model.stream(history, emotion)) as pieces:
                async for clause in segment_stream(_marked(pieces, trace)):
                    if text := speakable(clause):
                        spoken.append(text)
                        await clauses.put(text)
        except EmolibError as error:
            answer.reply_from = f"{stages.reply_model.name}, broken off: {error}" if spoken else f"fallback: {error}"
    if not spoken:
        if not answer.reply_from.startswith("fallback"):
            answer.reply_from = f"fallback: {stages.reply_model.name} wrote nothing that can be spoken"
        spoken.append(FALLBACK)
        await clauses.put(FALLBACK)
    answer.reply = " ".join(spoken)
    await clauses.put(None)


async def _marked(pieces, trace: Trace):
    async for piece in pieces:
        trace.mark("first_token")
        yield piece


async def _speak(
    voice: Voice, stages: Stages, answer: Answer, clauses: asyncio.Queue[str | None], trace: Trace
) -> None:
    from emolib.tts import SpeechRequest

    while (text := await clauses.get()) is not None:
        request = SpeechRequest(text, voice.emotion, intensity=voice.intensity)
        with trace.stage("speak"):
            answer.clips.append(await asyncio.to_thread(stages.synthesizer.synthesize, request))
        trace.mark("first_sound")


def _joined(clips: Sequence[AudioClip]) -> AudioClip:
    """The clips in order with a breath after each, and silence at the end where they are very short."""
    import numpy as np

    from emolib.speech import AudioClip

    rate = clips[0].sample_rate
    breath = np.zeros(int(_PAUSE_SECONDS * rate), np.float32)
    samples = np.concatenate([part for clip in clips for part in (clip.resample(rate).samples, breath)])
    missing = int(_LEAST_SECONDS * rate) - len(samples)
    return AudioClip(np.pad(samples, (0, max(missing, 0))), rate, "the answer")
