"""JupyterLab or Voilà with one notebook, and the way to it, which can be cut."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat

__all__ = [
    "OTHER_HOST",
    "PROMPT",
    "Line",
    "lab_with",
    "voila_with",
]

#: A name of this machine that no browser takes for local: over plain HTTP it gets no microphone.
OTHER_HOST = "panel.test"
#: As `make lab` and `make app` start them.
PROMPT = "kernel_websocket_connection_class=emolib.widgets.prompt_connection.PromptConnection"
_TESTS = Path(__file__).parents[1]


@contextmanager
def lab_with(code: str, folder: Path, *settings: str) -> Iterator[str]:
    """The address of a notebook whose one cell is `code`, in a JupyterLab that runs until the block ends.

    `settings` are further ones of the server; without any, those of `make lab`.
    """
    _write_notebook(code, folder)
    options = ["--allow-root", "--IdentityProvider.token=test", f"--ServerApp.root_dir={folder}", "--LabApp.news_url=",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--ip=127.0.0.1",
               f"--ServerApp.local_hostnames={OTHER_HOST}",
               *(f"--ServerApp.{setting}" for setting in settings or [PROMPT])]  # fmt: skip
    with _running("jupyterlab", options, folder, "/api?token=test") as address:
        yield f"{address}/doc/tree/panel.ipynb?token=test"


@contextmanager
def voila_with(code: str, folder: Path) -> Iterator[str]:
    """The address of a page in Voilà that shows what `code` displays."""
    options = [str(_write_notebook(code, folder)), "--Voila.ip=127.0.0.1", f"--Voila.{PROMPT}"]
    # The page itself would start a kernel already.
    with _running("voila", options, folder, "/voila/static/") as address:
        yield address


def _write_notebook(code: str, folder: Path) -> Path:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    notebook.metadata.kernelspec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    nbformat.write(notebook, folder / "panel.ipynb")
    return folder / "panel.ipynb"


@contextmanager
def _running(program: str, options: list[str], folder: Path, sign_of_life: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", program, "--no-browser", f"--port={port}", *options]
    path = os.pathsep.join(map(str, [_TESTS.parent, _TESTS, _TESTS / "browser"]))
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address + sign_of_life)
        yield address
    finally:
        server.terminate()
        server.wait(10)


def _wait_for(url: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(url, timeout=1)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"nothing answered at {url} within 30 s")


class Line:
    """A way to a server on this machine that can be cut, as a network is, and mended."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: list[socket.socket] = []
        self._cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections, and let no new one through."""
        self._cut = True
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def mend(self) -> None:
        """Let connections through again."""
        self._cut = False

    def close(self) -> None:
        """Cut it for good."""
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self._cut:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                for here, there in ((near, far), (far, near)):
                    here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=_carry, args=(here, there), daemon=True).start()


def _carry(here: socket.socket, there: socket.socket) -> None:
    with suppress(OSError), here, there:
        while data := here.recv(65_536):
            there.sendall(data)
