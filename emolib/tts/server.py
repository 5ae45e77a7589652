"""The service as a server: in this process until it is told to stop, or in a child process that is watched."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from emolib.addresses import refuse_open_address
from emolib.errors import EmolibError, MissingDependency, ServiceError

__all__ = ["ServiceProcess", "return_freed_memory", "running_service", "serve"]

_GRACE_SECONDS = 3
#: glibc's names for two of its bounds (malloc.h), and where they are set.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_RETURNED_FROM = 65_536
_STOP_SECONDS = 5.0
#: How many times a service that crashed is restarted.
_RESTARTS = 3


def serve(
    host: str = "127.0.0.1",
    port: int = 8080,
    *,
    engine: str = "auto",
    api_key: str | None = None,
    references: Path | None = None,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve speech until SIGINT or SIGTERM.

    `port` 0 takes a free one, `references` is the folder for uploaded clips (default: in emolib's
    cache), `announce` is called with the URL once requests are accepted. Raises UsageError for an
    address that others can reach without an `api_key`, and ServiceError for one that cannot be bound.
    """
    try:
        import uvicorn

        from emolib.tts.engines import load_engine
        from emolib.tts.references import ReferenceStore
        from emolib.tts.service import create_app
        from emolib.tts.synthesis import ServiceLimits
    except ImportError as error:
        raise MissingDependency(f"the package {error.name}", extra="tts") from error
    from emolib.models import cache_folder

    refuse_open_address(host, api_key)
    listener = _bind(host, port)
    return_freed_memory()
    voice = load_engine(engine)
    store = ReferenceStore(references or cache_folder() / "references")
    limits = ServiceLimits()
    config = uvicorn.Config(
        create_app(voice, store, limits, api_key, host),
        log_level="warning",
        timeout_graceful_shutdown=_GRACE_SECONDS,
        limit_concurrency=limits.connections + 1,
        ws="none",
    )
    # From here on connections are queued by the kernel, so the URL is good before uvicorn runs.
    listener.listen(128)
    announce(_url(listener))
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        voice.close()


def return_freed_memory() -> None:
    """Make this process return freed blocks of 64 KiB and more to the system (glibc only).

    By its own rule glibc keeps ever larger ones, up to 32 MB, and an hour of sound left 9 MB behind between them.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_THRESHOLD, _RETURNED_FROM)
        mallopt(_M_TRIM_THRESHOLD, _RETURNED_FROM)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol left out, asyncio does not switch off Nagle's algorithm, and every answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise ServiceError(f"cannot serve on {host}:{port}: {error}; choose another --port, or 0") from error
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def running_service(engine: str = "auto", *, startup_s: float = 60.0) -> Iterator[str]:
    """Run our service in a child process, on a free port of localhost, and yield its URL.

    The child is stopped when the block is left, also by an error or Ctrl-C, and ends by itself when this
    process dies. If it crashes it is restarted on the same port. Raises ServiceError if it does not answer
    within `startup_s` seconds.
    """
    service = ServiceProcess(engine, startup_s=startup_s)
    try:
        service.start()
        yield service.url
    finally:
        service.stop()


class ServiceProcess:
    """A speech service in a child process."""

    def __init__(self, engine: str = "auto", *, startup_s: float = 60.0) -> None:
        self._engine = engine
        self._startup_s = startup_s
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        #: Held while a child is made or ended, so that none is made after the end.
        self._changing = threading.Lock()
        self._port = 0
        self.url = ""
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The process id of the child, or None before the start."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Start the child and wait until it accepts requests. Raises ServiceError."""
        self._launch()
        threading.Thread(target=self._watch, name="speech-service-watch", daemon=True).start()

    def stop(self) -> None:
        """Stop the child: politely, then for certain."""
        self._stopping.set()
        with self._changing:
            if self._child is not None:
                _end(self._child)

    def _launch(self) -> None:
        with self._changing:
            if self._child is not None:
                _end(self._child)
            if self._stopping.is_set():
                return
            child = self._child = self._spawn()
        line = _first_line(child.stdout, self._startup_s)
        if not line.startswith("http://"):
            ended = child.poll()
            state = f"ended with exit code {ended}" if ended is not None else f"was silent for {self._startup_s:g} s"
            raise ServiceError(f"the speech service did not start: it {state}; try `emolib serve-tts` by itself")
        self.url = line
        self._port = int(line.rpartition(":")[2])

    def _spawn(self) -> subprocess.Popen[bytes]:
        # The child stops at the end of its standard input, which comes when this process dies, however it
        # dies. Its own session keeps a Ctrl-C in the terminal from reaching it before our clean-up.
        command = [sys.executable, "-m", "emolib.tts.server", self._engine, str(self._port)]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, env=_environment()
        )

    def _watch(self) -> None:
        while self.restarts < _RESTARTS:
            self._child.wait()
            if self._stopping.is_set():
                return
            self.restarts += 1
            with contextlib.suppress(ServiceError):
                self._launch()


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child, politely and then for certain, and close its pipes."""
    child.terminate()
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for pipe in (child.stdin, child.stdout):
        with contextlib.suppress(OSError):
            pipe.close()


def _environment() -> dict[str, str]:
    """Return an environment in which the child imports emolib from where this process did."""
    import emolib

    home = os.path.dirname(os.path.dirname(os.path.abspath(emolib.__file__)))
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _first_line(pipe: IO[bytes], timeout: float) -> str:
    """Return the first line of `pipe`; empty if none comes in time."""
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.append(pipe.readline()), daemon=True)
    reader.start()
    reader.join(timeout)
    return lines[0].decode().strip() if lines else ""


def _serve_until_parent_ends(engine: str, port: int) -> None:
    def follow_parent() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        os._exit(0)

    threading.Thread(target=follow_parent, daemon=True).start()
    serve("127.0.0.1", port, engine=engine, announce=lambda url: print(url, flush=True))


if __name__ == "__main__":
    try:
        _serve_until_parent_ends(sys.argv[1], int(sys.argv[2]))
    except EmolibError as error:
        sys.exit(f"emolib: {error}")
