"""A server of OpenAI's API on localhost that answers from a script, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def chunk(text: str | None, finish: str | None = None) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}


def no_choices() -> dict[str, Any]:
    return chunk(None) | {"choices": []}


class Status:
    """An answer in one piece, by default an HTTP error."""

    def __init__(self, code: int, message: str = "no") -> None:
        self.code = code
        self.body: dict[str, Any] = {"error": {"message": message}}


class Stream:
    """An answer with server-sent events; `then` is what comes after them: "done", "cut" or "stall"."""

    def __init__(self, *chunks: dict[str, Any], then: str = "done") -> None:
        self.chunks = chunks
        self.then = then


def reply(text: str) -> Stream:
    words = text.split(" ")
    pieces = [words[0], *(f" {word}" for word in words[1:])]
    return Stream(*(chunk(piece) for piece in pieces), chunk(None, "stop"))


class ScriptedServer:
    def __init__(self, script: list[Status | Stream]) -> None:
        self.script = list(script)
        self.requests: list[dict[str, Any]] = []
        #: Of the last form: its fields, and the contents of its files.
        self.fields: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.keys: list[str | None] = []
        self.release = threading.Event()
        self.url = ""


@contextmanager
def scripted_server(*script: Status | Stream) -> Iterator[ScriptedServer]:
    scripted = ScriptedServer(list(script))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._remember(self.rfile.read(int(self.headers["Content-Length"])))
            scripted.keys.append(self.headers.get("Authorization"))
            answer = scripted.script.pop(0) if scripted.script else Status(410, "the script is at its end")
            (self._whole if isinstance(answer, Status) else self._stream)(answer)

        def _remember(self, body: bytes) -> None:
            if self.headers.get_content_type() == "application/json":
                scripted.requests.append(json.loads(body))
                return
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            form = BytesParser(EmailMessage, policy=HTTP).parsebytes(head + body)
            for part in form.iter_parts():
                name = part.get_param("name", header="content-disposition")
                content = part.get_payload(decode=True)
                if part.get_filename():
                    scripted.files[name] = content
                else:
                    scripted.fields[name] = content.decode()

        def _whole(self, status: Status) -> None:
            body = json.dumps(status.body).encode()
            self.send_response(status.code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After-Ms", "10")
            self.end_headers()
            self.wfile.write(body)

        def _stream(self, stream: Stream) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for one in stream.chunks:
                self.wfile.write(f"data: {json.dumps(one)}\n\n".encode())
            if stream.then == "done":
                self.wfile.write(b"data: [DONE]\n\n")
            self.wfile.flush()
            if stream.then == "stall":
                scripted.release.wait(30)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scripted.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        scripted.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
