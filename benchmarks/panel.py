"""The live panel in JupyterLab and Chromium: what the way through the page adds to microphone and loudspeaker.

    python -m benchmarks.panel [--quick] [--json FILE]

Headless Chromium hears a recording of sentences, each answered by instant engines, so that only the page, the server
and the kernel's channel are measured, all on this machine, as the panel itself measures them. `microphone_ms_p95` is
from the moment at which the page has a block of 32 ms until the kernel has it, `loudspeaker_ms_p95` from the moment at
which the kernel sends a block that the page waits for until its audio thread plays the first sample of it.
`page_mb_an_hour` is how fast the page's JavaScript memory grows from the third of the sentences on.

Needs Debian's package chromium and the Python package playwright.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._report import Report, run

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "browser")]

_QUIET_S = 5
_EVERY_S = 6
_PANEL = "from instant_panel import instant_panel\n\npanel = instant_panel('That is good.')\npanel"


def measure(report: Report, quick: bool) -> None:
    from lab import CHROMIUM, chromium_page, lab_with, open_panel

    if CHROMIUM is None:
        sys.exit("benchmarks.panel needs Debian's package chromium")
    turns = 6 if quick else 100
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with lab_with(_PANEL, folder) as lab, chromium_page(_recording(folder, turns), folder / "profile") as page:
            panel = open_panel(page, lab)
            panel.get_by_role("button", name="Calibrate").click()
            page.wait_for_timeout(3000)
            panel.get_by_role("button", name="Talk").click()
            sizes = [_answered(page, panel, turn, report) for turn in range(1, turns + 1)]
            page.wait_for_timeout(2000)
            shown = panel.locator(".emolib-latency").get_attribute("title")
    delays = dict(part.split(" ")[:2] for part in shown.split(", "))
    report.figures = {f"{way}_ms_p95": float(delays[way]) for way in ("microphone", "loudspeaker")}
    hours = (turns - 3) * _EVERY_S / 3600
    report.figures["page_mb_an_hour"] = (sizes[-1] - sizes[2]) / hours


def _answered(page: Any, panel: Any, turn: int, report: Report) -> float:
    """Wait for the end of turn number `turn`; the megabytes of the page's JavaScript, its rubbish collected."""
    shown = min(turn, 20)
    panel.locator(f".emolib-history li:nth-child({shown})").wait_for(timeout=60_000)
    page.wait_for_timeout(_EVERY_S * 1000 if turn > 20 else 500)
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    size = session.send("Runtime.getHeapUsage")["usedSize"] / 1e6
    session.detach()
    report.rows.append({"turn": turn, "page_mb": round(size, 2)})
    return size


def _recording(folder: Path, turns: int) -> Path:
    """A quiet room and a sentence every few seconds."""
    from voices import spoken

    from emolib.speech import AudioClip, write_wav

    clip = spoken("I am so happy that my sister is coming home.").resample(48_000).samples
    seconds = _QUIET_S + (turns + 2) * _EVERY_S
    sound = np.random.default_rng(0).normal(0, 1e-3, 48_000 * seconds).astype(np.float32)
    for turn in range(turns):
        begin = 48_000 * (_QUIET_S + turn * _EVERY_S)
        sound[begin : begin + len(clip)] += clip
    write_wav(folder / "microphone.wav", AudioClip(sound, 48_000))
    return folder / "microphone.wav"


if __name__ == "__main__":
    sys.exit(run(measure, "panel", ["emolib", "jupyterlab", "anywidget", "playwright"]))
