"""A FunASR websocket server that answers from a script, by the protocol of the project's three servers.

`kind` is "acknowledging" (the Python server since July 2026: a last message says that all was sent),
"mirroring" (the Python server before: `is_final` repeats `is_speaking`) or "c++" (`is_final` at the end).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

STEP = 10


class FunASRScript:
    """What the server says: an increment every 600 ms, and at the end the corrected segments."""

    def __init__(self, kind: str, increments: list[str], segments: list[dict[str, Any]]) -> None:
        self.kind = kind
        self.increments = increments
        self.segments = segments
        self.key: str | None = None
        #: What happens at the end instead of an answer: "die", "hang", "fail", "babble"; or "die early".
        self.trouble: str | None = None
        self.settings: dict[str, Any] = {}
        self.messages: list[int] = []
        self.url = ""
        self._release = threading.Event()

    def talk(self, connection: ServerConnection) -> None:
        self.settings = json.loads(connection.recv())
        assert self.settings["mode"] in ("offline", "2pass")
        assert self.settings["is_speaking"] is True
        assert len(self.settings["chunk_size"]) == 3
        increments = iter(self.increments)
        for message in connection:
            if isinstance(message, str):
                assert json.loads(message)["is_speaking"] is False
                return self._end(connection)
            self.messages.append(len(message))
            if self.trouble == "die early":
                return connection.socket.close()
            if len(self.messages) % STEP == 0 and self.settings["mode"] == "2pass":
                self._say(connection, "2pass-online", {"text": next(increments, "")}, last=False)
        return None

    def _end(self, connection: ServerConnection) -> None:
        if self.trouble == "die":
            return connection.socket.close()
        if self.trouble == "hang":
            self._release.wait(20)
            return None
        if self.trouble == "babble":
            return connection.send("[not, JSON")
        mode = "offline" if self.settings["mode"] == "offline" else "2pass-offline"
        for place, segment in enumerate(self.segments):
            self._say(connection, mode, segment, last=place == len(self.segments) - 1)
        if self.trouble == "fail":
            connection.send(json.dumps({"is_end": True, "is_final": False, "error": "out of memory"}))
        elif self.kind == "acknowledging":
            connection.send(json.dumps({"is_end": True, "is_final": True}))
        self._release.wait(3)
        return None

    def _say(self, connection: ServerConnection, mode: str, answer: dict[str, Any], *, last: bool) -> None:
        is_final = {"acknowledging": False, "mirroring": not last, "c++": last}[self.kind]
        connection.send(json.dumps({"mode": mode, "wav_name": "utterance", "is_final": is_final, **answer}))

    def release(self) -> None:
        self._release.set()


@contextmanager
def funasr_server(
    kind: str = "acknowledging", increments: list[str] | None = None, segments: list[dict[str, Any]] | None = None
) -> Iterator[FunASRScript]:
    script = FunASRScript(kind, increments or [], segments or [])

    def handle(connection: ServerConnection) -> None:
        try:
            script.talk(connection)
        except ConnectionClosed:
            return

    def check(connection: ServerConnection, request: Any) -> Any:
        if script.key and request.headers.get("Authorization") != f"Bearer {script.key}":
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no\n")
        return None

    server = serve(handle, "127.0.0.1", 0, subprotocols=["binary"], process_request=check, close_timeout=0.2)
    script.url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield script
    finally:
        script.release()
        server.shutdown()
        thread.join(5)
