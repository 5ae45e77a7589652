"""Panels and streamed text for notebooks."""

from __future__ import annotations

from emolib.widgets.panel import TalkPanel
from emolib.widgets.streaming import show_reply

__all__ = ["TalkPanel", "show_reply"]
