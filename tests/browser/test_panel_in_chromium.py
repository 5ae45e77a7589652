"""The live panel in JupyterLab and Chromium, on the real engines; the microphone is a sentence spoken by our voice."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from emolib.speech import AudioClip, write_wav
from emolib.tts import SpeechRequest, SpeechSynthesizer, running_service

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SENTENCE = "I am so happy today, my sister is coming home."
FLAGS = [
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--no-sandbox", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of a quiet room, the sentence, and quiet again."""
    path = tmp_path_factory.mktemp("sound") / "microphone.wav"
    with running_service() as url, SpeechSynthesizer(url) as speaker:
        clip = speaker.synthesize(SpeechRequest(SENTENCE)).resample(48_000)
    noise = np.random.default_rng(0).normal(0, 1e-3, 48_000 * 30).astype(np.float32)
    begin = 48_000 * int(os.environ.get("EMOLIB_QUIET_S", "12"))
    noise[begin : begin + len(clip)] += clip.samples
    write_wav(path, AudioClip(noise, 48_000))
    return path


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("lab")
    shutil.copy(Path(__file__).with_name("notebook.ipynb"), folder / "panel.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
               "--IdentityProvider.token=test", f"--ServerApp.root_dir={folder}", "--LabApp.news_url=",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]  # fmt: skip
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root}, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{address}/api?token=test", timeout=1)
                break
            except OSError:
                time.sleep(0.1)
        yield f"{address}/doc/tree/panel.ipynb?token=test"
    finally:
        server.terminate()
        server.wait(10)


def test_a_sentence_is_heard_felt_answered_and_interrupted(lab: str, recording: Path, tmp_path: Path):
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={recording}%noloop"]
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch_persistent_context(
            str(tmp_path / "profile"), executable_path=CHROMIUM, args=flags, viewport={"width": 900, "height": 1000}
        )
        page = browser.new_page()
        page.goto(lab)
        page.locator(".jp-Cell").first.wait_for(timeout=30_000)
        page.locator(".jp-Cell .cm-content").first.click()
        page.wait_for_timeout(2000)
        page.keyboard.press("Shift+Enter")
        panel = page.locator(".emolib-panel")
        panel.wait_for(timeout=30_000)
        status = panel.locator(".emolib-status")
        panel.get_by_role("button", name="Calibrate").click()
        playwright.expect(status).to_contain_text("Press Talk", timeout=10_000)
        panel.get_by_role("button", name="Talk").click()
        playwright.expect(panel.locator(".emolib-heard")).to_contain_text("happy", timeout=60_000)
        playwright.expect(panel.locator(".emolib-reply")).not_to_be_empty(timeout=30_000)
        page.wait_for_function("window.emolibPlayed && window.emolibPlayed.played > 8000", timeout=30_000)
        played = page.evaluate("window.emolibPlayed")
        assert (played["power"] / played["played"]) ** 0.5 > 0.01
        joy = panel.locator("[data-emotion=joy]").evaluate("bar => parseFloat(bar.style.width)")
        assert joy > 100 / 6
        if picture := os.environ.get("EMOLIB_PICTURE"):
            panel.screenshot(path=picture)
        panel.get_by_role("button", name="Interrupt").click()
        page.wait_for_timeout(500)
        after = page.evaluate("window.emolibPlayed.played")
        page.wait_for_timeout(700)
        assert page.evaluate("window.emolibPlayed.played") == after
        playwright.expect(panel.locator(".emolib-history li")).to_have_count(1, timeout=10_000)
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_timeout(500)
        if picture:
            panel.screenshot(path=picture.replace(".png", "_phone.png"))
        assert panel.evaluate("panel => panel.scrollWidth <= panel.clientWidth + 1")
        browser.close()
