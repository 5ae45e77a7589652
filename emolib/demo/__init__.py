"""The main job, end to end: from the sample corpus to a spoken answer and a report."""

from __future__ import annotations

from emolib.demo.clips import NoisyClip, record_noisy_clip, say
from emolib.demo.folder import DemoFolder
from emolib.demo.lesson import Lesson, lesson
from emolib.demo.notebook_errors import explain_errors
from emolib.demo.outside import load_key, speak_with_voiceprint, transcribe_with_funasr
from emolib.demo.recipe import Recipe, find_recipe
from emolib.demo.steps import QUESTION, prepare, record_question, run_demo

__all__ = [
    "QUESTION",
    "DemoFolder",
    "Lesson",
    "NoisyClip",
    "Recipe",
    "explain_errors",
    "find_recipe",
    "lesson",
    "load_key",
    "prepare",
    "record_noisy_clip",
    "record_question",
    "run_demo",
    "say",
    "speak_with_voiceprint",
    "transcribe_with_funasr",
]
