"""The service under load, with clients that leave or stop reading, and with an engine that fails."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from speech_server import ToneEngine, fail_at, speech_server, until, wait_at

from emolib.tts.synthesis import ServiceLimits

HEAD = "POST /v1/tts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"


def speak(url: str, text: str, **fields: object) -> requests.Response:
    return requests.post(f"{url}/v1/tts", json={"text": text, **fields}, timeout=20)


def health(url: str) -> dict[str, object]:
    return requests.get(f"{url}/v1/health", timeout=10).json()


def test_eight_clients_at_once_are_all_served_and_wait_their_turn(tmp_path: Path) -> None:
    engine = ToneEngine(lambda _: time.sleep(0.01))
    with speech_server(engine, tmp_path) as url:

        def client(number: int) -> list[int]:
            lengths = (1 + (number + turn) % 5 for turn in range(6))
            return [len(speak(url, " ".join([f"c{number}"] * length)).content) for length in lengths]

        with ThreadPoolExecutor(8) as pool:
            sizes = list(pool.map(client, range(8)))
    for number, heard in enumerate(sizes):
        assert heard == [44 + 2 * 4_000 * (1 + (number + turn) % 5) for turn in range(6)]
    order = [utterance.text.split()[0] for utterance in engine.utterances]
    rounds = [order.index(f"c{number}") for number in range(8)]
    assert max(rounds) < 16, "one client was served again and again before another's first turn"


def test_a_full_queue_answers_429_and_when_to_come_back(tmp_path: Path) -> None:
    gate = threading.Event()
    limits = ServiceLimits(places=1)
    with speech_server(ToneEngine(wait_at("wait", gate)), tmp_path, limits) as url, ThreadPoolExecutor(2) as pool:
        first = pool.submit(speak, url, "wait")
        assert until(lambda: health(url)["running"] == 1)
        second = pool.submit(speak, url, "two")
        assert until(lambda: health(url)["waiting"] == 1)
        assert "emolib_tts_waiting 1.0" in requests.get(f"{url}/metrics", timeout=10).text
        third = speak(url, "three")
        gate.set()
        assert third.status_code == 429
        assert int(third.headers["Retry-After"]) >= 1
        assert first.result().status_code == second.result().status_code == 200


def test_a_crowd_is_told_503_before_its_bodies_are_read(tmp_path: Path) -> None:
    with speech_server(ToneEngine(), tmp_path, ServiceLimits(connections=2)) as url:
        address = urlsplit(url)
        assert speak(url, "one").status_code == 200
        crowd = [socket.create_connection((address.hostname, address.port), timeout=10) for _ in range(2)]
        assert until(lambda: requests.get(f"{url}/v1/health", timeout=10).status_code == 503)
        crowd[0].sendall(HEAD.format(1000).encode() + b"{")
        with socket.create_connection((address.hostname, address.port), timeout=10) as late:
            late.sendall(HEAD.format(1000).encode())
            assert b" 503 " in late.recv(200)
        for connection in crowd:
            connection.close()
        assert until(lambda: speak(url, "one").status_code == 200)


def test_a_client_that_stops_in_the_middle_of_its_body_is_told_408(tmp_path: Path) -> None:
    with speech_server(ToneEngine(), tmp_path, ServiceLimits(client_silence=0.2)) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.sendall(HEAD.format(99).encode() + b"{")
            assert b" 408 " in connection.recv(200)


def test_who_waits_too_long_is_told_503(tmp_path: Path) -> None:
    gate = threading.Event()
    limits = ServiceLimits(patience=0.2)
    with speech_server(ToneEngine(wait_at("wait", gate)), tmp_path, limits) as url, ThreadPoolExecutor(1) as pool:
        first = pool.submit(speak, url, "wait")
        assert until(lambda: health(url)["running"] == 1)
        late = speak(url, "late")
        gate.set()
        assert late.status_code == 503
        assert int(late.headers["Retry-After"]) >= 1
        assert first.result().status_code == 200


@pytest.mark.parametrize("streaming", [False, True])
def test_a_client_that_goes_away_stops_the_synthesis(tmp_path: Path, streaming: bool) -> None:
    engine = ToneEngine(lambda _: time.sleep(0.02))
    with speech_server(engine, tmp_path) as url:
        connection = open_request(url, "word " * 500, streaming)
        assert until(lambda: engine.pieces >= 3)
        connection.close()
        assert engine.stopped.wait(3)
        assert until(lambda: health(url)["running"] == 0)
        assert speak(url, "next").status_code == 200
    assert engine.pieces < 250


def test_a_client_that_leaves_the_queue_gives_up_its_place(tmp_path: Path) -> None:
    gate = threading.Event()
    engine = ToneEngine(wait_at("wait", gate))
    with speech_server(engine, tmp_path, ServiceLimits(places=1)) as url, ThreadPoolExecutor(1) as pool:
        first = pool.submit(speak, url, "wait")
        assert until(lambda: health(url)["running"] == 1)
        connection = open_request(url, "never", streaming=False)
        assert until(lambda: health(url)["waiting"] == 1)
        connection.close()
        assert until(lambda: health(url)["waiting"] == 0)
        gate.set()
        assert first.result().status_code == 200
    assert [utterance.text for utterance in engine.utterances] == ["wait"]


def test_a_client_that_reads_one_byte_holds_no_slot_and_is_dropped(tmp_path: Path) -> None:
    engine = ToneEngine()
    limits = ServiceLimits(client_silence=0.5)
    with speech_server(engine, tmp_path, limits) as url:
        connection = open_request(url, "word " * 900, streaming=True)
        connection.recv(1)
        assert until(lambda: engine.pieces == 900)
        assert speak(url, "next").status_code == 200
        # The kernel's buffers are read to their end; what comes after them was never sent.
        time.sleep(1.0)
        received = 0
        connection.settimeout(5)
        while part := receive(connection):
            received += len(part)
        connection.close()
    assert received < 900 * 8_000


def receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionError:
        return b""


def open_request(url: str, text: str, streaming: bool) -> socket.socket:
    host = urlsplit(url)
    body = f'{{"text": "{text.strip()}", "streaming": {str(streaming).lower()}}}'
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((host.hostname, host.port))
    connection.sendall((HEAD.format(len(body)) + body).encode())
    return connection


def test_an_engine_that_raises_is_an_error_500_and_the_next_request_is_served(tmp_path: Path) -> None:
    with speech_server(ToneEngine(fail_at("bad")), tmp_path) as url:
        answer = speak(url, "good bad")
        assert answer.status_code == 500
        assert "cannot say bad" in answer.json()["message"]
        assert speak(url, "good").status_code == 200


def test_an_engine_that_raises_in_a_stream_cuts_it_visibly(tmp_path: Path) -> None:
    with speech_server(ToneEngine(fail_at("bad")), tmp_path) as url:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            speak(url, "good bad", streaming=True)
        assert speak(url, "good").status_code == 200


def test_an_engine_that_hangs_is_reported_and_recovers(tmp_path: Path) -> None:
    gate = threading.Event()
    limits = ServiceLimits(engine_silence=0.2)
    with speech_server(ToneEngine(wait_at("hang", gate)), tmp_path, limits) as url:
        assert speak(url, "hang").status_code == 504
        assert health(url)["status"] == "stuck"
        assert speak(url, "next").status_code == 503
        gate.set()
        assert until(lambda: health(url)["status"] == "ok")
        assert speak(url, "next").status_code == 200


def test_an_engine_that_breaks_its_promise_is_an_error(tmp_path: Path) -> None:
    def behave(_: str) -> None:
        raise ZeroDivisionError("foreign code")

    with speech_server(ToneEngine(behave), tmp_path) as url:
        answer = speak(url, "one")
    assert answer.status_code == 500
    assert "foreign code" in answer.json()["message"]


def test_memory_does_not_grow_with_the_number_of_utterances(tmp_path: Path) -> None:
    import gc
    import tracemalloc

    with speech_server(ToneEngine(), tmp_path) as url, requests.Session() as session:

        def speak_often(times: int) -> None:
            for _ in range(times):
                session.post(f"{url}/v1/tts", json={"text": "one two three"}, timeout=20).raise_for_status()

        speak_often(20)
        gc.collect()
        tracemalloc.start()
        speak_often(20)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        speak_often(30)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    # The tone engine itself keeps its utterances: far less than one clip of 24 kB a request.
    assert (after - before) / 30 < 3_000
