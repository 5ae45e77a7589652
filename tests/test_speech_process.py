"""The service as a child process: always stopped, restarted when it dies, refused where it would be open."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests
from speech_server import ToneEngine, speech_server, until, wait_at

from emolib.cli import main
from emolib.errors import ServiceError, UsageError
from emolib.tts import SpeechRequest, SpeechSynthesizer, running_service, serve
from emolib.tts.server import ServiceProcess


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/v1/health", timeout=5).ok
    except requests.RequestException:
        return False


def test_a_service_killed_in_the_middle_of_a_reply_comes_back_and_the_dialogue_goes_on() -> None:
    service = ServiceProcess()
    service.start()
    heard = []
    try:
        with SpeechSynthesizer(service.url, retries=6) as tts:
            long_text = " ".join(["This sentence is long enough to be interrupted."] * 4)
            speaking = threading.Thread(target=lambda: heard.append(tts.render(SpeechRequest(long_text), 60)))
            speaking.start()
            assert until(lambda: tts.health()["running"] == 1)
            os.kill(service.pid, signal.SIGKILL)
            speaking.join(60)
            heard.append(tts.render(SpeechRequest("And on we go."), 60))
        assert service.restarts == 1
    finally:
        service.stop()
    assert [rendering.failure for rendering in heard] == [None, None]
    assert heard[0].clip.seconds > 6 > heard[1].clip.seconds > 0.5


def test_it_is_stopped_by_a_ctrl_c_too() -> None:
    urls = []

    def use() -> None:
        with running_service("piper") as url:
            urls.append(url)
            assert answers(url)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use()
    assert not answers(urls[0])


def test_it_ends_when_its_parent_is_killed() -> None:
    code = (
        "import sys, time; from emolib.tts.server import ServiceProcess; s = ServiceProcess(); s.start();"
        "print(s.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    psutil.wait_procs([child], timeout=5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_service_that_cannot_start_says_so() -> None:
    with pytest.raises(ServiceError, match="did not start"), running_service("nonsense"):
        pass


def test_no_public_address_without_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.com"):
        with pytest.raises(UsageError, match="key"):
            serve(host, 0)
    assert main(["serve-tts", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "key" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "one wait two"], ids=["idle", "in the middle of an utterance"])
def test_the_command_serves_until_it_is_told_to_stop(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    command = [sys.executable, "-m", "emolib.cli", "serve-tts", "--engine", "fish", "--port", "0"]
    with speech_server(ToneEngine(wait_at("wait", gate)), tmp_path) as behind, ThreadPoolExecutor(1) as pool:
        monkeypatch.setenv("EMOLIB_FISH_URL", behind)
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            url = server.stdout.readline().decode().split()[-1]
            assert until(lambda: answers(url))
            with SpeechSynthesizer(url, retries=0) as tts:
                spoken = pool.submit(tts.render, SpeechRequest(text), 20) if text else None
                assert until(lambda: tts.health()["running"] == bool(text))
                started = time.monotonic()
                server.send_signal(signal.SIGINT)
                _, complaint = server.communicate(timeout=10)
                assert time.monotonic() - started < 5
                assert spoken is None or "is being stopped" in spoken.result().failure
        finally:
            gate.set()
            server.kill()
    assert b"Traceback" not in complaint
    assert not answers(url)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_service("piper") as address:
        yield address


BETWEEN_KEPT_BLOCKS = """
import psutil
from emolib.tts.server import return_freed_memory

megabytes = lambda: psutil.Process().memory_info().rss / 1e6
return_freed_memory()
blocks = [bytearray(b"x") * 100_000 for _ in range(1000)]
full = megabytes()
del blocks[::2]
print(full - megabytes())
"""


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="glibc alone has the bound")
def test_memory_that_is_freed_between_kept_blocks_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", BETWEEN_KEPT_BLOCKS], capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(50, rel=0.1)


def test_a_port_in_use_is_named(url: str) -> None:
    with pytest.raises(ServiceError, match="choose another --port"):
        serve("127.0.0.1", int(url.rpartition(":")[2]))


def test_an_answer_does_not_wait_for_the_next_packet(url: str) -> None:
    with requests.Session() as session:
        times = [session.get(f"{url}/v1/health", timeout=5).elapsed.total_seconds() for _ in range(12)]
    assert min(times[1:]) < 0.03, "Nagle's algorithm is on: each answer waits 40 ms for an acknowledgement"
