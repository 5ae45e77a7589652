"""From the end of a recorded question to the first sound of the answer, beside the sequential design.

Embedded models, real clips, one process. `ours` writes and speaks clause by clause; `sequential` is the
paper's way on the same engines: recognise, classify, write the whole reply, speak it in one piece. They
alternate, and which goes first changes from clip to clip, because the second one finds the prompt in
llama.cpp's cache. The recordings are given whole: waiting for the end of speech is not in these figures.

`own_overhead_ms_p50` is a turn of five clauses on engines that answer at once.
The clips are found in the folder `speech` under EMOLIB_DATA (default ../shared/data).
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks._report import Report, run
from emolib.chat import Message
from emolib.dialogue import Conversation, Stages, choose_voice, open_stages
from emolib.emotions import EMOTIONS, EmotionScores
from emolib.speech import AudioClip, Transcript, read_audio
from emolib.tts import SpeechRequest

_QUICK_CLIPS = 4
_OVERHEAD_TURNS = 100


def main() -> int:
    folder = Path(os.environ.get("EMOLIB_DATA", "../shared/data")) / "speech"
    clips = sorted([*folder.glob("*.wav"), *folder.glob("*.flac")])
    if not clips:
        print(f"dialogue: {folder} has no recordings; name the folder above it in EMOLIB_DATA", file=sys.stderr)
        return 1
    packages = ["faster-whisper", "torch", "xllamacpp", "piper-tts"]
    return run(lambda report, quick: _measure(report, clips[:_QUICK_CLIPS] if quick else clips), "dialogue", packages)


def _measure(report: Report, clips: Sequence[Path]) -> None:
    overheads = asyncio.run(_overheads())
    with open_stages() as stages:
        report.rows = asyncio.run(_turns(stages, [read_audio(path) for path in clips], [path.stem for path in clips]))
    ours = [row["ours_ms"] for row in report.rows]
    report.figures = {
        "own_overhead_ms_p50": round(statistics.median(overheads), 2),
        "first_sound_after_question_ms_p50": statistics.median(ours),
        "speedup_vs_sequential": round(
            statistics.median(row["sequential_ms"] / row["ours_ms"] for row in report.rows), 2
        ),
    }


async def _turns(stages: Stages, clips: Sequence[AudioClip], names: Sequence[str]) -> list[dict[str, object]]:
    rows = []
    try:
        await _ours(stages, clips[0])
        for number, (clip, name) in enumerate(zip(clips, names, strict=True)):
            ways = [("ours_ms", _ours), ("sequential_ms", _sequential)]
            row: dict[str, object] = {"clip": name}
            for key, way in ways if number % 2 else reversed(ways):
                row[key], row["characters"] = await way(stages, clip)
            rows.append(row)
    finally:
        await stages.reply_model.aclose()
    return rows


async def _ours(stages: Stages, clip: AudioClip) -> tuple[float, int]:
    turn = (await Conversation(stages).answer(clip)).turn
    return turn.latency_ms["first_sound"], len(turn.reply)


async def _sequential(stages: Stages, clip: AudioClip) -> tuple[float, int]:
    started = time.monotonic()
    text = stages.recognizer.transcribe(clip).text
    emotion = stages.classifier.classify([text])[0]
    reply = "".join([piece async for piece in stages.reply_model.stream([Message("user", text)], emotion)])
    voice = choose_voice(emotion)
    stages.synthesizer.synthesize(SpeechRequest(reply, voice.emotion, intensity=voice.intensity))
    return round((time.monotonic() - started) * 1000), len(reply)


async def _overheads() -> list[float]:
    conversation = Conversation(Stages(_Instant(), _Instant(), _Instant(), _Instant(), "instant"))
    clip = AudioClip(np.zeros(1600, np.float32), 16_000)
    times = []
    for _ in range(_OVERHEAD_TURNS):
        started = time.monotonic()
        await conversation.answer(clip)
        times.append((time.monotonic() - started) * 1000)
    return times


class _Instant:
    """Every engine at once, each answering without any work."""

    name = "instant"

    def transcribe(self, clip: AudioClip) -> Transcript:
        return Transcript("Hello there.")

    def classify(self, texts: Sequence[str]) -> list[EmotionScores]:
        return [EmotionScores.from_sequence([1 / len(EMOTIONS)] * len(EMOTIONS)) for _ in texts]

    async def stream(self, history: Sequence[Message], emotion: EmotionScores | None) -> AsyncIterator[str]:
        for word in ("This is one sentence. " * 5).split(" "):
            yield f"{word} "

    def synthesize(self, request: SpeechRequest) -> AudioClip:
        return AudioClip(np.zeros(2205, np.float32), 22_050)


if __name__ == "__main__":
    sys.exit(main())
