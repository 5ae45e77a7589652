"""The live panel in JupyterLab and Chromium: what the way through the page adds to microphone and loudspeaker.

    python -m benchmarks.panel [--quick] [--json FILE]

Headless Chromium hears a recording of sentences, each of which is answered, all on this machine; the panel itself
measures. `microphone_ms_p95` is from the moment at which the audio thread has filled a block of 32 ms until the kernel
has it, `loudspeaker_ms_p95` from the moment at which the kernel sends a block that the page waits for until the audio
thread takes its first sample, which the browser's own buffer plays `device_ms` later. Both with instant engines, so
that only page, server and the kernel's channel are measured, and a server as `make lab` starts it. The rows have the
same with the server as JupyterLab starts it by itself, and beside the embedded models.

`page_mb_an_hour` and `kernel_mb_an_hour` are how fast the page's JavaScript memory and the memory of the kernel grow,
fitted to all but the first third of an hour's sentences, in the full form alone. A kernel remembers the signature of
every message against its being sent twice, 65,536 of them, 134 bytes each; they are there from the start, as after
35 minutes of any conversation.

Needs Debian's package chromium and the Python package playwright.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks._report import Report, run

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "browser")]

_QUIET_S = 5
_EVERY_S = 6
#: The embedded models load first, and their answers are longer.
_LOADED_S = 45
_EVERY_REAL_S = 15
_INSTANT = "from instant_panel import instant_panel\n\npanel = instant_panel('That is good.')\npanel"
_REMEMBERED = """import os

from ipykernel.kernelapp import IPKernelApp

session = IPKernelApp.instance().session
session.digest_history |= {os.urandom(32).hex().encode() for _ in range(session.digest_history_size)}
"""
_REAL = "from emolib.widgets import LivePanel\n\npanel = LivePanel()\npanel"


def measure(report: Report, quick: bool) -> None:
    from browsers import CHROMIUM
    from lab import PROMPT

    if CHROMIUM is None:
        sys.exit("benchmarks.panel needs Debian's package chromium")
    _conversation(report, "instant", "make lab", 6, PROMPT)
    report.figures = {f"{way}_ms_p95": report.rows[0][f"{way}_ms_p95"] for way in ("microphone", "loudspeaker")}
    report.figures["device_ms"] = report.rows[0]["device_ms_p95"]
    _conversation(report, "instant", "JupyterLab's own", 6, "quit_button=True")
    _conversation(report, "embedded models", "make lab", 4, PROMPT)
    if not quick:
        # Its delays are those of a page whose rubbish is collected in the middle of answers.
        sizes = _conversation(report, "instant", "make lab", 600, PROMPT)
        for column, name in enumerate(("page", "kernel")):
            report.figures[f"{name}_mb_an_hour"] = _growth(sizes[:, column])


def _conversation(report: Report, engines: str, server: str, turns: int, setting: str) -> np.ndarray:
    """Hold a conversation of `turns` sentences, and report it in a row; megabytes of page and kernel [turns, 2]."""
    from browsers import chromium_page
    from lab import lab_with
    from panel_page import open_panel

    real = engines != "instant"
    starts = np.arange(turns) * (_EVERY_REAL_S if real else _EVERY_S) + (_LOADED_S if real else _QUIET_S)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            lab_with(_REMEMBERED + (_REAL if real else _INSTANT), folder, setting) as lab,
            chromium_page(_recording(folder, starts), folder / "profile") as page,
        ):
            panel = open_panel(page, lab)
            panel.get_by_role("button", name="Talk").click()
            sizes = [_answered(page, panel, turn) for turn in range(1, turns + 1)]
            page.wait_for_timeout(2500)
            shown = panel.locator(".emolib-delays").text_content()
    delays = dict(re.findall(r"(\w+) ([\d.]+) ms", shown))
    report.rows.append(
        {"engines": engines, "server": server, "answers": turns}
        | {f"{way}_ms_p95": float(ms) for way, ms in delays.items()}
        | {"page_mb": round(sizes[-1][0], 1), "kernel_mb": round(sizes[-1][1])}
    )
    return np.array(sizes)


def _answered(page: Any, panel: Any, turn: int) -> tuple[float, float]:
    """Wait for the end of turn number `turn`; megabytes of the page's JavaScript, its rubbish collected, and of the
    kernel."""
    # The page numbers them from 0.
    panel.locator(f'.emolib-history li[data-turn="{turn - 1}"]').wait_for(timeout=90_000)
    page.wait_for_timeout(_EVERY_S * 1000 if turn > 20 else 500)
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    size = session.send("Runtime.getHeapUsage")["usedSize"] / 1e6
    session.detach()
    return size, _kernel().memory_info().rss / 1e6


def _kernel() -> psutil.Process:
    children = psutil.Process().children(recursive=True)
    return next(child for child in children if "ipykernel_launcher" in child.cmdline())


def _growth(megabytes: np.ndarray) -> float:
    """Megabytes an hour, by the line that fits best to what was measured at each sentence."""
    settled = megabytes[len(megabytes) // 3 :]
    return float(np.polyfit(np.arange(len(settled)) * _EVERY_S / 3600, settled, 1)[0])


def _recording(folder: Path, starts_s: np.ndarray) -> Path:
    """A quiet room and a sentence at each of `starts_s`."""
    from voices import spoken

    from emolib.audio import AudioClip, write_wav

    clip = spoken("I am so happy that my sister is coming home.").resample(48_000).samples
    seconds = int(starts_s[-1]) + 20
    sound = np.random.default_rng(0).normal(0, 1e-3, 48_000 * seconds).astype(np.float32)
    for start in starts_s:
        begin = 48_000 * int(start)
        sound[begin : begin + len(clip)] += clip
    write_wav(folder / "microphone.wav", AudioClip(sound, 48_000))
    return folder / "microphone.wav"


if __name__ == "__main__":
    sys.exit(run(measure, "panel", ["emolib", "jupyterlab", "anywidget", "playwright"]))
