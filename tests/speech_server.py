"""A speech service in a thread of the test, with an engine that the test controls."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI

from emolib.tts.engines import Engine, EngineError, Utterance
from emolib.tts.references import ReferenceStore
from emolib.tts.service import create_app
from emolib.tts.synthesis import ServiceLimits


class ToneEngine:
    """Half a second of a tone for each word, at once; `behave` can slow it down or break it."""

    name = "tone"
    sample_rate = 8_000
    clones_voices = True
    reads_tags = False

    def __init__(self, behave: Callable[[str], None] = lambda _: None) -> None:
        self._behave = behave
        self.utterances: list[Utterance] = []
        self.pieces = 0
        self.stopped = threading.Event()

    def synthesize(self, utterance: Utterance, stop: threading.Event) -> Iterator[np.ndarray]:
        self.utterances.append(utterance)
        try:
            for word in utterance.text.split():
                if stop.is_set():
                    return
                self._behave(word)
                self.pieces += 1
                yield tone(self.sample_rate)
        finally:
            if stop.is_set():
                self.stopped.set()

    def close(self) -> None:
        pass


def tone(sample_rate: int, seconds: float = 0.5) -> np.ndarray:
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    return (0.3 * np.sin(2 * np.pi * 220 * times)).astype(np.float32)


def fail_at(word: str) -> Callable[[str], None]:
    def behave(spoken: str) -> None:
        if spoken == word:
            raise EngineError(f"cannot say {word}")

    return behave


def wait_at(word: str, gate: threading.Event) -> Callable[[str], None]:
    def behave(spoken: str) -> None:
        if spoken == word:
            gate.wait(20)

    return behave


@contextlib.contextmanager
def speech_server(
    engine: Engine, folder: Path, limits: ServiceLimits | None = None, api_key: str | None = None
) -> Iterator[str]:
    """The URL of a service over `engine`, with its references in `folder`."""
    app = create_app(engine, ReferenceStore(folder), limits, api_key)
    with application_server(app, limits.connections if limits else None) as url:
        yield url


@contextlib.contextmanager
def application_server(app: FastAPI, connections: int | None = None) -> Iterator[str]:
    """The URL of an application on a free port, for so many connections at once."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    most = None if connections is None else connections + 1
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1, limit_concurrency=most, ws="none")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(5)
        listener.close()


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether `condition` came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()
