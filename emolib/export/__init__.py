"""Export: a run as GGUF files for llama.cpp, with a manifest and proof that the files are the model.

The names below are loaded when they are first used; importing this package costs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Manifest": "emolib.export.manifest",
    "QUANTISATIONS": "emolib.export.llama_cpp",
    "export_gguf": "emolib.export.gguf",
    "verify_export": "emolib.export.verify",
}

__all__ = [*sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'emolib.export' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
