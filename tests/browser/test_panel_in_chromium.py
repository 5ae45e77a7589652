"""The live panel in JupyterLab and Chromium; the microphone hears sentences spoken by our own voice."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")

from browsers import CHROMIUM, chromium
from instant_panel import INSTANT
from lab import OTHER_HOST, Line, lab_with, voila_with
from panel_page import (
    RATE,
    SILENT_AFTER_S,
    answered_once,
    interrupt,
    open_panel,
    played,
    press,
    run_cell,
    status,
    until_played,
)
from playwright.sync_api import expect, sync_playwright
from voices import spoken

from emolib.audio import AudioClip, write_wav

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)"),
    pytest.mark.timeout(280),
]

REAL = "from emolib.widgets import LivePanel\n\npanel = LivePanel()\npanel"
#: The real engines are loaded by then, on two busy cores too.
MODELS_LOADED_S = 45
#: The second sentence comes while the answer to the first is heard, from the seventh to the fifteenth second.
SPOKEN_OVER_S = 13.0
#: From the first sound of a voice over the answer: 0.2 s until speech is certain, and the way there and back.
SILENT_AFTER_SPEECH_S = 0.8
WATCH = """() => {
  window.emolibWatched = [];
  const level = document.querySelector('.emolib-level');
  setInterval(() => {
    const share = parseFloat(level.style.transform.slice(7)) || 0;
    window.emolibWatched.push([performance.now() / 1000, share, window.emolibPlayed.played]);
  }, 20);
}"""
NAME_OF_FOCUSED = """() => {
  const focused = document.activeElement;
  return focused.getAttribute('aria-label') || (focused.labels?.[0] || focused).textContent;
}"""
#: A browser's timers in a tab that nobody sees: no frames, and a second between two calls.
IN_THE_BACKGROUND = """() => {
  const later = window.setTimeout.bind(window);
  window.setTimeout = (work, ms, ...rest) => later(work, Math.max(1000, ms || 0), ...rest);
  window.requestAnimationFrame = () => 0;
  Object.defineProperty(document, 'hidden', { value: true, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def microphone(folder: Path, *starts_s: float) -> Path:
    """A quiet room, a sentence from each of `starts_s` on, and quiet again.

    A sentence has no pause: after one, what follows is rightly a second turn, with sound of its own.
    """
    clip = spoken("I am so happy that my sister is coming home.").resample(48_000)
    noise = np.random.default_rng(0).normal(0, 1e-3, round(48_000 * (starts_s[-1] + 45))).astype(np.float32)
    for start in starts_s:
        begin = round(48_000 * start)
        noise[begin : begin + len(clip)] += clip.samples
    write_wav(folder / "microphone.wav", AudioClip(noise, 48_000))
    return folder / "microphone.wav"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with lab_with(INSTANT, tmp_path_factory.mktemp("lab")) as address:
        yield address


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    with sync_playwright() as run:
        yield run


@pytest.fixture(scope="module")
def browser(playwright: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("browser")
    with chromium(playwright, microphone(folder, 3.5, SPOKEN_OVER_S), folder / "profile") as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser: Any, lab: str) -> Any:
    page = browser.new_page()
    open_panel(page, lab)
    return page


@pytest.fixture
def panel(page: Any) -> Any:
    """A new panel in the page, in place of the one before."""
    page.evaluate("delete window.emolibPlayed")
    return run_cell(page)


def talk_and_interrupt(page: Any, panel: Any, happy_after_ms: int) -> None:
    press(panel, "Calibrate")
    expect(status(panel)).to_contain_text("Press Talk", timeout=10_000)
    press(panel, "Talk")
    expect(panel.locator(".emolib-heard")).to_contain_text("happy", timeout=happy_after_ms)
    expect(panel.locator(".emolib-reply")).not_to_be_empty(timeout=30_000)
    until_played(page, 8000)
    sound = played(page)
    assert (sound["power"] / sound["played"]) ** 0.5 > 0.01
    assert (
        panel.locator(".emolib-bar[data-emotion=joy]").evaluate("bar => parseFloat(bar.style.transform.slice(7))")
        > 1 / 6
    )
    expect(panel.locator(".emolib-felt")).to_contain_text("sure")
    expect(panel.locator(".emolib-spoken")).not_to_be_empty()
    keep_picture(panel, ".png")
    silent_after = interrupt(page, panel)
    print(f"silent {silent_after:.3f} s after Interrupt")
    assert silent_after < SILENT_AFTER_S
    expect(panel.locator(".emolib-history li")).to_have_count(1, timeout=10_000)
    expect(panel.locator(".emolib-history li")).to_contain_text("(interrupted)")
    expect(panel.locator(".emolib-waterfall .emolib-span").first).to_be_attached()
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(300)
    keep_picture(panel, "_phone.png")
    assert panel.evaluate("panel => panel.scrollWidth <= panel.clientWidth + 1")
    page.set_viewport_size({"width": 900, "height": 1300})


def keep_picture(panel: Any, ending: str) -> None:
    panel.page.add_style_tag(content=".Toastify { display: none; }")
    if picture := os.environ.get("EMOLIB_PICTURE"):
        panel.screenshot(path=picture + ending)


@pytest.mark.brief
def test_a_sentence_is_heard_felt_answered_and_interrupted(page: Any, panel: Any):
    talk_and_interrupt(page, panel, 30_000)


@pytest.mark.brief
def test_a_keyboard_reaches_every_control_and_each_says_what_it_is(page: Any, panel: Any):
    for fold in ("Timing", "Settings"):
        panel.locator("summary", has_text=fold).press("Enter")
    names = []
    panel.get_by_role("button", name="Talk").focus()
    for _ in range(18):
        names.append(page.evaluate(NAME_OF_FOCUSED))
        page.keyboard.press("Tab")
    buttons = ["Talk", "Calibrate", "Conversation", "Upload a WAV", "Save", "Reopen", "Clear", "Timing", "Settings"]
    assert names[:9] == buttons
    words, voice = "Emotion of the words", "Emotion of the voice"
    choosers = ["Recogniser", words, voice, "Reply model", "Speech service", "Voice", "Sound", "Language", "Appearance"]
    for name, title in zip(names[9:], choosers, strict=True):
        assert name.startswith(title)
    panel.get_by_role("button", name="Save").focus()
    page.keyboard.press("Enter")
    expect(status(panel)).to_contain_text("0 turns were written")


@pytest.mark.brief
def test_a_model_is_chosen_from_the_list_or_typed(panel: Any):
    panel.locator("summary", has_text="Settings").click()
    models = panel.get_by_label("Emotion of the words").first
    models.select_option("carer")
    panel.get_by_label("Reply model").first.select_option("another …")
    field = panel.get_by_label("Reply model: ")
    field.press_sequentially("absent dd.gguf")
    field.press("Enter")
    expect(status(panel)).to_contain_text("there is no file absent dd.gguf")
    expect(models).to_have_value("carer")
    expect(panel.get_by_label("Reply model").first).to_have_value("auto")


@pytest.mark.brief
def test_what_cannot_be_done_is_said_in_a_sentence(page: Any, panel: Any, tmp_path: Path):
    large = tmp_path / "large.wav"
    with large.open("wb") as file:
        file.truncate(200_000_000)
    panel.locator("input[type=file]").set_input_files(large)
    expect(status(panel)).to_contain_text("large.wav has 200 MB; a recording may have 8 MB", timeout=5_000)
    page.evaluate("void (window.emolibAsk = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices))")
    for name, sentence in [
        ("NotAllowedError", "allow it beside the page's address"),
        ("NotFoundError", "connect one and press Talk again"),
        ("NotReadableError", "close it there"),
    ]:
        page.evaluate(
            f"void (navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', '{name}')))"
        )
        press(panel, "Talk")
        expect(status(panel)).to_contain_text(sentence, timeout=5_000)
    page.evaluate("void (navigator.mediaDevices.getUserMedia = window.emolibAsk)")
    # A frame that is shown without `allow="microphone"`.
    page.evaluate("void (document.featurePolicy.allowsFeature = (feature) => feature !== 'microphone')")
    press(panel, "Talk")
    expect(status(panel)).to_contain_text("as VS Code does: open the notebook in a browser")
    page.evaluate("delete document.featurePolicy.allowsFeature")


def test_a_tab_in_the_background_goes_on_listening_and_answering(page: Any, panel: Any):
    press(panel, "Talk")
    expect(status(panel)).to_contain_text("Listening", timeout=10_000)
    page.evaluate(IN_THE_BACKGROUND)
    expect(status(panel)).to_contain_text("in the background: the microphone stays open; Stop releases it")
    until_played(page, 3 * RATE)
    begun, samples = time.monotonic(), played(page)["played"]
    page.wait_for_function(f"window.emolibPlayed.played > {samples + 2 * RATE}", timeout=10_000, polling=100)
    assert time.monotonic() - begun == pytest.approx(2.0, abs=0.6), "without gaps"
    press(panel, "Stop")
    page.reload()


@pytest.mark.brief
def test_of_two_panels_the_second_takes_over_and_the_first_says_so(page: Any, panel: Any):
    press(panel, "Talk")
    expect(status(panel)).to_contain_text("Listening", timeout=10_000)
    page.locator(".jp-Cell .cm-content").first.click()
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.keyboard.type("instant_panel()")
    page.keyboard.press("Control+Enter")
    first, second = panel.first, panel.nth(1)
    press(second, "Talk")
    expect(status(first)).to_contain_text("press Talk to have it back here", timeout=10_000)
    expect(status(second)).to_contain_text("Listening", timeout=10_000)
    press(first, "Talk")
    expect(status(second)).to_contain_text("press Talk to have it back here", timeout=10_000)
    expect(status(first)).to_contain_text("Listening", timeout=10_000)
    press(first, "Stop")
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    page.keyboard.press("d")


def test_a_page_that_is_loaded_again_shows_the_history_and_goes_on(page: Any, panel: Any):
    answered_once(page, panel, turns=1)
    page.locator(".jp-Cell .cm-content").first.click()
    page.keyboard.press("Control+S")
    page.wait_for_timeout(1000)
    page.reload()
    panel.wait_for(timeout=30_000)
    expect(panel.locator(".emolib-history li")).to_have_count(1, timeout=10_000)
    expect(status(panel)).to_contain_text("Press Talk to begin another", timeout=10_000)
    answered_once(page, panel, turns=2)
    press(panel, "Stop")


def test_a_lost_connection_is_said_and_the_conversation_goes_on_when_it_is_back(browser: Any, lab: str):
    line = Line(int(lab.split(":")[2].split("/")[0]))
    page = browser.new_page()
    panel = open_panel(page, f"http://127.0.0.1:{line.port}/doc/tree/panel.ipynb?token=test")
    press(panel, "Talk")
    expect(status(panel)).to_contain_text("Listening", timeout=10_000)
    line.cut()
    expect(status(panel)).to_contain_text("The kernel does not answer", timeout=15_000)
    line.mend()
    expect(status(panel)).not_to_contain_text("The kernel does not answer", timeout=20_000)
    expect(panel.locator(".emolib-heard")).not_to_be_empty(timeout=20_000)
    until_played(page, 2000)
    page.close()
    line.close()


def test_a_page_over_plain_http_says_what_to_do_and_answers_a_recording(browser: Any, lab: str, tmp_path: Path):
    page = browser.new_page()
    panel = open_panel(page, lab.replace("127.0.0.1", OTHER_HOST))
    press(panel, "Talk")
    expect(status(panel)).to_contain_text("https:// or localhost only: open this page there, upload a WAV file")
    clip = spoken("I am so happy that my sister is coming home.")
    write_wav(tmp_path / "question.wav", clip)
    panel.locator("input[type=file]").set_input_files(tmp_path / "question.wav")
    until_played(page, 8000)
    sound = played(page)
    assert (sound["power"] / sound["played"]) ** 0.5 > 0.01
    page.close()


def test_a_restarted_kernel_is_said(page: Any, panel: Any, lab: str):
    press(panel, "Talk")
    expect(status(panel)).to_contain_text("Listening", timeout=10_000)
    server, header = lab.split("/doc/")[0], {"Authorization": "token test"}
    kernel = page.request.get(f"{server}/api/kernels", headers=header).json()[0]["id"]
    assert page.request.post(f"{server}/api/kernels/{kernel}/restart", headers=header).ok
    expect(status(panel)).to_contain_text("run the panel's cell again", timeout=20_000)


def test_the_same_panel_is_a_page_of_its_own_in_voila_and_a_voice_interrupts_it(browser: Any, tmp_path: Path):
    with voila_with(INSTANT, tmp_path) as address:
        page = browser.new_page()
        page.goto(address)
        panel = page.locator(".emolib-panel")
        panel.wait_for(timeout=60_000)
        press(panel, "Talk")
        until_played(page, 8000)
        page.evaluate(WATCH)
        expect(panel.locator(".emolib-history li").first).to_contain_text("(interrupted)", timeout=15_000)
        silent_after = silent_after_speech(page.evaluate("window.emolibWatched"))
        print(f"silent {silent_after:.3f} s after the first sound of a voice")
        assert silent_after < SILENT_AFTER_SPEECH_S
        page.close()


def silent_after_speech(watched: list[list[float]]) -> float:
    """Of rows of seconds, level of the microphone (0 to 1) and samples played: how long speech was spoken over."""
    spoke_at = next(seconds for seconds, level, _ in watched if level > 0.5)
    more = [now[0] for before, now in itertools.pairwise(watched) if now[2] > before[2]]
    first_pause = next(at for at, later in zip(more, [*more[1:], float("inf")], strict=True) if later - at > 0.3)
    return first_pause - spoke_at


@pytest.mark.skipif("EMOLIB_REAL_ENGINES" not in os.environ, reason="the real engines are for `make browser`")
def test_the_embedded_engines_answer_in_the_page(playwright: Any, tmp_path: Path):
    recording = microphone(tmp_path, MODELS_LOADED_S, MODELS_LOADED_S + 15)
    with lab_with(REAL, tmp_path) as lab, chromium(playwright, recording, tmp_path / "profile") as browser:
        page = browser.new_page()
        panel = open_panel(page, lab)
        talk_and_interrupt(page, panel, 90_000)
        expect(panel.locator(".emolib-spoken")).not_to_be_empty(timeout=30_000)
        keep_picture(panel, ".png")
