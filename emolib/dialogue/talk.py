"""A recorded question in, a recorded answer out."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from emolib.chat import ReplyModel
from emolib.dialogue.conversation import Conversation, Exchange
from emolib.dialogue.stages import Stages, open_stages
from emolib.dialogue.turn import Turn
from emolib.emotions import DEFAULT_EMOTION_MODEL
from emolib.errors import StorageError, UsageError
from emolib.files import storage_errors

if TYPE_CHECKING:
    from emolib.audio import AudioClip

__all__ = ["run_sync", "talk"]

T = TypeVar("T")


def talk(
    question: str | Path,
    answer: str | Path,
    emotion_model: str | Path = DEFAULT_EMOTION_MODEL,
    *,
    reply_model: ReplyModel | None = None,
    tts_url: str | None = None,
    voice: str | None = None,
) -> Turn:
    """Answer the recording `question` in a voice that fits its emotion; the sound goes to `answer` (WAV).

    `emotion_model` is a run folder, an adapter, a bundled one or a base model,
    `reply_model` what answers (default: GPT with OPENAI_API_KEY, else the embedded model), `tts_url` a
    speech service that runs already (default: ours, in a child process), `voice` the voiceprint that
    it speaks in (default: the voice of its engine). InputError where the recording cannot be used or
    holds no speech, StorageError where `answer` cannot be written; an `answer` that is there already is
    replaced only by a whole new one.
    """
    from emolib.audio import read_audio, write_wav

    question, answer = Path(question), Path(answer)
    clip = read_audio(question)
    _check_answer(question, answer)
    began = time.monotonic()
    with open_stages(emotion_model, reply_model, tts_url, voice) as stages:
        load_ms = round((time.monotonic() - began) * 1000)
        exchange = run_sync(_answer_and_close(clip, stages))
        write_wav(answer, exchange.sound)
    return replace(exchange.turn, latency_ms={"load": load_ms, **exchange.turn.latency_ms})


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, also where an event loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _answer_and_close(clip: AudioClip, stages: Stages) -> Exchange:
    conversation = Conversation(stages)
    try:
        return await conversation.answer(clip)
    finally:
        await conversation.aclose()


def _check_answer(question: Path, answer: Path) -> None:
    """Fail before the models are loaded where the answer could not be written at the end."""
    if answer.suffix.lower() != ".wav":
        raise UsageError(f"the answer is written as WAV: {answer} must end in .wav")
    if answer.is_dir():
        raise StorageError(f"cannot write {answer}: it is a folder; name a file in it")
    if answer.exists() and question.samefile(answer):
        raise UsageError(f"the answer would overwrite the question {question}; name another file for it")
    with storage_errors(answer):
        answer.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=answer.parent).close()
