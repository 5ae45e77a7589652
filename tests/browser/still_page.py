"""The panel's page without a kernel: what a kernel would have sent is in it, so that any state can be looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emolib.dialogue import write_trace
from emolib.widgets import LivePanel
from emolib.widgets.page import page_module, page_style

__all__ = ["CONVERSATION", "state_after", "still_page"]

#: Turns of the embedded models: `emolib talk --in 0.wav 1.wav … --trace conversation.jsonl`, spoken by our own voice.
CONVERSATION = [json.loads(line) for line in Path(__file__).with_name("conversation.jsonl").read_text().splitlines()]
#: Keeps what it is asked to send, and gives what it is set to.
_MODEL = """
const listeners = {};
window.emolibSent = [];
window.emolibModel = {
  state: STATE,
  get(name) { return this.state[name]; },
  set(name, value) { this.state[name] = value; (listeners[`change:${name}`] || []).forEach((show) => show()); },
  on(name, show) { (listeners[name] ||= []).push(show); },
  off(name, show) { listeners[name] = (listeners[name] || []).filter((other) => other !== show); },
  send(content) { window.emolibSent.push(content); },
  save_changes() {},
  message(content) { listeners["msg:custom"].forEach((take) => take(content, [])); },
};
"""


def state_after(turns: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """What the page of a panel gets whose last conversation had `turns`, each as `Turn.as_dict`."""
    panel = LivePanel(save_to=folder / "turns.jsonl")
    if turns:
        write_trace(turns, panel.save_to)
        panel.reopen()
        last = turns[-1]
        panel.widget.emotions = last["probabilities"]
        panel.widget.felt = {"label": last["emotion"], "share": last["probabilities"].get(last["emotion"], 0)}
        panel.widget.waterfall = last["spans"]
        panel.widget.first_sound_ms = last["marks_ms"]["first_sound"]
    state = panel.widget.get_state()
    panel.close()
    return {name: value for name, value in state.items() if not name.startswith("_") and name != "layout"}


def still_page(state: Mapping[str, Any]) -> str:
    """An HTML page that shows a panel in `state`, and changes as `emolibModel.set` in it says."""
    content = json.dumps(dict(state)).replace("</", "<\\/")
    module = page_module().replace("export default { render };", "render({ model: window.emolibModel, el: place });")
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>emolib</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root {{ color-scheme: light dark; }} body {{ margin: 0; }} {page_style()}</style></head>
<body><main id="place"></main>
<script>{_MODEL.replace("STATE", content)}</script>
<script type="module">
const place = document.getElementById("place");
{module}</script></body></html>"""
