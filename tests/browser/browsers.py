"""Chromium with a recorded microphone, and Firefox at a sound card of PulseAudio's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab import OTHER_HOST

__all__ = ["CHROMIUM", "FIREFOX", "chromium", "chromium_page", "firefox"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
_FLAGS = [
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--no-sandbox", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
    f"--host-resolver-rules=MAP {OTHER_HOST} 127.0.0.1",
]  # fmt: skip
_PREFERENCES = {
    "media.navigator.permission.disabled": True,
    "media.volume_scale": "1.0",
}
_SIZE = {"width": 900, "height": 1300}


@contextmanager
def chromium(playwright: Any, recording: Path, profile: Path) -> Iterator[Any]:
    """Headless Chromium (a context of `playwright`) whose microphone hears `recording` once from each opening on."""
    flags = [*_FLAGS, f"--use-file-for-fake-audio-capture={recording}%noloop"]
    browser = playwright.chromium.launch_persistent_context(
        str(profile), executable_path=CHROMIUM, args=flags, viewport=_SIZE
    )
    yield browser
    browser.close()


@contextmanager
def chromium_page(recording: Path, profile: Path) -> Iterator[Any]:
    """A page of `chromium`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, chromium(playwright, recording, profile) as browser:
        yield browser.new_page()


@contextmanager
def firefox(playwright: Any, environment: dict[str, str]) -> Iterator[Any]:
    """Headless Firefox, the one of the system, in `environment`, which names its sound server; a context."""
    browser = playwright.firefox.launch(
        channel="moz-firefox", executable_path=FIREFOX, env=environment, firefox_user_prefs=_PREFERENCES
    )
    yield browser.new_context(viewport=_SIZE)
    browser.close()
