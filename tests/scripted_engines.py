"""Instant engines for tests of a turn, each as good or as bad as the test wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from emolib.audio import AudioClip
from emolib.chat import Message
from emolib.emotions import EMOTIONS
from emolib.errors import ServiceError
from emolib.labels import EmotionScores
from emolib.speech import Transcript
from emolib.speech.partials import FinalTranscript
from emolib.stack import Engines

QUESTION = AudioClip(np.zeros(16_000, np.float32), 16_000, "the question")


def scores(label: str, confidence: float = 0.9) -> EmotionScores:
    rest = (1 - confidence) / (len(EMOTIONS) - 1)
    return EmotionScores({each: confidence if each == label else rest for each in EMOTIONS})


class ScriptedRecognizer:
    def __init__(self, text: str = "My train left without me.") -> None:
        self.text = text

    def transcribe(self, clip: AudioClip) -> Transcript:
        return Transcript(self.text)

    def stream(self) -> FinalTranscript:
        return FinalTranscript(self)


class ScriptedClassifier:
    def __init__(self, emotion: EmotionScores) -> None:
        self.emotion = emotion

    def classify(self, texts: Sequence[str]) -> list[EmotionScores]:
        return [self.emotion for _ in texts]


class Replies:
    """Says `text` a character at a time, then fails where `failure` is given."""

    name = "scripted replies"

    def __init__(self, text: str, failure: str | None = None) -> None:
        self.text = text
        self.failure = failure
        self.asked: list[tuple[list[Message], EmotionScores | None]] = []
        self.tones: list[str | None] = []
        self.finished = 0

    def start(self) -> None:
        pass

    async def stream(
        self, history: Sequence[Message], emotion: EmotionScores | None, tone: str | None = None
    ) -> AsyncIterator[str]:
        self.asked.append((list(history), emotion))
        self.tones.append(tone)
        try:
            for character in self.text:
                await asyncio.sleep(0)
                yield character
            if self.failure:
                raise ServiceError(self.failure)
        finally:
            self.finished += 1

    async def aclose(self) -> None:
        pass


class Spoken:
    """Speaks a text as silence of 0.1 s a word; a text with `refused` in it fails."""

    def __init__(self, refused: str | None = None) -> None:
        self.refused = refused
        self.requests: list = []

    def synthesize(self, request) -> AudioClip:
        if self.refused and self.refused in request.text:
            raise ServiceError("the speech service is gone")
        self.requests.append(request)
        return AudioClip(np.zeros(1000 * len(request.text.split()), np.float32), 10_000)


def engines(reply: Replies, emotion: EmotionScores | None = None, spoken: Spoken | None = None) -> Engines:
    return Engines(ScriptedRecognizer(), ScriptedClassifier(emotion or scores("sadness")), reply, spoken or Spoken())


def only_whole(engine: Any) -> SimpleNamespace:
    """The voice of an engine that is other stages too, among whose methods `stream` means something else."""
    return SimpleNamespace(synthesize=engine.synthesize)
