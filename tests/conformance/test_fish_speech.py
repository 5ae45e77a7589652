"""The same client and the same requests against Fish-Speech's real HTTP layer and against our service.

`make conformance` installs PyPI's fish-speech and names its Python in $EMOLIB_FISH_PYTHON; without it
only our service is tested.
"""

from __future__ import annotations

import base64
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgpack
import numpy as np
import pytest
import requests
import soundfile

sys.path.insert(0, str(Path(__file__).parents[1]))
from speech_server import ToneEngine, fail_at, speech_server, tone

from emolib.audio import AudioClip
from emolib.errors import ServiceError
from emolib.tts import SpeechRequest, SpeechSynthesizer, VoiceLibrary

KEY = "right"
FISH_PYTHON = os.environ.get("EMOLIB_FISH_PYTHON")


@pytest.fixture(scope="module", params=["ours", "fish-speech"] if FISH_PYTHON else ["ours"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "ours":
        with speech_server(ToneEngine(fail_at("fail")), tmp_path_factory.mktemp("ours"), api_key=KEY) as address:
            yield address
        return
    with fish_speech() as address:
        yield address


@contextmanager
def fish_speech() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    stub = Path(__file__).with_name("fish_speech_stub.py")
    server = subprocess.Popen([FISH_PYTHON, str(stub), str(port), KEY])
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address, server)
        yield address
    finally:
        server.terminate()
        server.wait(10)


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert server.poll() is None, "Fish-Speech ended"
        try:
            requests.get(f"{address}/v1/health", timeout=1)
            return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise AssertionError("Fish-Speech does not answer")


@pytest.fixture
def tts(url: str) -> Iterator[SpeechSynthesizer]:
    with SpeechSynthesizer(url, KEY, retries=0) as synthesizer:
        yield synthesizer


def post(url: str, **options: object) -> requests.Response:
    headers = {"Authorization": f"Bearer {KEY}", **options.pop("headers", {})}
    return requests.post(f"{url}/v1/tts", headers=headers, timeout=20, **options)


def seconds(clip: AudioClip) -> float:
    return round(clip.seconds, 3)


def test_health(tts: SpeechSynthesizer) -> None:
    assert tts.health()["status"] == "ok"


def test_a_whole_utterance(tts: SpeechSynthesizer) -> None:
    assert seconds(tts.synthesize(SpeechRequest("one two three"))) == 1.5


def test_a_stream(tts: SpeechSynthesizer) -> None:
    pieces = list(tts.stream(SpeechRequest("one two three")))
    assert sum(len(piece) for piece in pieces) / pieces[0].sample_rate == pytest.approx(1.5)
    assert max(np.abs(piece.samples).max() for piece in pieces) == pytest.approx(0.3, abs=0.01)


def test_an_emotion_changes_no_word(tts: SpeechSynthesizer) -> None:
    clip = tts.synthesize(SpeechRequest("one two", "anger"))
    # Fish-Speech gets "(angry) one two"; its stub has no ear for tags and counts three words.
    assert seconds(clip) == (1.0 if "engine" in tts.health() else 1.5)


def test_a_voice(url: str, tmp_path: Path) -> None:
    library = VoiceLibrary(tmp_path)
    library.add("anna", AudioClip(tone(16_000, 4.0), 16_000), "a tone")
    with SpeechSynthesizer(url, KEY, voices=library) as tts:
        assert seconds(tts.synthesize(SpeechRequest("one", voiceprint="anna"))) == 0.5


def test_a_failure_of_the_engine_is_named(tts: SpeechSynthesizer) -> None:
    with pytest.raises(ServiceError, match="fail"):
        tts.synthesize(SpeechRequest("fail"))
    assert tts.render(SpeechRequest("fail"), deadline_s=5).failure


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_wrong_key(url: str, key: str | None) -> None:
    with SpeechSynthesizer(url, key, retries=0) as tts, pytest.raises(ServiceError, match=r"40[13]"):
        tts.synthesize(SpeechRequest("one"))


def test_msgpack_with_an_inline_reference(url: str) -> None:
    clip = io.BytesIO()
    soundfile.write(clip, tone(16_000, 4.0), 16_000, format="WAV")
    body = msgpack.packb({"text": "one", "references": [{"audio": clip.getvalue(), "text": "a tone"}]})
    answer = post(url, data=body, headers={"content-type": "application/msgpack"})
    assert len(soundfile.read(io.BytesIO(answer.content))[0])


def test_json_with_an_inline_reference(url: str) -> None:
    clip = base64.b64encode(bytes(600)).decode()
    assert post(url, json={"text": "one", "references": [{"audio": clip, "text": ""}]}).status_code == 200


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"data": {"text": "one"}}, 415),
        ({"json": {}}, 422),
        ({"json": {"text": "one", "top_p": 7}}, 422),
        ({"json": {"text": "one", "format": "aiff"}}, 422),
        ({"json": {"text": "one", "streaming": True, "format": "mp3"}}, 400),
        ({"json": {"text": "one", "a field that nobody knows": 1}}, 200),
    ],
)
def test_answers_have_the_same_status(url: str, options: dict[str, object], status: int) -> None:
    assert post(url, **options).status_code == status


@pytest.mark.parametrize("form", ["wav", "mp3"])
def test_formats(url: str, form: str) -> None:
    samples, rate = soundfile.read(io.BytesIO(post(url, json={"text": "one two", "format": form}).content))
    assert len(samples) / rate == pytest.approx(1.0, abs=0.1)
