"""A server of OpenAI's API on localhost that answers from a script, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
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
    """An answer in one piece, by default an HTTP error; `body` is JSON, or a page in HTML."""

    def __init__(
        self, code: int, message: str = "no", body: dict[str, Any] | str | None = None, **headers: str
    ) -> None:
        self.code = code
        self.body = {"error": {"message": message}} if body is None else body
        self.headers = {"Retry-After-Ms": "10"} | {name.replace("_", "-"): text for name, text in headers.items()}


class Stream:
    """An answer with server-sent events, a line as it is if it is text.

    `then` is what comes after them: "done", "cut" (nothing, the connection is closed), "end" (nothing, and the body
    has an end of its own) or "stall".
    """

    def __init__(self, *chunks: dict[str, Any] | str, then: str = "done") -> None:
        self.chunks = chunks
        self.then = then


def reply(text: str) -> Stream:
    words = text.split(" ")
    pieces = [words[0], *(f" {word}" for word in words[1:])]
    return Stream(*(chunk(piece) for piece in pieces), chunk(None, "stop"))


class ScriptedServer:
    def __init__(self, script: list[Status | Stream], models: Sequence[str], root: str) -> None:
        self.script = list(script)
        self.models = models
        self.root = root
        #: The paths that were asked for, with their queries.
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.requests: list[dict[str, Any]] = []
        #: Of the last form: its fields, and the contents of its files.
        self.fields: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.keys: list[str | None] = []
        self.release = threading.Event()
        self.url = ""

    @property
    def origin(self) -> str:
        return self.url.removesuffix(self.root)


@contextmanager
def scripted_server(
    *script: Status | Stream, models: Sequence[str] = (), root: str = "/v1", elsewhere: Status | None = None
) -> Iterator[ScriptedServer]:
    """Answer what is asked under `root` from `script`, and anything else with `elsewhere`."""
    scripted = ScriptedServer(list(script), models, root)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == f"{root}/models" and scripted.models:
                self._whole(Status(200, body={"object": "list", "data": [{"id": name} for name in scripted.models]}))
            else:
                self._whole(elsewhere or Status(404, body="404 page not found"))

        def do_POST(self) -> None:
            scripted.paths.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not self.path.startswith((f"{root}/chat/", f"{root}/audio/")):
                self._whole(elsewhere or Status(404, body="404 page not found"))
                return
            scripted.headers.append(dict(self.headers))
            self._remember(body)
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
            is_page = isinstance(status.body, str)
            body = (status.body if is_page else json.dumps(status.body)).encode()
            self.send_response(status.code)
            self.send_header("Content-Type", "text/html" if is_page else "application/json")
            self.send_header("Content-Length", str(len(body)))
            for name, text in status.headers.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

        def _stream(self, stream: Stream) -> None:
            lines = [one if isinstance(one, str) else f"data: {json.dumps(one)}" for one in stream.chunks]
            body = "".join(f"{line}\n\n" for line in lines).encode()
            if stream.then == "done":
                body += b"data: [DONE]\n\n"
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            if stream.then == "end":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
            if stream.then == "stall":
                scripted.release.wait(30)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scripted.url = f"http://127.0.0.1:{server.server_port}{root}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        scripted.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
