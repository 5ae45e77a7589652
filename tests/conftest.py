"""What holds for every test."""

from __future__ import annotations

import os

from hypothesis import settings

# Programs that the tests start write into pipes as they do for a user, who has not set this.
os.environ.pop("PYTHONUNBUFFERED", None)

# How long one example takes depends on what else the machine is doing; each test has its own time limit.
settings.register_profile("emolib", deadline=None)
settings.load_profile("emolib")
