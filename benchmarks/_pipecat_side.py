"""The Pipecat side of `benchmarks.dialogue`, a process of its own: clips in, first audible samples of answers out.

    EMOLIB_PIPECAT_PYTHON -m benchmarks._pipecat_side URL MODEL

A pipeline as Pipecat's documentation builds one for local models, with its defaults: Silero VAD, Smart Turn, its
Whisper service (the same tiny.en in int8), its OpenAI service on the llama.cpp server at URL (the same MODEL, prompt
and sampling), its Piper service (the same voice, in this process). Nothing judges an emotion in it. For each path of a
clip, a line on stdin, a line of JSON on stdout: `first_sound_s` and `endpoint_s` since the true end of the speech
(null: no answer came), the answers that were `cut_short` because the speaker went on, and the transcript.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import (
    InputAudioRawFrame,
    InterruptionFrame,
    InterruptionWorkerFrame,
    OutputAudioRawFrame,
    StartFrame,
    TranscriptionFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.piper.tts import PiperTTSService
from pipecat.services.whisper.stt import WhisperSTTService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from benchmarks._paced import PacedClip, first_audible
from emolib.audio import SAMPLE_RATE as RATE
from emolib.audio import read_audio
from emolib.chat.tone import NEUTRAL, short_prompt
from emolib.models import piper_voice, whisper_dir

_VOICE_RATE = 22_050
#: As its local transport gives them.
_BLOCK = RATE // 50
_SAMPLING = {"extra_body": {"dry_multiplier": 0.8, "dry_allowed_length": 4}}


class Microphone(BaseInputTransport):
    """Takes what `push_audio_frame` is given."""

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)


class Loudspeaker(BaseOutputTransport):
    """Plays to nobody in real time, and notes when the present answer was first audible."""

    first: float | None = None

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        samples = np.frombuffer(frame.audio, np.int16) / 32768
        found = first_audible(samples)
        if self.first is None and found is not None:
            self.first = time.monotonic() + found / frame.sample_rate
        await asyncio.sleep(len(samples) / frame.sample_rate)
        return True


@dataclass(eq=False)
class Notes(BaseObserver):
    """What happened in the pipeline to the present clip."""

    loudspeaker: Loudspeaker
    ended: float | None = None
    words: list[str] = field(default_factory=list)
    begun: int = 0

    def __post_init__(self) -> None:
        super().__init__(observe_every_push=False)

    def clear(self) -> None:
        self.ended, self.words, self.begun, self.loudspeaker.first = None, [], 0, None

    async def on_push_frame(self, data: FramePushed) -> None:
        if isinstance(data.frame, InterruptionFrame):
            self.begun += self.loudspeaker.first is not None
            self.loudspeaker.first = None
        elif isinstance(data.frame, UserStoppedSpeakingFrame):
            self.ended = time.monotonic()
        elif isinstance(data.frame, TranscriptionFrame):
            self.words.append(data.frame.text.strip())


@dataclass
class Side:
    """The running pipeline."""

    worker: PipelineWorker
    microphone: Microphone
    notes: Notes
    context: LLMContext
    opening: list[dict[str, str]]

    async def answer(self, path: str) -> dict[str, Any]:
        """Play the clip at `path` and wait for the answer; then silence it and forget both."""
        clip = PacedClip(read_audio(path).resample(RATE))
        self.context.set_messages([*self.opening])
        self.notes.clear()
        sound = (clip.samples * 32767).clip(-32768, 32767).astype(np.int16)
        started = time.monotonic()
        end = started + clip.true_end_s
        for number, start in enumerate(range(0, len(sound) - _BLOCK, _BLOCK), 1):
            await asyncio.sleep(max(0.0, started + number * _BLOCK / RATE - time.monotonic()))
            first = self.notes.loudspeaker.first
            if first is not None and time.monotonic() > end + 0.5:
                break
            block = sound[start : start + _BLOCK].tobytes()
            await self.microphone.push_audio_frame(InputAudioRawFrame(block, sample_rate=RATE, num_channels=1))
        found = {
            "first_sound_s": None if first is None else first - end,
            "endpoint_s": None if self.notes.ended is None else self.notes.ended - end,
            "cut_short": self.notes.begun,
            "transcript": " ".join(self.notes.words),
        }
        await self.worker.queue_frame(InterruptionWorkerFrame())
        await asyncio.sleep(0.5)
        return found


def _side(url: str, model: str) -> Side:
    system, *opening = [message.as_dict() for message in short_prompt([], None, NEUTRAL)]
    context = LLMContext([*opening])
    microphone = Microphone(TransportParams(audio_in_enabled=True))
    loudspeaker = Loudspeaker(TransportParams(audio_out_enabled=True))
    notes = Notes(loudspeaker)
    user, assistant = LLMContextAggregatorPair(
        context, user_params=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
    )
    recogniser = WhisperSTTService(
        device="cpu", compute_type="int8", settings=WhisperSTTService.Settings(model=str(whisper_dir()))
    )
    replies = OpenAILLMService(
        api_key="local",
        base_url=f"{url}/v1",
        settings=OpenAILLMService.Settings(
            model=model, system_instruction=system["content"], temperature=0.2, seed=0, max_tokens=120, extra=_SAMPLING
        ),
    )
    voice = PiperTTSService(
        download_dir=piper_voice().parent, settings=PiperTTSService.Settings(voice=piper_voice().stem)
    )
    pipeline = Pipeline([microphone, recogniser, user, replies, voice, loudspeaker, assistant])
    rates = PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=_VOICE_RATE)
    worker = PipelineWorker(pipeline, params=rates, observers=[notes], idle_timeout_secs=None, enable_rtvi=False)
    return Side(worker, microphone, notes, context, opening)


async def _main(url: str, model: str) -> None:
    side = _side(url, model)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(side.worker)
    running = asyncio.create_task(runner.run())
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await side.answer(line.strip())), flush=True)
    await side.worker.cancel()
    await running


if __name__ == "__main__":
    logger.remove()
    logger.add(sys.stderr, level="ERROR")
    asyncio.run(_main(*sys.argv[1:]))
