"""The service speaks Fish-Speech's protocol and turns away what it cannot take."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgpack
import numpy as np
import pytest
import requests
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from speech_server import ToneEngine, speech_server, tone

from emolib.tts.protocol import Refusal, SpeechBody, parse_fields, parse_speech

CLIP = io.BytesIO()
soundfile.write(CLIP, tone(16_000, 4.0), 16_000, format="WAV")
CLIP = CLIP.getvalue()
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def engine() -> ToneEngine:
    return ToneEngine()


@pytest.fixture(scope="module")
def url(engine: ToneEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with speech_server(engine, tmp_path_factory.mktemp("references")) as address:
        yield address


def speak(url: str, **fields: object) -> requests.Response:
    return requests.post(f"{url}/v1/tts", json={"text": "one two", **fields}, timeout=10)


def test_json_gives_a_wav_file(url: str) -> None:
    answer = speak(url)
    samples, rate = soundfile.read(io.BytesIO(answer.content))
    assert answer.headers["content-type"] == "audio/wav"
    assert (len(samples), rate) == (8_000, 8_000)


def test_msgpack_gives_the_same_sound(url: str) -> None:
    headers = {"content-type": "application/msgpack"}
    body = msgpack.packb({"text": "one two", "references": [{"audio": CLIP, "text": "a tone"}]})
    answer = requests.post(f"{url}/v1/tts", data=body, headers=headers, params={"format": "msgpack"}, timeout=10)
    assert answer.content == speak(url).content


def test_a_stream_begins_with_a_header_of_unknown_length(url: str) -> None:
    answer = speak(url, streaming=True)
    assert answer.content[:4] == b"RIFF"
    assert answer.content[40:44] == bytes(4)
    assert len(answer.content) == 44 + 2 * 8_000


@pytest.mark.parametrize(("form", "start"), [("mp3", (b"ID3", b"\xff")), ("opus", (b"OggS",)), ("pcm", (b"\0\0",))])
def test_other_formats_are_made(url: str, form: str, start: tuple[bytes, ...]) -> None:
    answer = speak(url, format=form)
    assert answer.status_code == 200
    assert answer.content.startswith(start)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"text": ""}, 422),
        ({"text": " \n\t"}, 422),
        ({"text": "word " * 2_000}, 422),
        ({"text": "你好，word 😀" * 1_000}, 422),
        ({"text": 7}, 422),
        ({"top_p": 3}, 422),
        ({"format": "aiff"}, 422),
        ({"emotion": "boredom"}, 422),
        ({"references": [{"audio": "short", "text": ""}]}, 422),
        ({"streaming": True, "format": "mp3"}, 400),
        ({"reference_id": "nobody"}, 404),
        ({"reference_id": "../x"}, 400),
        ({"reference_id": "/etc/passwd"}, 400),
        ({"reference_id": "a\0b"}, 400),
    ],
)
def test_a_bad_field_is_named(url: str, fields: dict[str, object], status: int) -> None:
    answer = speak(url, **fields)
    assert answer.status_code == status
    assert answer.json()["message"]
    if status == 422:
        assert answer.json()["errors"][0]["loc"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"\xc1\xff\x00", "application/msgpack", 400),
        (b"\x92\x01", "application/msgpack", 400),
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"[1]", "application/json", 400),
        (b"text=hello", "application/x-www-form-urlencoded", 415),
        (b"", "", 415),
    ],
)
def test_a_malformed_body_is_turned_away(url: str, body: bytes, kind: str, status: int) -> None:
    answer = requests.post(f"{url}/v1/tts", data=body, headers={"content-type": kind}, timeout=10)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("one \U0001f600 two\x07", "one two"),
        ("**one** `two`", "one two"),
        ("你好 one", "你好 one"),
        ("你好\x00😀 one，世界", "你好 one，世界"),
        ("(angry) one [sad, slow] two", "one two"),
        ("one (see page two)", "one (see page two)"),
    ],
)
def test_the_engine_is_given_what_can_be_said(url: str, engine: ToneEngine, text: str, spoken: str) -> None:
    assert speak(url, text=text).status_code == 200
    assert engine.utterances[-1].text == spoken


def test_an_emoji_alone_is_a_short_silence(url: str) -> None:
    samples, rate = soundfile.read(io.BytesIO(speak(url, text="\U0001f600").content))
    assert len(samples) / rate == pytest.approx(0.1)
    assert not samples.any()


def test_tags_in_the_text_set_the_emotion(url: str, engine: ToneEngine) -> None:
    speak(url, text="(furious) one")
    assert (engine.utterances[-1].emotion, engine.utterances[-1].intensity) == ("anger", 1.5)


def test_references_are_added_listed_used_renamed_and_deleted(url: str, engine: ToneEngine) -> None:
    form = {"id": "my voice-1", "text": "a tone"}
    added = requests.post(f"{url}/v1/references/add", data=form, files={"audio": CLIP}, headers=JSON, timeout=10)
    assert added.json()["reference_id"] == "my voice-1"
    again = requests.post(f"{url}/v1/references/add", data=form, files={"audio": CLIP}, headers=JSON, timeout=10)
    assert again.status_code == 409
    assert requests.get(f"{url}/v1/references/list", headers=JSON, timeout=10).json()["reference_ids"] == ["my voice-1"]
    assert speak(url, reference_id="my voice-1").status_code == 200
    assert engine.utterances[-1].references[0].audio == CLIP
    names = {"old_reference_id": "my voice-1", "new_reference_id": "other"}
    requests.post(f"{url}/v1/references/update", json=names, timeout=10).raise_for_status()
    requests.delete(f"{url}/v1/references/delete", json={"reference_id": "other"}, timeout=10).raise_for_status()
    answer = requests.get(f"{url}/v1/references/list", timeout=10)
    assert msgpack.unpackb(answer.content)["reference_ids"] == []


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", "a\0b", "", ".", "..", " x", "x" * 300, "é"])
def test_no_id_leaves_the_references_folder(url: str, name: str) -> None:
    form = {"id": name, "text": "a tone"}
    added = requests.post(f"{url}/v1/references/add", data=form, files={"audio": CLIP}, timeout=10)
    assert added.status_code in (400, 422)
    gone = requests.delete(f"{url}/v1/references/delete", json={"reference_id": name}, timeout=10)
    assert gone.status_code in (400, 422)


def test_a_reference_must_be_sound(url: str) -> None:
    form = {"id": "noise", "text": "a tone"}
    answer = requests.post(f"{url}/v1/references/add", data=form, files={"audio": b"no sound"}, timeout=10)
    assert answer.status_code == 422


def test_half_a_multipart_body_is_refused(url: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="id"\r\n\r\nhalf\r\n--x\r\nContent-Dispo'
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = requests.post(f"{url}/v1/references/add", data=body, headers=headers, timeout=10)
    assert answer.status_code in (400, 422)
    assert requests.get(f"{url}/v1/health", timeout=10).json()["status"] == "ok"


def test_a_client_that_leaves_in_the_middle_of_its_upload_leaves_nothing_behind(url: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="id"\r\n\r\nhalf\r\n--x\r\nContent-Dispo'
    kind = "multipart/form-data; boundary=x"
    head = (
        f"POST /v1/references/add HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: 9000\r\n\r\n"
    )
    host = urlsplit(url)
    with socket.create_connection((host.hostname, host.port), timeout=10) as connection:
        connection.sendall(head.encode() + body)
    assert "half" not in requests.get(f"{url}/v1/references/list", headers=JSON, timeout=10).json()["reference_ids"]
    assert requests.get(f"{url}/v1/health", timeout=10).json()["status"] == "ok"


@pytest.mark.parametrize("route", ["/v1/tts", "/v1/references/add"])
def test_a_two_gigabyte_upload_is_refused_before_it_is_read(url: str, route: str) -> None:
    head = f"POST {route} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {{}}\r\nContent-Length: {2 << 30}\r\n\r\n"
    kind = "application/json" if route == "/v1/tts" else "multipart/form-data; boundary=x"
    assert b" 413 " in raw_answer(url, head.format(kind).encode())


def test_an_upload_of_unannounced_length_is_cut_off(url: str) -> None:
    kind = b"Content-Type: application/json\r\nTransfer-Encoding: chunked"
    head = b"POST /v1/tts HTTP/1.1\r\nHost: localhost\r\n" + kind + b"\r\n\r\n"
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    assert b" 413 " in raw_answer(url, head, *[chunk] * 40)


def raw_answer(url: str, *parts: bytes) -> bytes:
    host = urlsplit(url)
    with socket.create_connection((host.hostname, host.port), timeout=10) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except OSError:
            pass
        return connection.recv(200)


def test_a_page_from_elsewhere_is_not_answered(url: str) -> None:
    for origin in ("https://example.com", "null"):
        headers = {"Origin": origin}
        assert requests.get(f"{url}/v1/health", headers=headers, timeout=10).status_code == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("127.0.0.1:8080", 200), ("[::1]:8080", 200), ("rebound.example", 400), ("127.0.0.1.x", 400)],
)
def test_a_name_that_was_bound_to_this_machine_by_a_foreign_page_is_not_answered(
    url: str, host: str, status: int
) -> None:
    assert requests.get(f"{url}/v1/health", headers={"Host": host}, timeout=10).status_code == status


def test_the_routes_are_described(url: str) -> None:
    paths = requests.get(f"{url}/openapi.json", timeout=10).json()["paths"]
    assert {"/v1/tts", "/v1/health", "/v1/references/add", "/v1/references/list"} <= set(paths)
    assert "text" in str(paths["/v1/tts"])


def test_metrics_count_answers_and_sound(url: str) -> None:
    speak(url)
    text = requests.get(f"{url}/metrics", timeout=10).text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['emolib_tts_answers_total{status="200"}']) >= 1
    assert float(values["emolib_tts_audio_seconds_total"]) > 0
    assert float(values["emolib_tts_waiting"]) == 0
    assert 0 < float(values["emolib_tts_real_time_factor"]) < 1
    assert requests.get(f"{url}/v1/health", timeout=10).json()["real_time_factor"] > 0


class TestKey:
    @pytest.fixture(scope="class")
    def locked(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        with speech_server(ToneEngine(), tmp_path_factory.mktemp("locked"), api_key="right") as address:
            yield address

    @pytest.mark.parametrize("route", ["/v1/health", "/v1/references/list", "/metrics", "/openapi.json", "/docs"])
    @pytest.mark.parametrize("header", [None, "Bearer wrong", "right", "Bearer right2"])
    def test_every_route_wants_the_key(self, locked: str, route: str, header: str | None) -> None:
        headers = {"Authorization": header} if header else {}
        assert requests.get(locked + route, headers=headers, timeout=10).status_code == 401

    def test_the_right_key_opens(self, locked: str) -> None:
        headers = {"Authorization": "Bearer right"}
        assert requests.get(f"{locked}/v1/health", headers=headers, timeout=10).status_code == 200

    def test_with_a_key_the_service_answers_to_any_name(self, locked: str) -> None:
        headers = {"Authorization": "Bearer right", "Host": "speech.example"}
        assert requests.get(f"{locked}/v1/health", headers=headers, timeout=10).status_code == 200


def test_samples_survive_the_wire(url: str) -> None:
    fields = {"audio": base64.b64encode(CLIP).decode(), "text": "a tone"}
    samples, _ = soundfile.read(io.BytesIO(speak(url, references=[fields]).content), dtype="float32")
    assert np.abs(samples - np.tile(tone(8_000), 2)).max() < 1e-4


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(SpeechBody.model_fields)), VALUES))
def test_no_fields_crash_the_service(fields: dict[str, object]) -> None:
    with contextlib.suppress(Refusal):
        body = parse_speech(parse_fields(json.dumps(fields).encode(), "application/json"), 5_000)
        assert body.text.strip()


@given(st.binary(max_size=200), st.sampled_from(["application/json", "application/msgpack"]))
def test_no_bytes_crash_the_service(raw: bytes, kind: str) -> None:
    with contextlib.suppress(Refusal):
        parse_speech(parse_fields(raw, kind), 5_000)
