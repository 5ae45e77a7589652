"""From the true end of a spoken question to the first audible sample of the answer, beside two other designs.

    python -m benchmarks.dialogue [--quick] [--json FILE]

Embedded models, real clips played in real time as a microphone would hear them, a player that keeps real time. `ours`
is `VoiceAgent`: recognition while the clip is spoken, emotion and reply at its end, clause by clause. `sequential` is
the paper's way on the same engines after the same end of the utterance: recognise the whole, classify, write the
whole reply, speak it in one piece. `pipecat` is a Pipecat pipeline on the same weights with its own endpointing
(benchmarks/_pipecat_side.py), where EMOLIB_PIPECAT_PYTHON names a Python that has pipecat-ai with what it needs, and
the packages of this one. They alternate, and which goes first changes from clip to clip, because the later ones find
the prompt in llama.cpp's cache.

`own_overhead_ms_p50` is a turn of five clauses on engines that answer at once, from what was heard to the first clause
at the player; `latency_growth` and `memory_growth_mb` compare the last of 200 such turns in a row with the first.
`lacking_ms_max` is how long, in an answer that is heard to its end, the player had nothing to play between its first
and its last sound. `barge_in_ms` is the time from the first sound of somebody who speaks over an answer to its silence.
The full form draws figures/latency_waterfall.png from the turn with the median delay, which is hung up on at its first
sound.
The clips are found in the folder `speech` under EMOLIB_DATA (default ../shared/data).
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks._paced import Ear, PacedClip
from benchmarks._report import Report, run
from emolib.audio import SAMPLE_RATE as RATE
from emolib.audio import AudioClip, read_audio
from emolib.chat import Message
from emolib.dialogue import Turn, VoiceAgent, choose_style, events_of
from emolib.emotions import EMOTIONS
from emolib.labels import EmotionScores
from emolib.plots import latency_waterfall
from emolib.speech import (
    Endpointer,
    OrderedPlayer,
    Played,
    SpeechEnd,
    Transcribed,
    Transcript,
    best_detector,
    best_turn_detector,
)
from emolib.speech.partials import FinalTranscript
from emolib.stack import Engines, open_stack
from emolib.tts import SpeechRequest

_QUICK_CLIPS = 5
_OVERHEAD_TURNS = 200
_HEARD_TO_THE_END = 5


def main() -> int:
    folder = Path(os.environ.get("EMOLIB_DATA", "../shared/data")) / "speech"
    clips = sorted([*folder.glob("*.wav"), *folder.glob("*.flac")])
    if not clips:
        print(f"dialogue: {folder} has no recordings; name the folder above it in EMOLIB_DATA", file=sys.stderr)
        return 1
    packages = ["faster-whisper", "torch", "xllamacpp", "piper-tts", "pipecat-ai"]
    return run(lambda report, quick: _measure(report, clips, quick), "dialogue", packages)


def _measure(report: Report, clips: Sequence[Path], quick: bool) -> None:
    chosen = clips[:_QUICK_CLIPS] if quick else clips
    report.figures |= asyncio.run(_overheads())
    report.figures["barge_in_ms_p50"], report.figures["barge_in_ms_max"] = asyncio.run(_barge_ins(chosen))
    with open_stack() as engines, _pipecat(engines.reply_model.url) as pipecat:
        turns = asyncio.run(_turns(engines, chosen, pipecat))
        report.figures["lacking_ms_max"] = asyncio.run(_lacking(engines, chosen[-_HEARD_TO_THE_END:]))
    report.rows = [turn.row() for turn in turns]
    report.figures |= _figures(turns)
    if not quick:
        median = sorted(turns, key=lambda turn: turn.first_sound_s)[len(turns) // 2]
        latency_waterfall(median.turn.as_dict()).save(Path(__file__).parent.parent / "figures")


def _figures(turns: Sequence[_Measured]) -> dict[str, float]:
    found = {
        "first_sound_ms_p50": _percentile([turn.first_sound_s for turn in turns], 0.5),
        "first_sound_ms_p95": _percentile([turn.first_sound_s for turn in turns], 0.95),
        "endpoint_ms_p50": _percentile([turn.endpoint_s for turn in turns], 0.5),
        "sequential_ms_p50": _percentile([turn.sequential_s for turn in turns], 0.5),
        "speedup_vs_sequential": round(statistics.median(turn.sequential_s / turn.first_sound_s for turn in turns), 2),
        "prepared_share": round(statistics.mean(turn.turn.prepared for turn in turns), 2),
        "discarded_per_turn": round(statistics.mean(turn.turn.discarded for turn in turns), 2),
    }
    answered = [turn.pipecat["first_sound_s"] for turn in turns if turn.pipecat and turn.pipecat["first_sound_s"]]
    if answered:
        found["pipecat_first_sound_ms_p50"] = _percentile(answered, 0.5)
        found["pipecat_first_sound_ms_p95"] = _percentile(answered, 0.95)
        found["pipecat_answered"] = len(answered)
    return found


def _percentile(seconds: Sequence[float], share: float) -> int:
    ordered = sorted(seconds)
    if share == 0.5:
        return round(1000 * statistics.median(ordered))
    return round(1000 * ordered[min(len(ordered) - 1, round(share * len(ordered)))])


@dataclass(frozen=True)
class _Measured:
    """Seconds since the true end of speech: until the end was known, the first sample of ours, and of the others."""

    clip: str
    turn: Turn
    endpoint_s: float
    first_sound_s: float
    sequential_s: float
    characters: int
    pipecat: dict[str, Any] | None

    def row(self) -> dict[str, Any]:
        row = {
            "clip": self.clip,
            "endpoint_ms": round(1000 * self.endpoint_s),
            "ours_ms": round(1000 * self.first_sound_s),
            "sequential_ms": round(1000 * self.sequential_s),
            "characters": self.characters,
            "prepared": self.turn.prepared,
            "first_token_ms": self.turn.trace.marks_ms().get("first_token"),
            **{f"{stage}_ms": busy for stage, busy in self.turn.trace.busy_ms().items() if stage in _STAGES},
        }
        if self.pipecat:
            first, ended = self.pipecat["first_sound_s"], self.pipecat["endpoint_s"]
            row["pipecat_turn_ms"] = None if ended is None else round(1000 * ended)
            row["pipecat_ms"] = None if first is None else round(1000 * first)
            row["pipecat_cut_short"] = self.pipecat["cut_short"]
        return row


_STAGES = ("recognise", "classify")


class _Pipecat:
    """The other process: see benchmarks/_pipecat_side.py."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def answer(self, path: Path) -> dict[str, Any]:
        self._process.stdin.write(f"{path.absolute()}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the Pipecat side ended; what went wrong stands above")
        return json.loads(line)


@contextmanager
def _pipecat(url: str) -> Iterator[_Pipecat | None]:
    """The Pipecat side on the server at `url`, None where no Python for it is named."""
    python = os.environ.get("EMOLIB_PIPECAT_PYTHON")
    if not python:
        print(
            "dialogue: without Pipecat, as EMOLIB_PIPECAT_PYTHON names no Python that has it with all it needs"
            " (pip install pipecat-ai beside the packages of this one)",
            file=sys.stderr,
        )
        yield None
        return
    process = subprocess.Popen(
        [python, "-m", "benchmarks._pipecat_side", url, "chat"], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    try:
        yield _Pipecat(process)
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _turns(engines: Engines, paths: Sequence[Path], pipecat: _Pipecat | None) -> list[_Measured]:
    """All clips on all sides."""
    try:
        # What is loaded at the first use.
        await _ours(engines, _clip(paths[0]))
        if pipecat:
            await asyncio.to_thread(pipecat.answer, paths[0])
        return [await _sides(engines, path, pipecat, first) for first, path in enumerate(paths)]
    finally:
        await engines.reply_model.aclose()


async def _sides(engines: Engines, path: Path, pipecat: _Pipecat | None, first: int) -> _Measured:
    """A clip on each side, beginning with the one whose turn it is."""
    clip = _clip(path)
    sides = [("ours", lambda: _ours(engines, clip)), ("sequential", lambda: _sequential(engines, clip))]
    if pipecat:
        sides.append(("pipecat", lambda: asyncio.to_thread(pipecat.answer, path)))
    first %= len(sides)
    found: dict[str, Any] = {name: await run_side() for name, run_side in sides[first:] + sides[:first]}
    turn, endpoint, first_sound = found["ours"]
    sequential, characters = found["sequential"]
    return _Measured(path.stem, turn, endpoint, first_sound, endpoint + sequential, characters, found.get("pipecat"))


def _clip(path: Path) -> AudioClip:
    return read_audio(path).resample(RATE)


async def _ours(engines: Engines, clip: AudioClip) -> tuple[Turn, float, float]:
    """The last turn, and when its end was known and its answer audible, in seconds since the true end."""
    source = PacedClip(clip)
    begun: list[float] = []
    known: list[float] = []
    with Ear() as ear:

        def new_player() -> OrderedPlayer:
            begun.append(time.monotonic())
            return OrderedPlayer(ear)

        async def events() -> AsyncIterator[Any]:
            endpointer = Endpointer(best_detector(), turn=best_turn_detector())
            async for event in events_of(source, endpointer, engines.recognizer):
                if isinstance(event, SpeechEnd):
                    known.append(time.monotonic())
                yield event

        async def hang_up() -> None:
            while not begun or not ear.audible_at or ear.audible_at[-1] < max(begun[-1], source.true_end_at):
                await asyncio.sleep(0.02)
            source.close()
            await agent.interrupt()

        agent = VoiceAgent(engines, new_player, on_turn=lambda turn: source.close())
        ending = asyncio.create_task(hang_up())
        turns = await agent.converse(events())
        ending.cancel()
    end = source.true_end_at
    return turns[-1], known[-1] - end, next(moment for moment in ear.audible_at if moment > begun[-1]) - end


async def _lacking(engines: Engines, paths: Sequence[Path]) -> int:
    """The longest time, in milliseconds, that one of the answers to `paths` had nothing to play."""
    try:
        return round(1000 * max([await _lacking_in_answer(engines, _clip(path)) for path in paths]))
    finally:
        await engines.reply_model.aclose()


async def _lacking_in_answer(engines: Engines, clip: AudioClip) -> float:
    source = PacedClip(clip, after_s=20.0)
    with Ear() as ear:
        endpointer = Endpointer(best_detector(), turn=best_turn_detector())
        agent = VoiceAgent(engines, lambda: OrderedPlayer(ear), on_turn=lambda turn: source.close())
        await agent.converse(events_of(source, endpointer, engines.recognizer))
    return sum(seconds for moment, seconds in ear.lacking if ear.audible_at[0] < moment < ear.audible_at[-1])


async def _sequential(engines: Engines, clip: AudioClip) -> tuple[float, int]:
    """Seconds from the end of the utterance to the answer, and the characters of it."""
    started = time.monotonic()
    text = engines.recognizer.transcribe(clip).text
    emotion = engines.classifier.classify([text])[0]
    reply = "".join([piece async for piece in engines.reply_model.stream([Message("user", text)], emotion)])
    voice = choose_style([emotion]).voice
    engines.synthesizer.synthesize(SpeechRequest(reply, voice.emotion, intensity=voice.intensity))
    return time.monotonic() - started, len(reply)


async def _overheads() -> dict[str, float]:
    """One conversation of many turns on instant engines: the library's own share, and what grows."""
    instant, player = _Instant(), _FirstPut()
    times: list[float] = []
    memory: list[int] = []
    ended = asyncio.Event()

    async def events() -> AsyncIterator[Any]:
        end = SpeechEnd(0, RATE, RATE, AudioClip(np.zeros(RATE, np.float32), RATE), "silence")
        for _ in range(_OVERHEAD_TURNS):
            ended.clear()
            started, player.first = time.monotonic(), 0.0
            yield Transcribed(end, Transcript("Hello there."))
            await ended.wait()
            times.append((player.first - started) * 1000)
            memory.append(psutil.Process().memory_info().rss)

    engines = Engines(instant, instant, instant, _InstantVoice())
    await VoiceAgent(engines, lambda: player, on_turn=lambda turn: ended.set()).converse(events())
    tenth = _OVERHEAD_TURNS // 10
    return {
        "own_overhead_ms_p50": round(statistics.median(times), 2),
        "latency_growth": round(statistics.median(times[-tenth:]) / statistics.median(times[tenth : 2 * tenth]), 2),
        "memory_growth_mb": round((memory[-1] - memory[tenth]) / 2**20, 2),
    }


async def _barge_ins(paths: Sequence[Path]) -> tuple[int, int]:
    """Median and longest time from the first sound of each clip to the silence of the answer it is spoken over."""
    times = [await _barge_in(_clip(path)) for path in paths]
    return round(1000 * statistics.median(times)), round(1000 * max(times))


async def _barge_in(clip: AudioClip) -> float:
    instant = _Instant()
    source = PacedClip(clip.cut(0, min(len(clip), RATE)), before_s=1.5, after_s=0.5)
    engines = Engines(instant, instant, instant, _InstantVoice(answer_s=20.0))
    with Ear() as ear:

        async def events() -> AsyncIterator[Any]:
            end = SpeechEnd(0, RATE, RATE, AudioClip(np.zeros(RATE, np.float32), RATE), "silence")
            yield Transcribed(end, Transcript("Hello there."))
            async for event in events_of(source, Endpointer(best_detector()), _AtTheEnd()):
                if isinstance(event, SpeechEnd):
                    return
                yield event

        agent = VoiceAgent(engines, lambda: OrderedPlayer(ear))
        talking = asyncio.create_task(agent.converse(events()))
        onset = source.true_start_s
        while source.started == 0.0 or time.monotonic() < source.started + onset + 0.8:
            await asyncio.sleep(0.05)
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
    return ear.audible_at[-1] - (source.started + onset)


class _AtTheEnd:
    """A recogniser that does nothing while somebody speaks."""

    def stream(self) -> FinalTranscript:
        return FinalTranscript(_Instant())


class _FirstPut:
    """A player that notes when it got the first clause, and has played everything at once."""

    recent = AudioClip(np.zeros(0, np.float32), RATE)

    def __init__(self) -> None:
        self.first = 0.0
        self.heard: list[Played] = []

    def push(self, number: int, clip: AudioClip) -> None:
        if number == 0:
            self.first, self.heard = time.monotonic(), []
        self.heard.append(Played(number, len(clip), len(clip), complete=True))

    def wait(self, timeout: float | None = None) -> bool:
        return True

    def stop(self) -> list[Played]:
        return self.heard

    finish = fail = end = pause = resume = lambda self, *_: None


class _Instant:
    """Every engine but the voice at once, each answering without any work."""

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


class _InstantVoice:
    def __init__(self, answer_s: float = 0.1) -> None:
        self._sound = AudioClip(np.full(round(answer_s * 22_050), 0.1, np.float32), 22_050)

    def synthesize(self, request: SpeechRequest) -> AudioClip:
        return self._sound


if __name__ == "__main__":
    sys.exit(main())
