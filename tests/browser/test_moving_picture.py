"""The moving picture at the top of the README: the live panel on the embedded models, as a browser shows it.

    EMOLIB_PICTURES=$PWD/figures pytest tests/browser/test_moving_picture.py

The microphone hears three sentences spoken by our own voice; the page is kept five times a second, from the first word
on, and becomes `panel.webp`. Needs a machine with nothing else to do.
"""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")

from browsers import CHROMIUM, chromium
from lab import voila_with
from panel_page import press
from playwright.sync_api import sync_playwright
from voices import spoken

from emolib.audio import AudioClip, write_wav

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)"),
    pytest.mark.skipif("EMOLIB_PICTURES" not in os.environ, reason="made when asked for, with EMOLIB_PICTURES=figures"),
    pytest.mark.timeout(400),
]

PANEL = "from emolib.widgets import LivePanel\n\nLivePanel()"
SENTENCES = (
    "My sister is coming home for the summer, I am so happy!",
    "But I am afraid that we will not know what to say to each other.",
    "Thank you, I will bake her favourite cake.",
)
#: From opening the microphone to the first sentence: the models are loaded by then. And from sentence to sentence.
LOADED_S, APART_S = 45.0, 13.0
SIZE = {"width": 420, "height": 800}
FRAMES_A_SECOND = 5
MOST_BYTES = 3_000_000


def microphone(folder: Path) -> Path:
    """A quiet room in which the sentences are said."""
    seconds = LOADED_S + APART_S * len(SENTENCES)
    sound = np.random.default_rng(0).normal(0, 1e-3, round(48_000 * seconds)).astype(np.float32)
    for number, sentence in enumerate(SENTENCES):
        clip, begin = spoken(sentence).resample(48_000), round(48_000 * (LOADED_S + APART_S * number))
        sound[begin : begin + len(clip)] += clip.samples
    write_wav(folder / "microphone.wav", AudioClip(sound, 48_000))
    return folder / "microphone.wav"


def recorded(page: Any, seconds: float) -> list[tuple[bytes, int]]:
    """Pictures of the page for so many seconds, each with the milliseconds that it stayed as it is."""
    frames: list[tuple[bytes, int]] = []
    end = time.monotonic() + seconds
    while (began := time.monotonic()) < end:
        picture = page.screenshot(animations="allow")
        page.wait_for_timeout(max(1, 1000 / FRAMES_A_SECOND - 1000 * (time.monotonic() - began)))
        frames.append((picture, round(1000 * (time.monotonic() - began))))
    return frames


def write_webp(frames: list[tuple[bytes, int]], path: Path) -> None:
    """Write an animated WebP, as good as fits into MOST_BYTES."""
    from PIL import Image

    pictures = [Image.open(io.BytesIO(picture)).convert("RGB") for picture, _ in frames]
    durations = [milliseconds for _, milliseconds in frames]
    for quality in (80, 60, 40, 20):
        buffer = io.BytesIO()
        first, *others = pictures
        first.save(
            buffer, "WEBP", save_all=True, append_images=others, duration=durations, loop=0, quality=quality, method=4
        )
        if buffer.tell() <= MOST_BYTES:
            break
    path.write_bytes(buffer.getvalue())
    print(f"{path.name}: {len(pictures)} pictures, {sum(durations) / 1000:.0f} s, {buffer.tell():,} bytes")


def test_a_conversation_with_the_embedded_models_is_kept_as_a_moving_picture(tmp_path: Path):
    with (
        sync_playwright() as playwright,
        voila_with(PANEL, tmp_path) as address,
        chromium(playwright, microphone(tmp_path), tmp_path / "profile") as browser,
    ):
        page = browser.new_page()
        page.set_viewport_size(SIZE)
        page.goto(address)
        panel = page.locator(".emolib-panel")
        panel.wait_for(timeout=60_000)
        opened = time.monotonic()
        press(panel, "Talk")
        page.wait_for_timeout(1000 * (LOADED_S - 1.5 - (time.monotonic() - opened)))
        frames = recorded(page, APART_S * len(SENTENCES))
        said = panel.locator(".emolib-history li")
        assert said.count() >= len(SENTENCES) - 1, panel.inner_text()
        path = Path(os.environ["EMOLIB_PICTURES"]) / "panel.webp"
        write_webp(frames, path)
        assert path.stat().st_size <= MOST_BYTES
