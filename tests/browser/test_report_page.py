"""The demo's report in a browser: read by axe at every width in both themes, and kept as pictures when asked.

`EMOLIB_REPORT=runs/demo/report.html EMOLIB_PICTURES=$PWD/figures pytest tests/browser/test_report_page.py` looks at the
report of a demo that was run; without the first, at one of a folder of the tests.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")

from accessibility import serious_faults
from browsers import CHROMIUM
from playwright.sync_api import sync_playwright
from test_demo import folder  # noqa: F401

from emolib.demo.page import write_report

pytestmark = [
    pytest.mark.brief,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)"),
    pytest.mark.timeout(120),
]


@pytest.fixture
def report(folder: Any) -> Path:  # noqa: F811
    if ready := os.environ.get("EMOLIB_REPORT"):
        return Path(ready).resolve()
    write_report(folder)
    return folder.report


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_report_can_be_read_by_everybody_at_every_width(report: Path, theme: str):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width in (320, 390, 1280):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
            page.goto(report.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), width
            assert serious_faults(page) == [], width
            if pictures := os.environ.get("EMOLIB_PICTURES"):
                # Of a long page, the top: what a reader sees first.
                page.set_viewport_size({"width": width, "height": 1600})
                page.screenshot(path=Path(pictures) / f"report_{width}_{theme}.png")
        browser.close()
