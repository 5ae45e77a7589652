"""JupyterLab or Voilà with one notebook, and Chromium with a recorded microphone."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

__all__ = ["CHROMIUM", "chromium_page", "lab_with", "open_panel", "voila_with"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_FLAGS = [
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--no-sandbox", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
_TESTS = Path(__file__).parents[1]


@contextmanager
def lab_with(code: str, folder: Path) -> Iterator[str]:
    """The address of a notebook whose one cell is `code`, in a JupyterLab that runs until the block ends."""
    _write_notebook(code, folder)
    options = ["--allow-root", "--IdentityProvider.token=test", f"--ServerApp.root_dir={folder}", "--LabApp.news_url=",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--ip=127.0.0.1"]  # fmt: skip
    with _running("jupyterlab", options, folder, "/api?token=test") as address:
        yield f"{address}/doc/tree/panel.ipynb?token=test"


@contextmanager
def voila_with(code: str, folder: Path) -> Iterator[str]:
    """The address of a page in Voilà that shows what `code` displays."""
    options = [str(_write_notebook(code, folder)), "--Voila.ip=127.0.0.1"]
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


@contextmanager
def chromium_page(recording: Path, profile: Path) -> Iterator[Any]:
    """A page of headless Chromium that hears `recording` once from its microphone."""
    from playwright.sync_api import sync_playwright

    flags = [*_FLAGS, f"--use-file-for-fake-audio-capture={recording}%noloop"]
    with sync_playwright() as run:
        browser = run.chromium.launch_persistent_context(
            str(profile), executable_path=CHROMIUM, args=flags, viewport={"width": 900, "height": 1000}
        )
        yield browser.new_page()
        browser.close()


def open_panel(page: Any, lab: str) -> Any:
    """Run the notebook's cell; the panel it shows."""
    page.goto(lab)
    page.locator(".jp-Cell .cm-content").first.click(timeout=30_000)
    page.wait_for_timeout(2000)
    page.keyboard.press("Shift+Enter")
    panel = page.locator(".emolib-panel")
    panel.wait_for(timeout=30_000)
    return panel
