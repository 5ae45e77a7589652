"""From the true end of a spoken question to the first audible sample of the answer, beside the sequential design.

    python -m benchmarks.dialogue [--quick] [--json FILE]

Embedded models, real clips played in real time as a microphone would hear them, a player that keeps real time. `ours`
is `VoiceAgent`: recognition while the clip is spoken, emotion and reply at its end, clause by clause. `sequential` is
the paper's way on the same engines after the same end of the utterance: recognise the whole, classify, write the
whole reply, speak it in one piece. They alternate, and which goes first changes from clip to clip, because the second
one finds the prompt in llama.cpp's cache.

`own_overhead_ms_p50` is a turn of five clauses on engines that answer at once, from what was heard to the first clause
at the player. The full form draws figures/latency_waterfall.png from the turn with the median delay.
The clips are found in the folder `speech` under EMOLIB_DATA (default ../shared/data).
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._noisy_speech import speech_frames
from benchmarks._report import Report, run
from emolib.chat import Message
from emolib.dialogue import AgentTurn, Stages, VoiceAgent, choose_manner, events_of, open_stages
from emolib.emotions import EMOTIONS, EmotionScores
from emolib.plots import latency_waterfall
from emolib.speech import (
    AudioClip,
    Endpointer,
    Heard,
    NullSink,
    OrderedPlayer,
    Played,
    SpeechEnd,
    Transcript,
    best_detector,
    best_turn_detector,
    read_audio,
)
from emolib.speech.ambient import FRAME
from emolib.speech.audio import SAMPLE_RATE as RATE
from emolib.tts import SpeechRequest

_QUICK_CLIPS = 5
_OVERHEAD_TURNS = 100
_SILENCE_S = 6.0


def main() -> int:
    folder = Path(os.environ.get("EMOLIB_DATA", "../shared/data")) / "speech"
    clips = sorted([*folder.glob("*.wav"), *folder.glob("*.flac")])
    if not clips:
        print(f"dialogue: {folder} has no recordings; name the folder above it in EMOLIB_DATA", file=sys.stderr)
        return 1
    packages = ["faster-whisper", "torch", "xllamacpp", "piper-tts", "pipecat-ai"]
    return run(lambda report, quick: _measure(report, clips, quick), "dialogue", packages)


def _measure(report: Report, clips: Sequence[Path], quick: bool) -> None:
    chosen = [read_audio(path).resample(RATE) for path in (clips[:_QUICK_CLIPS] if quick else clips)]
    overheads = asyncio.run(_overheads())
    with open_stages() as stages:
        turns = asyncio.run(_turns(stages, chosen))
    for path, turn in zip(clips, turns, strict=False):
        report.rows.append({"clip": path.stem, **turn.row()})
    ours = sorted(turn.first_sound_s for turn in turns)
    report.figures = {
        "first_sound_ms_p50": round(1000 * statistics.median(ours)),
        "first_sound_ms_p95": round(1000 * ours[min(len(ours) - 1, round(0.95 * len(ours)))]),
        "endpoint_ms_p50": round(1000 * statistics.median(turn.endpoint_s for turn in turns)),
        "speedup_vs_sequential": round(statistics.median(turn.sequential_s / turn.first_sound_s for turn in turns), 2),
        "own_overhead_ms_p50": round(statistics.median(overheads), 2),
    }
    if not quick:
        median = min(turns, key=lambda turn: abs(turn.first_sound_s - statistics.median(ours)))
        latency_waterfall(median.turn.as_dict()).save(Path(__file__).parent.parent / "figures")


@dataclass(frozen=True)
class _Measured:
    """Seconds since the true end of speech: until the end was known, the first sample of ours, and of sequential."""

    turn: AgentTurn
    endpoint_s: float
    first_sound_s: float
    sequential_s: float

    def row(self) -> dict[str, Any]:
        return {
            "endpoint_ms": round(1000 * self.endpoint_s),
            "ours_ms": round(1000 * self.first_sound_s),
            "sequential_ms": round(1000 * self.sequential_s),
            "characters": len(self.turn.written),
            "prepared": self.turn.prepared,
        }


async def _turns(stages: Stages, clips: Sequence[AudioClip]) -> list[_Measured]:
    found = []
    try:
        await _ours(stages, clips[0])  # what is loaded at the first use
        for number, clip in enumerate(clips):
            if number % 2:
                sequential = await _sequential(stages, clip)
                turn, endpoint, first = await _ours(stages, clip)
            else:
                turn, endpoint, first = await _ours(stages, clip)
                sequential = await _sequential(stages, clip)
            found.append(_Measured(turn, endpoint, first, endpoint + sequential))
    finally:
        await stages.reply_model.aclose()
    return found


class _Played:
    """A clip in a quiet room in real time, and silence after it until the answer has begun."""

    overruns = 0

    def __init__(self, clip: AudioClip) -> None:
        room = np.random.default_rng(3).standard_normal(len(clip) + RATE + round(_SILENCE_S * RATE)) * 10 ** (-65 / 20)
        room[RATE : RATE + len(clip)] += clip.samples
        self._samples = room.astype(np.float32)
        self.true_end_s = 1 + (int(np.flatnonzero(speech_frames(clip.samples))[-1]) + 1) * FRAME / RATE
        self.started = 0.0
        self.over = False

    def frames(self) -> Iterator[np.ndarray]:
        self.started = time.monotonic()
        for number, start in enumerate(range(0, len(self._samples) - FRAME, FRAME), 1):
            time.sleep(max(0.0, self.started + number * FRAME / RATE - time.monotonic()))
            if self.over:
                return
            yield self._samples[start : start + FRAME]

    def close(self) -> None:
        self.over = True


async def _ours(stages: Stages, clip: AudioClip) -> tuple[AgentTurn, float, float]:
    """The last turn, and when its end was known and its first sample heard, in seconds since the true end."""
    source = _Played(clip)
    players: list[OrderedPlayer] = []
    known: list[float] = []
    with NullSink() as sink:

        def new_player() -> OrderedPlayer:
            players.append(OrderedPlayer(sink))
            return players[-1]

        async def events() -> AsyncIterator[Any]:
            endpointer = Endpointer(best_detector(), turn=best_turn_detector())
            async for event in events_of(source, endpointer, stages.recognizer):
                if isinstance(event, SpeechEnd):
                    known.append(time.monotonic())
                yield event

        agent = VoiceAgent(stages, new_player, on_turn=lambda turn: source.close())
        turns = await agent.converse(events())
    end = source.started + source.true_end_s
    return turns[-1], known[-1] - end, players[-1].first_sample_at - end


async def _sequential(stages: Stages, clip: AudioClip) -> float:
    started = time.monotonic()
    text = stages.recognizer.transcribe(clip).text
    emotion = stages.classifier.classify([text])[0]
    reply = "".join([piece async for piece in stages.reply_model.stream([Message("user", text)], emotion)])
    voice = choose_manner([emotion]).voice
    stages.synthesizer.synthesize(SpeechRequest(reply, voice.emotion, intensity=voice.intensity))
    return time.monotonic() - started


async def _overheads() -> list[float]:
    instant = _Instant()
    times = []
    for _ in range(_OVERHEAD_TURNS):
        player = _FirstPut()

        async def events() -> AsyncIterator[Any]:
            clip = AudioClip(np.zeros(RATE, np.float32), RATE)
            yield Heard(SpeechEnd(0, RATE, RATE, clip, "silence"), Transcript("Hello there."))

        started = time.monotonic()
        agent = VoiceAgent(Stages(instant, instant, instant, instant, "instant"), lambda player=player: player)
        await agent.converse(events())
        times.append((player.first - started) * 1000)
    return times


class _FirstPut:
    """A player that notes when it got its first clause, and has played everything at once."""

    recent = AudioClip(np.zeros(0, np.float32), RATE)

    def __init__(self) -> None:
        self.first = 0.0
        self.heard: list[Played] = []

    def put(self, number: int, clip: AudioClip) -> None:
        self.first = self.first or time.monotonic()
        self.heard.append(Played(number, len(clip), len(clip), complete=True))

    def wait(self, timeout: float | None = None) -> bool:
        return True

    def stop(self) -> list[Played]:
        return self.heard

    fail = end = pause = resume = lambda self, *_: None


class _Instant:
    """Every engine at once, each answering without any work."""

    name = "instant"

    def transcribe(self, clip: AudioClip) -> Transcript:
        return Transcript("Hello there.")

    def classify(self, texts: Sequence[str]) -> list[EmotionScores]:
        return [EmotionScores.from_sequence([1 / len(EMOTIONS)] * len(EMOTIONS)) for _ in texts]

    async def stream(
        self, history: Sequence[Message], emotion: EmotionScores | None, tone: str | None = None
    ) -> AsyncIterator[str]:
        for word in ("This is one sentence. " * 5).split(" "):
            yield f"{word} "

    def synthesize(self, request: SpeechRequest) -> AudioClip:
        return AudioClip(np.zeros(2205, np.float32), 22_050)


if __name__ == "__main__":
    sys.exit(main())
