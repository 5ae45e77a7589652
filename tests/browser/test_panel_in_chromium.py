"""The live panel in JupyterLab and Chromium; the microphone hears a sentence spoken by our own voice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")

from lab import CHROMIUM, chromium_page, lab_with, open_panel, voila_with
from voices import spoken

from emolib.speech import AudioClip, write_wav

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)"),
    pytest.mark.timeout(280),
]

INSTANT = "from instant_panel import instant_panel\n\npanel = instant_panel()\npanel"
#: The microphone plays once from its opening on: by then the models are loaded, on two busy cores too.
MODELS_LOADED_S = 45
REAL = "from emolib.widgets import LivePanel\n\npanel = LivePanel()\npanel"


def microphone(folder: Path, quiet_s: float) -> Path:
    """A quiet room for `quiet_s`, the sentence, and quiet again.

    The sentence has no pause: after one, what follows is rightly a second turn, with sound of its own.
    """
    clip = spoken("I am so happy that my sister is coming home.").resample(48_000)
    noise = np.random.default_rng(0).normal(0, 1e-3, round(48_000 * (quiet_s + 45))).astype(np.float32)
    begin = round(48_000 * quiet_s)
    noise[begin : begin + len(clip)] += clip.samples
    write_wav(folder / "microphone.wav", AudioClip(noise, 48_000))
    return folder / "microphone.wav"


def played(page: Any) -> dict[str, float]:
    return page.evaluate("window.emolibPlayed")


def talk_and_interrupt(page: Any, panel: Any, happy_after_ms: int) -> None:
    from playwright.sync_api import expect

    status = panel.locator(".emolib-status")
    panel.get_by_role("button", name="Calibrate").click()
    expect(status).to_contain_text("Press Talk", timeout=10_000)
    panel.get_by_role("button", name="Talk").click()
    expect(panel.locator(".emolib-heard")).to_contain_text("happy", timeout=happy_after_ms)
    expect(panel.locator(".emolib-reply")).not_to_be_empty(timeout=30_000)
    page.wait_for_function("window.emolibPlayed && window.emolibPlayed.played > 8000", timeout=30_000)
    sound = played(page)
    assert (sound["power"] / sound["played"]) ** 0.5 > 0.01
    assert panel.locator("[data-emotion=joy]").evaluate("bar => parseFloat(bar.style.width)") > 100 / 6
    keep_picture(panel, ".png")
    panel.get_by_role("button", name="Interrupt").click()
    page.wait_for_timeout(500)
    after = played(page)["played"]
    page.wait_for_timeout(700)
    assert played(page)["played"] == after, panel.inner_text()
    expect(panel.locator(".emolib-history li")).to_have_count(1, timeout=10_000)
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(500)
    keep_picture(panel, "_phone.png")
    assert panel.evaluate("panel => panel.scrollWidth <= panel.clientWidth + 1")


def refuse_with_a_sentence(page: Any, panel: Any, folder: Path) -> None:
    from playwright.sync_api import expect

    status = panel.locator(".emolib-status")
    large = folder / "large.wav"
    with large.open("wb") as file:
        file.truncate(200_000_000)
    panel.locator("input[type=file]").set_input_files(large)
    expect(status).to_contain_text("large.wav has 200 MB; a recording may have 8 MB", timeout=5_000)
    page.evaluate("void (window.emolibAsk = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices))")
    for name, sentence in [("NotAllowedError", "allow it"), ("NotFoundError", "connect one")]:
        page.evaluate(
            f"void (navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', '{name}')))"
        )
        panel.get_by_role("button", name="Talk").click()
        expect(status).to_contain_text(sentence, timeout=5_000)
    page.evaluate("void (navigator.mediaDevices.getUserMedia = window.emolibAsk)")
    page.evaluate("void Object.defineProperty(navigator, 'mediaDevices', { value: undefined, configurable: true })")
    panel.get_by_role("button", name="Talk").click()
    expect(status).to_contain_text("https:// or localhost only", timeout=5_000)
    page.evaluate("delete navigator.mediaDevices")


def show_it_again(page: Any, panel: Any) -> None:
    """The cell is run again: a second view, whose microphone takes the conversation over from the first."""
    from playwright.sync_api import expect

    page.locator(".jp-Cell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    page.wait_for_timeout(3000)
    expect(page.locator(".emolib-panel")).to_have_count(1, timeout=10_000)
    panel.get_by_role("button", name="Talk").click()
    expect(panel.locator(".emolib-status")).to_contain_text("Listening", timeout=20_000)


def lose_the_kernel(page: Any, panel: Any, lab: str) -> None:
    from playwright.sync_api import expect

    server, header = lab.split("/doc/")[0], {"Authorization": "token test"}
    kernel = page.request.get(f"{server}/api/kernels", headers=header).json()[0]["id"]
    assert page.request.post(f"{server}/api/kernels/{kernel}/restart", headers=header).ok
    expect(panel.locator(".emolib-status")).to_contain_text("run the panel's cell again", timeout=20_000)


def keep_picture(panel: Any, ending: str) -> None:
    if picture := os.environ.get("EMOLIB_PICTURE"):
        panel.screenshot(path=picture + ending)


def test_a_sentence_is_heard_felt_answered_and_interrupted(tmp_path: Path):
    with (
        lab_with(INSTANT, tmp_path) as lab,
        chromium_page(microphone(tmp_path, 5), tmp_path / "profile") as page,
    ):
        panel = open_panel(page, lab)
        refuse_with_a_sentence(page, panel, tmp_path)
        talk_and_interrupt(page, panel, 30_000)
        show_it_again(page, panel)
        lose_the_kernel(page, panel, lab)


def test_the_same_panel_is_a_page_of_its_own_in_voila(tmp_path: Path):
    with (
        voila_with(INSTANT, tmp_path) as address,
        chromium_page(microphone(tmp_path, 5), tmp_path / "profile") as page,
    ):
        page.goto(address)
        panel = page.locator(".emolib-panel")
        panel.wait_for(timeout=60_000)
        talk_and_interrupt(page, panel, 30_000)


@pytest.mark.skipif("EMOLIB_REAL_ENGINES" not in os.environ, reason="the real engines are for `make browser`")
def test_the_embedded_engines_answer_in_the_page(tmp_path: Path):
    with (
        lab_with(REAL, tmp_path) as lab,
        chromium_page(microphone(tmp_path, MODELS_LOADED_S), tmp_path / "profile") as page,
    ):
        talk_and_interrupt(page, open_panel(page, lab), 90_000)
