"""The panel's page in every state and width, without a kernel: looked at by axe, and kept as pictures when asked.

`EMOLIB_PICTURES=$PWD/figures pytest tests/browser/test_panel_pages.py` writes the pictures into figures/.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")

from accessibility import serious_faults
from browsers import CHROMIUM
from playwright.sync_api import expect, sync_playwright
from still_page import CONVERSATION, state_after, still_page

pytestmark = [
    pytest.mark.brief,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)"),
    pytest.mark.timeout(120),
]

WIDTHS = {320: 900, 390: 844, 1280: 860}
ANSWERING = {
    "talking": True,
    "phase": "speaking",
    "status": "Speaking: talk over it or press Interrupt to stop it.",
    "partial": CONVERSATION[-1]["transcript"],
    "reply": CONVERSATION[-1]["written"],
    "spoken": CONVERSATION[-1]["written"],
    "level_dbfs": -34.0,
    "delays": {"microphone": 9.1, "loudspeaker": 14.6, "device": 21.0},
}
ARABIC = {
    **CONVERSATION[0],
    "transcript": "أنا سعيد جدًا اليوم لأن أختي عائدة إلى البيت.",
    "reply": "يا له من خبر جميل!",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """A function that opens the page of a panel with `turns` in a browser as it says; the page."""
    contexts = []

    def show(turns: list[dict[str, Any]], width: int = 1280, more: dict[str, Any] | None = None, **browser_is: Any):
        context = browser.new_context(viewport={"width": width, "height": WIDTHS.get(width, 800)}, **browser_is)
        contexts.append(context)
        page = context.new_page()
        page.set_content(still_page({**state_after(turns, tmp_path), **(more or {})}))
        page.locator(".emolib-panel").wait_for()
        return page

    yield show
    for context in contexts:
        context.close()


def fits(page: Any) -> bool:
    """Whether nothing is wider than the page."""
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def keep_picture(page: Any, name: str) -> None:
    if folder := os.environ.get("EMOLIB_PICTURES"):
        page.wait_for_timeout(300)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True, animations="disabled")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_conversation_can_be_read_by_everybody_at_every_width(show: Any, width: int, theme: str):
    page = show(CONVERSATION[:-1], width, ANSWERING, color_scheme=theme)
    assert fits(page)
    expect(page.locator(".emolib-spoken")).to_be_in_viewport()
    keep_picture(page, f"panel_{width}_{theme}")
    page.locator("summary", has_text="Timing").click()
    page.locator("summary", has_text="Settings").click()
    assert fits(page)
    assert serious_faults(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_trouble_and_the_first_run_can_be_read_too(show: Any, theme: str):
    trouble = {
        "status": "there is no file absent.gguf; make one with `emolib export`, or name another",
        "trouble": True,
    }
    page = show([], 320, trouble, color_scheme=theme)
    expect(page.locator(".emolib-hint")).to_contain_text("Press Talk and say how you are")
    assert fits(page)
    assert serious_faults(page) == []


def test_the_language_changes_at_once_and_is_remembered_by_the_kernel(show: Any):
    page = show(CONVERSATION, more=ANSWERING)
    page.locator("summary", has_text="Settings").click()
    page.get_by_label("Language").select_option("zh")
    expect(page.get_by_role("button", name="停止")).to_be_visible()
    expect(page.locator(".emolib-history li").nth(1)).to_contain_text("文字: 喜悦")
    assert page.locator(".emolib-settings").evaluate("fold => fold.open"), "what was open stays open"
    assert page.evaluate("emolibModel.state.language") == "zh"


def test_a_chinese_browser_has_a_chinese_panel(show: Any):
    page = show(CONVERSATION, 390, locale="zh-CN")
    expect(page.get_by_role("button", name="开始")).to_be_visible()
    assert serious_faults(page) == []


def test_words_from_right_to_left_stand_from_right_to_left(show: Any):
    page = show([ARABIC], 390)
    said = page.locator(".emolib-yours p").first
    assert said.evaluate("said => getComputedStyle(said).direction") == "rtl"
    assert page.locator(".emolib-yours .emolib-chip").first.evaluate("one => getComputedStyle(one).direction") == "ltr"
    assert fits(page)


def test_who_wants_less_motion_sees_none(show: Any):
    page = show(CONVERSATION, more=ANSWERING, reduced_motion="reduce")
    assert page.evaluate("document.getAnimations().length") == 0
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate("document.getAnimations().length") > 0


def test_300_turns_stay_quick(show: Any):
    turns = [{**CONVERSATION[number % len(CONVERSATION)], "turn": number} for number in range(300)]
    page = show(turns, more=ANSWERING)
    expect(page.locator(".emolib-history li")).to_have_count(20)
    expect(page.locator(".emolib-earlier")).to_have_text("Show earlier turns (280)")
    milliseconds = page.evaluate("""async () => {
        const newest = emolibModel.state.history.at(-1), took = [];
        for (let number = 300; number < 600; number++) {
            const began = performance.now();
            const history = [...emolibModel.state.history, { ...newest, number }].slice(-20);
            emolibModel.set("history", history);
            document.querySelector(".emolib-conversation").getBoundingClientRect();
            took.push(performance.now() - began);
        }
        return took.sort((a, b) => a - b)[285];
    }""")
    print(f"a turn more: {milliseconds:.1f} ms at the 95th percentile, layout included")
    expect(page.locator(".emolib-history li")).to_have_count(50)
    assert milliseconds < 30


def test_a_browser_without_web_audio_says_so(show: Any):
    page = show([])
    page.evaluate("delete window.AudioContext")
    page.evaluate("Object.defineProperty(window, 'isSecureContext', { value: true })")
    page.evaluate("Object.defineProperty(navigator, 'mediaDevices', { value: {} })")
    page.get_by_role("button", name="Talk").click()
    expect(page.locator(".emolib-status")).to_contain_text("This browser has no Web Audio")
    expect(page.locator(".emolib-status")).to_have_attribute("data-trouble", "true")


def test_a_frame_without_storage_shows_the_panel_and_explains_the_microphone(browser: Any, tmp_path: Path):
    page = browser.new_page()
    page.set_content("<iframe sandbox='allow-scripts' style='width:100%;height:90vh'></iframe>")
    page.locator("iframe").evaluate("(frame, html) => { frame.srcdoc = html; }", still_page(state_after([], tmp_path)))
    frame = page.frame_locator("iframe")
    frame.get_by_role("button", name="Talk").click()
    expect(frame.locator(".emolib-status")).to_have_attribute("data-trouble", "true")
    page.close()


def test_the_keyboard_stays_on_the_button_that_takes_the_place_of_the_one_pressed(show: Any):
    page = show([])
    page.get_by_role("button", name="Talk").focus()
    page.evaluate("emolibModel.set('talking', true)")
    assert page.evaluate("document.activeElement.textContent") == "Stop"
    page.evaluate("emolibModel.set('talking', false)")
    assert page.evaluate("document.activeElement.textContent") == "Talk"
