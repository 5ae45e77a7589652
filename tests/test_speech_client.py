"""The client against servers that misbehave, and against Fish-Speech's traps."""

from __future__ import annotations

import http.server
import itertools
import json
import shutil
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_server import ToneEngine, fail_at, speech_server, tone, wait_at

from emolib.audio import AudioClip
from emolib.errors import InputError, ServiceError, UsageError
from emolib.tts import SpeechRequest, SpeechSynthesizer
from emolib.tts.engines.fish import FishEngine
from emolib.tts.markers import S1, S2
from emolib.tts.sound import PcmStream, encode, to_pcm16, wav_header
from emolib.tts.transport import Deadline, ServiceConnection
from emolib.tts.voiceprints import VoiceLibrary

Handler = http.server.BaseHTTPRequestHandler
HELLO = SpeechRequest("hello")


@contextmanager
def scripted(answer: Callable[[Handler], None], health: bool = True) -> Iterator[tuple[str, list[dict]]]:
    """A server that answers `/v1/tts` as the test says, and the bodies that it got."""
    bodies: list[dict] = []

    class Scripted(Handler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/v1/health" and health:
                send(self, b'{"status": "ok"}', kind="application/json")
            else:
                send(self, b"{}", status=404)

        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", bodies
    finally:
        server.shutdown()
        server.server_close()


def send(handler: Handler, body: bytes, status: int = 200, kind: str = "audio/wav", **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


WAV = encode(tone(8_000), 8_000, "wav")


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_stream_may_be_cut_anywhere(data: st.DataObject) -> None:
    samples = tone(8_000, 0.05)
    raw = data.draw(
        st.sampled_from(
            [
                to_pcm16(samples),
                wav_header(8_000) + to_pcm16(samples),
                encode(samples, 8_000, "wav"),
                encode(samples, 8_000, "wav") + b"LIST\x04\0\0\0abcd",
            ]
        )
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    stream = PcmStream(default_rate=8_000)
    chunks = [raw[a:b] for a, b in itertools.pairwise([0, *cuts, len(raw)])]
    heard = np.concatenate([stream.push(chunk) for chunk in chunks])
    stream.finish()
    assert stream.sample_rate == 8_000
    assert np.abs(heard - samples).max() < 1e-4


@given(st.binary(max_size=400))
def test_no_bytes_crash_the_parser(raw: bytes) -> None:
    stream = PcmStream()
    try:
        samples = stream.push(raw)
        stream.finish()
    except ServiceError:
        return
    assert samples.dtype == np.float32


@given(st.binary(max_size=120))
def test_no_wav_header_crashes_the_parser(tail: bytes) -> None:
    stream = PcmStream()
    try:
        stream.push(b"RIFF\0\0\0\0WAVE" + tail)
        stream.finish()
    except ServiceError:
        pass


def test_stereo_and_float_wavs_are_read() -> None:
    shape = struct.pack("<HHIIHH", 3, 2, 16_000, 16_000 * 8, 8, 32)
    data = np.array([[0.5, -0.5], [0.25, 0.75]], dtype="<f4").tobytes()
    raw = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", 16) + shape + b"data" + struct.pack("<I", len(data)) + data
    assert PcmStream().push(raw) == pytest.approx([0.0, 0.5])


def test_headerless_pcm_is_taken_as_fish_speech_sends_it() -> None:
    with scripted(lambda handler: send(handler, to_pcm16(tone(44_100)))) as (url, _), SpeechSynthesizer(url) as tts:
        clip = tts.synthesize(HELLO)
    assert (clip.sample_rate, len(clip)) == (44_100, 22_050)


def test_a_wav_with_zero_frames_in_its_header_is_taken_whole() -> None:
    body = wav_header(44_100) + to_pcm16(tone(44_100))
    with scripted(lambda handler: send(handler, body)) as (url, _), SpeechSynthesizer(url) as tts:
        assert len(tts.synthesize(HELLO)) == 22_050


def test_a_fish_speech_server_gets_the_emotion_as_a_tag() -> None:
    with scripted(lambda handler: send(handler, WAV)) as (url, bodies):
        SpeechSynthesizer(url).synthesize(SpeechRequest("hello", "anger"))
        SpeechSynthesizer(url, tags=S2).synthesize(SpeechRequest("hello", "fear"))
        SpeechSynthesizer(url).synthesize(HELLO)
    assert [body["text"] for body in bodies] == ["(angry) hello", "[scared, trembling voice] hello", "hello"]


def test_our_service_gets_emotion_and_intensity_with_each_request(tmp_path: Path) -> None:
    engine = ToneEngine()
    with speech_server(engine, tmp_path) as url, SpeechSynthesizer(url) as tts:
        tts.synthesize(SpeechRequest("one", "joy", intensity=0.5))
        tts.synthesize(SpeechRequest("two", "fear"))
        tts.synthesize(SpeechRequest("three"))
    heard = [(utterance.text, utterance.emotion, utterance.intensity) for utterance in engine.utterances]
    assert heard == [("one", "joy", 0.5), ("two", "fear", 1.0), ("three", None, 1.0)]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(status: int) -> None:
    calls = itertools.count()

    def answer(handler: Handler) -> None:
        if next(calls) == 0:
            send(handler, b"{}", status, Retry_After="0")
        else:
            send(handler, WAV)

    with scripted(answer) as (url, bodies), SpeechSynthesizer(url) as tts:
        assert len(tts.synthesize(HELLO)) == 4_000
    assert len(bodies) == 2


@pytest.mark.parametrize(("status", "error"), [(400, InputError), (401, ServiceError), (422, InputError)])
def test_a_lasting_failure_is_not_tried_again(status: int, error: type[Exception]) -> None:
    def answer(handler: Handler) -> None:
        send(handler, b'{"message": "the reason"}', status, "application/json")

    with scripted(answer) as (url, bodies), SpeechSynthesizer(url) as tts, pytest.raises(error, match="the reason"):
        tts.synthesize(HELLO)
    assert len(bodies) == 1


def half_a_wav(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(WAV)))
    handler.end_headers()
    handler.wfile.write(WAV[:1_000])
    handler.close_connection = True


def lying_header(handler: Handler) -> None:
    send(handler, wav_header(8_000, 90_000) + WAV[44:])


@pytest.mark.parametrize("broken", [half_a_wav, lying_header])
def test_half_a_wav_is_asked_for_again_and_never_given_out(broken: Callable[[Handler], None]) -> None:
    calls = itertools.count()

    def answer(handler: Handler) -> None:
        broken(handler) if next(calls) == 0 else send(handler, WAV)

    with scripted(answer) as (url, bodies), SpeechSynthesizer(url) as tts:
        assert len(tts.synthesize(HELLO)) == 4_000
    assert len(bodies) == 2


def test_half_a_wav_every_time_is_an_error() -> None:
    with scripted(half_a_wav) as (url, _), SpeechSynthesizer(url, retries=1) as tts:
        with pytest.raises(ServiceError, match="broke off"):
            tts.synthesize(HELLO)
        with pytest.raises(ServiceError, match="broke off"):
            list(tts.stream(HELLO))


def test_attempts_wait_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(Deadline, "sleep", lambda _, seconds: pauses.append(seconds))
    with SpeechSynthesizer("http://127.0.0.1:9", retries=7) as tts, pytest.raises(ServiceError, match="8 attempts"):
        tts.synthesize(HELLO)
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_server_that_takes_the_request_and_says_nothing_is_given_up() -> None:
    silent = threading.Event()
    with scripted(lambda _: silent.wait(10)) as (url, _), SpeechSynthesizer(url, timeout_s=0.2, retries=0) as tts:
        with pytest.raises(ServiceError, match="timed out"):
            tts.synthesize(HELLO)
        silent.set()


@pytest.mark.parametrize("broken", [half_a_wav, lying_header])
def test_half_a_wav_of_the_server_behind_our_service_is_an_error_and_no_half_sentence(
    broken: Callable[[Handler], None], tmp_path: Path
) -> None:
    calls = itertools.count()

    def answer(handler: Handler) -> None:
        broken(handler) if next(calls) == 0 else send(handler, WAV)

    with (
        scripted(answer) as (behind, _),
        speech_server(FishEngine(behind, S1), tmp_path) as url,
        SpeechSynthesizer(url, retries=0) as tts,
    ):
        with pytest.raises(ServiceError, match=r"engine fish failed.*(broke off|half a WAV)"):
            tts.synthesize(HELLO)
        assert tts.synthesize(HELLO).seconds == pytest.approx(0.5, abs=0.001)


def test_no_server_is_an_error_that_names_the_address() -> None:
    with (
        SpeechSynthesizer("http://127.0.0.1:9", retries=1) as tts,
        pytest.raises(ServiceError, match=r"127\.0\.0\.1:9"),
    ):
        tts.synthesize(HELLO)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", "nonsense"])
def test_an_address_that_is_none_is_bad_use(url: str) -> None:
    with pytest.raises(UsageError, match="URL"):
        SpeechSynthesizer(url)


def test_a_server_that_is_none_of_ours_is_an_error() -> None:
    with scripted(lambda handler: send(handler, WAV), health=False) as (url, _), pytest.raises(InputError, match="404"):
        SpeechSynthesizer(url).health()


def one_byte_a_second(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(WAV)))
    handler.end_headers()
    for position in range(len(WAV)):
        try:
            handler.wfile.write(WAV[position : position + 1])
            handler.wfile.flush()
        except OSError:
            return
        time.sleep(0.1)


def test_a_sentence_past_its_deadline_becomes_silence_and_the_next_is_heard() -> None:
    calls = itertools.count()

    def answer(handler: Handler) -> None:
        one_byte_a_second(handler) if next(calls) == 0 else send(handler, WAV)

    with scripted(answer) as (url, _), SpeechSynthesizer(url) as tts:
        started = time.monotonic()
        late = tts.render(HELLO, deadline_s=0.5)
        assert time.monotonic() - started < 0.8
        assert late.failure
        assert not late.clip.samples.any()
        heard = tts.render(HELLO, deadline_s=5)
    assert heard.failure is None
    assert heard.clip.samples.any()


def test_a_failed_sentence_becomes_silence_with_its_reason(tmp_path: Path) -> None:
    with speech_server(ToneEngine(fail_at("bad")), tmp_path) as url, SpeechSynthesizer(url, retries=0) as tts:
        texts = ["good", "bad", "good"]
        renderings = [tts.render(SpeechRequest(text), deadline_s=5) for text in texts]
    assert [rendering.failure is None for rendering in renderings] == [True, False, True]
    assert "cannot say bad" in renderings[1].failure


def test_abandoning_a_sentence_stops_its_synthesis(tmp_path: Path) -> None:
    gate = threading.Event()
    engine = ToneEngine(wait_at("wait", gate))
    with speech_server(engine, tmp_path) as url, SpeechSynthesizer(url) as tts:
        assert tts.render(SpeechRequest("one wait " + "word " * 300), deadline_s=0.3).failure
        time.sleep(0.3)
        gate.set()
        assert tts.render(HELLO, deadline_s=5).failure is None
    assert engine.pieces < 10


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_clips_come_at_the_rate_of_the_sink(tmp_path: Path, rate: int) -> None:
    with speech_server(ToneEngine(), tmp_path) as url, SpeechSynthesizer(url, sample_rate=rate) as tts:
        whole = tts.synthesize(SpeechRequest("one two"))
        pieces = list(tts.stream(SpeechRequest("one two")))
    assert whole.sample_rate == rate
    assert {piece.sample_rate for piece in pieces} == {rate}
    assert len(whole) == rate
    assert sum(len(piece) for piece in pieces) == pytest.approx(rate, abs=2)


def test_the_key_is_sent_and_a_wrong_one_is_an_error(tmp_path: Path) -> None:
    with speech_server(ToneEngine(), tmp_path, api_key="right") as url:
        assert len(SpeechSynthesizer(url, "right").synthesize(HELLO)) == 4_000
        with pytest.raises(ServiceError, match="401"):
            SpeechSynthesizer(url, "wrong").synthesize(HELLO)


@pytest.mark.parametrize("intensity", [-1.0, 2.1, float("nan"), float("inf")])
def test_an_impossible_intensity_is_bad_use(intensity: float) -> None:
    with pytest.raises(UsageError, match="intensity"):
        SpeechRequest("hello", "joy", intensity=intensity)


def test_an_empty_text_and_an_unknown_emotion_are_refused_before_they_are_sent() -> None:
    with pytest.raises(InputError, match="no text"):
        SpeechRequest(" \n")
    with pytest.raises(UsageError, match="boredom"):
        SpeechRequest("hello", "boredom")


class TestVoices:
    @pytest.fixture
    def library(self, tmp_path: Path) -> VoiceLibrary:
        library = VoiceLibrary(tmp_path / "voices")
        library.add("anna", AudioClip(tone(16_000, 4.0), 16_000), "a calm tone")
        library.add("anna", AudioClip(0.5 * tone(16_000, 3.5), 16_000), "a glad tone", "joy")
        return library

    def test_a_voice_is_uploaded_once_for_each_emotion(self, library: VoiceLibrary, tmp_path: Path) -> None:
        engine = ToneEngine()
        with speech_server(engine, tmp_path / "references") as url, SpeechSynthesizer(url, voices=library) as tts:
            for emotion in ("joy", "sadness", "joy", None):
                tts.synthesize(SpeechRequest("hello", emotion, "anna"))
            stored = list((tmp_path / "references").iterdir())
        texts = [utterance.references[0].text for utterance in engine.utterances]
        assert texts == ["a glad tone", "a calm tone", "a glad tone", "a calm tone"]
        assert len(stored) == 2

    def test_a_voice_goes_inline_where_the_server_has_no_references(self, library: VoiceLibrary) -> None:
        with scripted(lambda handler: send(handler, WAV)) as (url, bodies):
            SpeechSynthesizer(url, voices=library).synthesize(SpeechRequest("hello", "joy", "anna"))
        assert bodies[0]["references"][0]["text"] == "a glad tone"
        assert "reference_id" not in bodies[0]

    def test_a_dialogue_has_its_voice_brought_to_the_server_at_the_start(
        self, library: VoiceLibrary, tmp_path: Path
    ) -> None:
        engine = ToneEngine()
        with (
            speech_server(engine, tmp_path / "references") as url,
            SpeechSynthesizer(url, voices=library, voice="anna") as tts,
        ):
            tts.prepare_voice("anna")
            stored = list((tmp_path / "references").iterdir())
            tts.synthesize(HELLO)
            with pytest.raises(UsageError, match="nobody"):
                tts.prepare_voice("nobody")
        assert len(stored) == 1
        assert engine.utterances[0].references[0].text == "a calm tone"

    def test_a_server_that_lost_an_uploaded_voice_gets_it_again(self, library: VoiceLibrary, tmp_path: Path) -> None:
        engine, folder = ToneEngine(), tmp_path / "references"
        request = SpeechRequest("hello", voiceprint="anna")
        with speech_server(engine, folder) as url, SpeechSynthesizer(url, voices=library) as tts:
            tts.synthesize(request)
            shutil.rmtree(folder)
            folder.mkdir()
            tts.synthesize(request)
            shutil.rmtree(folder)
            folder.mkdir()
            list(tts.stream(request))
            assert len(list(folder.iterdir())) == 1
        assert [utterance.references[0].text for utterance in engine.utterances] == ["a calm tone"] * 3

    def test_a_server_is_asked_for_its_voices_again_after_a_failure(
        self, library: VoiceLibrary, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Fish-Speech started anew would take the id for an unknown one, and speak in a random voice."""
        answers = iter([lambda handler: send(handler, WAV), half_a_wav, lambda handler: send(handler, WAV)])
        asked: list[str] = []
        ask = ServiceConnection.ask

        def counted(connection: ServiceConnection, method: str, path: str, *rest: object, **options: object) -> object:
            asked.append(path)
            return ask(connection, method, path, *rest, **options)

        monkeypatch.setattr(ServiceConnection, "ask", counted)
        with scripted(lambda handler: next(answers)(handler)) as (url, bodies):
            tts = SpeechSynthesizer(url, voices=library)
            for _ in range(2):
                tts.synthesize(SpeechRequest("hello", voiceprint="anna"))
        assert len(bodies) == 3
        assert asked.count("/v1/references/list") == 2

    def test_an_engine_that_imitates_nobody_is_named(self, library: VoiceLibrary, tmp_path: Path) -> None:
        engine = ToneEngine()
        engine.clones_voices = False
        with (
            speech_server(engine, tmp_path / "references") as url,
            SpeechSynthesizer(url, voices=library) as tts,
            pytest.raises(UsageError, match="imitates none"),
        ):
            tts.prepare_voice("anna")

    def test_an_unknown_voice_is_bad_use_and_never_a_random_voice(self, library: VoiceLibrary, tmp_path: Path) -> None:
        engine = ToneEngine()
        request = SpeechRequest("hello", voiceprint="nobody")
        with speech_server(engine, tmp_path / "references") as url, pytest.raises(UsageError, match="nobody"):
            SpeechSynthesizer(url, voices=library).synthesize(request)
        assert engine.utterances == []
