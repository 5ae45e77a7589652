"""What a user does in a page with the live panel, and what the page then shows and plays."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import expect

__all__ = [
    "RATE", "SILENT_AFTER_S", "answered_once", "interrupt", "open_panel", "played", "press", "run_cell", "status",
    "until_played",
]  # fmt: skip

RATE = 22_050
#: From the button to the last sample that the page plays: what was on its way to the audio thread.
SILENT_AFTER_S = 0.15
_NOTE_THE_CLICK = """() => {
  const note = () => { window.emolibAtClick = window.emolibPlayed.played; };
  document.addEventListener('click', note, { capture: true, once: true });
}"""


def open_panel(page: Any, lab: str) -> Any:
    """Open the notebook and run its cell; the panel it shows."""
    page.goto(lab)
    page.locator(".jp-Cell .cm-content").first.wait_for(timeout=30_000)
    return run_cell(page)


def run_cell(page: Any) -> Any:
    """Run the cell, once the kernel is there; the new panel."""
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=30_000)
    page.evaluate("document.querySelectorAll('.emolib-panel').forEach((panel) => { panel.dataset.old = true; })")
    prompt = page.locator(".jp-Cell .jp-InputPrompt").first
    before = prompt.text_content()
    # JupyterLab takes no key before all of its parts are there, and shows no sign of it.
    while prompt.text_content() == before:
        page.locator(".jp-Cell .cm-content").first.click()
        page.keyboard.press("Control+Enter")
        page.wait_for_timeout(500)
    panel = page.locator(".emolib-panel:not([data-old])")
    panel.wait_for(timeout=30_000)
    return panel


def press(panel: Any, name: str) -> None:
    panel.get_by_role("button", name=name).click()


def status(panel: Any) -> Any:
    return panel.locator(".emolib-status")


def played(page: Any) -> dict[str, float]:
    return page.evaluate("window.emolibPlayed || { played: 0, power: 0 }")


def until_played(page: Any, samples: int) -> None:
    page.wait_for_function(f"window.emolibPlayed && window.emolibPlayed.played > {samples}", timeout=30_000)


def interrupt(page: Any, panel: Any) -> float:
    """Press Interrupt while the answer is heard; the seconds of it that were played from then on."""
    page.evaluate(_NOTE_THE_CLICK)
    press(panel, "Interrupt")
    page.wait_for_timeout(400)
    after = played(page)["played"]
    page.wait_for_timeout(500)
    assert played(page)["played"] == after, panel.inner_text()
    return (after - page.evaluate("window.emolibAtClick")) / RATE


def answered_once(page: Any, panel: Any, turns: int) -> None:
    """Talk, and break the answer off; the history then has `turns`."""
    press(panel, "Talk")
    until_played(page, 2000)
    press(panel, "Interrupt")
    expect(panel.locator(".emolib-history li")).to_have_count(turns, timeout=10_000)
