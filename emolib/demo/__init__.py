"""The main job, end to end: from the sample corpus to a spoken answer and a report."""

from __future__ import annotations

from emolib.demo.steps import DemoFolder, prepare, run_demo

__all__ = ["DemoFolder", "prepare", "run_demo"]
