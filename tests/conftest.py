"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# How long one example takes depends on what else the machine is doing; each test has its own time limit.
settings.register_profile("emolib", deadline=None)
settings.load_profile("emolib")
