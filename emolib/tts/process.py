"""The service in a child process: started on a free port, watched, and always stopped."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import IO

from emolib.errors import ServiceError

__all__ = ["ServiceProcess", "running_service"]

_STOP_SECONDS = 5.0
#: How many times a service that died by itself is started again.
_RESTARTS = 3


@contextlib.contextmanager
def running_service(engine: str = "auto", *, startup_s: float = 60.0) -> Iterator[str]:
    """The URL of our service in a child process, on a free port of localhost.

    The child is stopped when the block is left, also by an error or Ctrl-C, and ends by itself when
    this process dies. One that dies in between is started again on the same port. Raises ServiceError
    where it does not answer within `startup_s` seconds.
    """
    service = ServiceProcess(engine, startup_s=startup_s)
    try:
        service.start()
        yield service.url
    finally:
        service.stop()


class ServiceProcess:
    """A speech service that this process owns."""

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
        command = [sys.executable, "-m", "emolib.tts.process", self._engine, str(self._port)]
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
    """The child imports emolib from where this process did."""
    import emolib

    home = os.path.dirname(os.path.dirname(os.path.abspath(emolib.__file__)))
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _first_line(pipe: IO[bytes], timeout: float) -> str:
    """The first line of `pipe`, empty where none comes in time."""
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.append(pipe.readline()), daemon=True)
    reader.start()
    reader.join(timeout)
    return lines[0].decode().strip() if lines else ""


def _serve_until_parent_ends(engine: str, port: int) -> None:
    from emolib.tts.server import serve

    def follow_parent() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        os._exit(0)

    threading.Thread(target=follow_parent, daemon=True).start()
    serve("127.0.0.1", port, engine=engine, announce=lambda url: print(url, flush=True))


if __name__ == "__main__":
    from emolib.errors import EmolibError

    try:
        _serve_until_parent_ends(sys.argv[1], int(sys.argv[2]))
    except EmolibError as error:
        sys.exit(f"emolib: {error}")
