"""Recognisers on other machines: FunASR's websocket protocol and OpenAI's transcription API."""

from __future__ import annotations

import socket
import threading
import time

import numpy as np
import pytest
import tiny_funasr
from funasr_server import funasr_server
from scripted_server import Status, scripted_server
from voices import silence, spoken, white_noise

from emolib.audio import AudioClip, read_audio
from emolib.errors import ServiceError, UsageError
from emolib.speech import FunASRServer, NoSpeech, SpeechRecognizer, Transcript, TranscriptionServer

TONE = AudioClip(white_noise(1.3, -20), 16_000, "question.wav")
SEGMENT = {
    "text": "今天天气真好。",
    "timestamp": "[[100,300]]",
    "stamp_sents": [{"text_seg": "今 天 天 气 真 好", "punc": "。", "start": 100, "end": 1130}],
}


def closed_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def whole(text: str, **fields: object) -> Status:
    answer = Status(200)
    answer.body = {"text": text, **fields}
    return answer


# --- FunASR's websocket server ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["acknowledging", "mirroring", "c++"])
def test_a_clip_is_transcribed_by_every_generation_of_the_server(kind):
    with funasr_server(kind, segments=[{"text": "Hello there,"}, {"text": "my friend."}]) as server:
        transcript = FunASRServer(server.url, hotwords=["friend"]).transcribe(TONE)
    assert transcript.text == "Hello there, my friend."
    assert server.settings["mode"] == "offline"
    assert server.settings["hotwords"] == '{"friend": 20}'
    assert server.settings["audio_fs"] == 16_000


def test_all_samples_arrive_in_messages_of_60_ms():
    with funasr_server(segments=[{"text": "yes"}]) as server:
        FunASRServer(server.url).transcribe(TONE)
    assert set(server.messages[:-1]) == {1_920}
    assert sum(server.messages) == 2 * len(TONE)


def test_partial_transcripts_come_while_speech_goes_on_and_are_corrected_at_the_end():
    with funasr_server(increments=["今天", "天汽"], segments=[SEGMENT]) as server:
        stream = FunASRServer(server.url).stream()
        stream.push(TONE.samples)
        end = time.monotonic() + 5
        while (stream.partial()[0] or Transcript("")).text != "今天天汽" and time.monotonic() < end:
            time.sleep(0.01)
        found, covered = stream.partial()
        transcript = stream.finish(len(TONE))
    assert found.text == "今天天汽"
    assert 0 < covered <= len(TONE)
    assert transcript.text == "今天天气真好。"
    assert transcript.words[0].end == 1.13


def test_the_tags_of_sensevoice_become_language_and_emotion():
    with funasr_server(segments=[{"text": "<|en|><|HAPPY|><|Speech|><|withitn|>Hello."}]) as server:
        transcript = FunASRServer(server.url).transcribe(TONE)
    assert (transcript.text, transcript.language, transcript.voice_emotion) == ("Hello.", "en", {"HAPPY": 1.0})


@pytest.mark.parametrize("kind", ["acknowledging", "mirroring"])
def test_an_utterance_without_words_is_no_speech(kind):
    with funasr_server(kind, segments=[{"text": ""}]) as server, pytest.raises(NoSpeech, match=r"question\.wav"):
        FunASRServer(server.url).transcribe(TONE)


def test_silence_is_not_sent_at_all():
    with pytest.raises(NoSpeech):
        FunASRServer(f"ws://127.0.0.1:{closed_port()}").transcribe(AudioClip(silence(1), 16_000))


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("die", "closed the connection before the transcript came"),
        ("hang", r"gave no transcript within 0\.7 s"),
        ("fail", "out of memory"),
        ("babble", "sent what is no answer of FunASR"),
    ],
)
def test_a_server_that_fails_is_named_with_what_went_wrong(trouble, message):
    with funasr_server() as server:
        server.trouble = trouble
        with pytest.raises(ServiceError, match=message) as caught:
            FunASRServer(server.url, timeout_s=0.7).transcribe(TONE)
        server.release()
    assert server.url in str(caught.value)


def test_a_server_that_dies_while_somebody_speaks_is_reported_at_the_end_of_the_utterance():
    with funasr_server() as server:
        server.trouble = "die early"
        stream = FunASRServer(server.url, timeout_s=2).stream()
        for _ in range(3):
            stream.push(TONE.samples)
            assert stream.partial() == (None, 0)
        with pytest.raises(ServiceError, match="closed the connection before the transcript came"):
            stream.finish(3 * len(TONE))


def test_no_server_at_all_is_said_at_once():
    started = time.monotonic()
    with pytest.raises(ServiceError, match="check that it runs"):
        FunASRServer(f"ws://127.0.0.1:{closed_port()}").transcribe(TONE)
    assert time.monotonic() - started < 2


def test_a_wrong_key_is_said_and_not_shown():
    with funasr_server(segments=[{"text": "yes"}]) as server:
        server.key = "right"
        assert FunASRServer(server.url, api_key="right").transcribe(TONE).text == "yes"
        with pytest.raises(ServiceError, match=r"HTTP 401\); check the key") as caught:
            FunASRServer(server.url, api_key="secret-key").transcribe(TONE)
    assert "secret-key" not in str(caught.value)


def test_a_web_server_is_not_taken_for_funasr(funasr_http):
    with pytest.raises(ServiceError, match=r"HTTP 40\d\); .*that it is a FunASR server"):
        FunASRServer(funasr_http.replace("http", "ws")).transcribe(TONE)


# --- OpenAI's transcription API -----------------------------------------------------------------


@pytest.fixture(scope="module")
def funasr_http(tmp_path_factory):
    """The real application of `funasr-server` over a tiny SenseVoice with random weights."""
    app_module = pytest.importorskip("funasr.bin._server_app", reason="FunASR's server is not installed")
    import uvicorn

    model = tiny_funasr.sensevoice(tmp_path_factory.mktemp("funasr") / "sensevoice")
    app = app_module.create_app(device="cpu", model_path=str(model))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    server.should_exit = True
    thread.join(10)


def test_funasrs_own_http_server_transcribes(funasr_http):
    transcript = TranscriptionServer(funasr_http).transcribe(spoken())
    assert transcript.text
    assert transcript.words[-1].end == pytest.approx(spoken().seconds, abs=0.1)


def test_an_unknown_model_of_funasrs_server_is_named(funasr_http):
    with pytest.raises(ServiceError, match="Unknown model 'nonsense'"):
        TranscriptionServer(funasr_http, "nonsense", retries=0).transcribe(TONE)


def test_segments_language_and_confidence_are_taken_over():
    segments = [{"id": 0, "start": 0.0, "end": 1.3, "text": " Hello.", "avg_logprob": -0.1}]
    with scripted_server(whole(" Hello. ", language="english", duration=1.3, segments=segments)) as server:
        transcript = TranscriptionServer(server.url, api_key="k", language="en").transcribe(TONE)
    assert (transcript.text, transcript.language, transcript.words[0].text) == ("Hello.", "english", "Hello.")
    assert transcript.confidence == pytest.approx(0.905, abs=0.001)
    assert server.keys == ["Bearer k"]
    assert server.fields["model"] == "whisper-1"
    assert server.fields["language"] == "en"


def test_the_server_gets_the_very_samples(tmp_path):
    with scripted_server(whole("yes")) as server:
        TranscriptionServer(server.url).transcribe(TONE)
    (tmp_path / "sent.wav").write_bytes(server.files["file"])
    assert np.allclose(read_audio(tmp_path / "sent.wav").samples, TONE.samples, atol=1 / 32768)


def test_a_stream_asks_once_at_its_end():
    with scripted_server(whole("yes")) as server:
        stream = TranscriptionServer(server.url).stream()
        for _ in range(3):
            stream.push(TONE.samples)
            stream.flush()
            assert stream.partial() == (None, 0)
        assert stream.finish(len(TONE)).text == "yes"
    assert len(server.keys) == 1


def test_a_busy_server_is_asked_again():
    with scripted_server(Status(503), Status(429), whole("yes")) as server:
        assert TranscriptionServer(server.url).transcribe(TONE).text == "yes"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Status(401, "bad key secret-key"), r"refused the API key \(HTTP 401\)"),
        (Status(500, "broken with secret-key"), "HTTP 500"),
        (whole(""), "no speech was heard"),
    ],
)
def test_what_a_server_refuses_is_said_without_the_key(answer, message):
    with scripted_server(answer) as server, pytest.raises((ServiceError, NoSpeech), match=message) as caught:
        TranscriptionServer(server.url, api_key="secret-key", retries=0).transcribe(TONE)
    assert "secret-key" not in str(caught.value)


def test_a_server_that_says_nothing_is_left_after_the_time_out():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = TranscriptionServer(f"http://127.0.0.1:{silent.getsockname()[1]}/v1", timeout_s=0.3, retries=0)
        with pytest.raises(ServiceError, match=r"silent for 0\.3 s"):
            server.transcribe(TONE)


def test_no_transcription_server_at_all_is_said():
    with pytest.raises(ServiceError, match="cannot be reached"):
        TranscriptionServer(f"http://127.0.0.1:{closed_port()}/v1", retries=0).transcribe(TONE)


def test_openai_without_a_key_and_urls_that_are_none_are_refused(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        TranscriptionServer()
    with pytest.raises(UsageError, match="http"):
        TranscriptionServer("ftp://somewhere")
    with pytest.raises(UsageError, match="ws://"):
        FunASRServer("http://somewhere")


def test_the_key_of_openai_goes_to_no_other_server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    with scripted_server(whole("yes")) as server:
        TranscriptionServer(server.url).transcribe(TONE)
    assert server.keys != ["Bearer secret-key"]


def test_they_have_the_interface_of_a_recogniser():
    assert isinstance(FunASRServer(), SpeechRecognizer)
    assert isinstance(TranscriptionServer("http://127.0.0.1:1/v1"), SpeechRecognizer)
