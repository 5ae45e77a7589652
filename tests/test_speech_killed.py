"""The speech service killed in the middle of an answer: it comes back, the dialogue goes on, what failed is named."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted_engines import Replies, ScriptedClassifier, scores
from speech_server import ToneEngine, speech_server, until

from emolib.audio import AudioClip
from emolib.dialogue import AgentSettings, Turn, VoiceAgent, write_trace
from emolib.errors import EmolibError
from emolib.speech import OrderedPlayer, SpeechEnd, Transcribed, Transcript, WavSink
from emolib.stack import Engines
from emolib.tts import SpeechSynthesizer
from emolib.tts.server import ServiceProcess

REPLY = "One two three. Four kill five. Six seven eight. Nine ten."


class Killer:
    """Kills the service the first time that it is to say "kill"."""

    def __init__(self) -> None:
        self.service: ServiceProcess | None = None

    def __call__(self, word: str) -> None:
        if word == "kill" and self.service and not self.service.restarts:
            os.kill(self.service.pid, signal.SIGKILL)


@pytest.fixture
def killer() -> Killer:
    return Killer()


@pytest.fixture
def voice(killer: Killer) -> ToneEngine:
    engine = ToneEngine(killer)
    engine.reads_tags = True
    return engine


@pytest.fixture
def service(
    killer: Killer, voice: ToneEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ServiceProcess]:
    """Our service in a process of its own, in front of a voice in this one."""
    with speech_server(voice, tmp_path / "references") as url:
        monkeypatch.setenv("EMOLIB_FISH_URL", url)
        service = killer.service = ServiceProcess("fish")
        service.start()
        try:
            yield service
        finally:
            service.stop()


def answers(tts: SpeechSynthesizer) -> bool:
    try:
        return tts.health()["status"] == "ok"
    except EmolibError:
        return False


def converse(tts: SpeechSynthesizer, folder: Path) -> list[Turn]:
    """Two turns, the second once the service is there again."""
    clip = AudioClip(np.zeros(16_000, np.float32), 16_000)
    said = Transcribed(SpeechEnd(0, 16_000, 16_000, clip, "silence"), Transcript("I passed the exam"))
    over = asyncio.Event()

    async def questions() -> AsyncIterator[Any]:
        yield said
        await over.wait()
        assert await asyncio.to_thread(until, lambda: answers(tts), 30)
        yield said

    async def run() -> list[Turn]:
        sink = WavSink(folder / "answer.wav", 8_000)
        stages = Engines(None, ScriptedClassifier(scores("joy")), Replies(REPLY), tts)
        agent = VoiceAgent(
            stages, lambda: OrderedPlayer(sink), settings=AgentSettings(speak_s=30), on_turn=lambda _: over.set()
        )
        try:
            return await agent.converse(questions())
        finally:
            sink.close()

    return asyncio.run(run())


def test_without_retries_the_clause_is_silent_named_in_the_trace_and_the_next_turn_is_whole(
    service: ServiceProcess, tmp_path: Path
) -> None:
    with SpeechSynthesizer(service.url, retries=0) as tts:
        hurt, whole = converse(tts, tmp_path)
    assert service.restarts == 1
    write_trace([hurt, whole], tmp_path / "trace.jsonl")
    named = [json.loads(line)["problems"] for line in (tmp_path / "trace.jsonl").read_text().splitlines()]
    assert named[0][0].startswith("clause 2 was not spoken: ")
    assert service.url in named[0][0]
    assert named[1] == []
    # What was lost besides depends on how fast the service came back; what was heard has kept its order.
    assert hurt.reply.startswith("One two three.")
    assert "kill" not in hurt.reply
    places = [REPLY.index(word) for word in hurt.reply.split()]
    assert places == sorted(places)
    assert whole.reply == REPLY


def test_with_retries_nothing_is_lost(service: ServiceProcess, voice: ToneEngine, tmp_path: Path) -> None:
    with SpeechSynthesizer(service.url, retries=10) as tts:
        turns = converse(tts, tmp_path)
    assert service.restarts == 1
    assert [(turn.reply, turn.problems) for turn in turns] == [(REPLY, ())] * 2
    # The voice was told the emotion; whoever listens or reads the history never sees how.
    assert {heard.text.split()[0] for heard in voice.utterances} == {"(joyful)"}
