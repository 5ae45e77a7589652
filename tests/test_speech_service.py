"""The speech service in its own process, with the embedded voice, through the client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from emolib.emotions import EMOTIONS

pytest.importorskip("emolib.speech")
pytest.importorskip("emolib.models")

from emolib.tts import SpeechRequest, SpeechSynthesizer, running_service


@pytest.fixture(scope="module")
def tts() -> Iterator[SpeechSynthesizer]:
    with running_service() as url, SpeechSynthesizer(url) as synthesizer:
        yield synthesizer


@pytest.mark.parametrize("emotion", [None, *EMOTIONS])
def test_every_emotion_is_spoken(tts: SpeechSynthesizer, emotion: str | None) -> None:
    clip = tts.synthesize(SpeechRequest("It is good to see you.", emotion))
    assert clip.samples.dtype == np.float32
    assert 0.8 < len(clip.samples) / clip.sample_rate < 4
    assert 0.01 < np.abs(clip.samples).max() <= 1


def test_a_stream_carries_the_sentences_one_by_one(tts: SpeechSynthesizer) -> None:
    pieces = list(tts.stream(SpeechRequest("First one. Then another. And a third.")))
    assert len(pieces) >= 3
    assert 1 < sum(len(piece.samples) for piece in pieces) / pieces[0].sample_rate < 10


def test_health_names_the_engine(tts: SpeechSynthesizer) -> None:
    assert tts.health()["engine"] == "piper"


def test_the_client_does_not_import_the_engine() -> None:
    code = "import sys, emolib.tts; from emolib.tts import SpeechSynthesizer; print('piper' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"False"
