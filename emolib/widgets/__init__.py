"""Panels for notebooks."""

from __future__ import annotations

from emolib.widgets.panel import TalkPanel

__all__ = ["TalkPanel"]
