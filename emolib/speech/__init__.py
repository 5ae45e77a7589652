"""Hearing: audio clips, sources, voice activity and ambient noise, recognisers, playback.

Inside the library sound is float32 mono in [-1, 1] with its sample rate (`AudioClip`); other forms
exist at the edges only. The names below are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "AudioClip": "emolib.speech.audio",
    "SpeechRecognizer": "emolib.speech.transcript",
    "Transcript": "emolib.speech.transcript",
    "WhisperRecognizer": "emolib.speech.whisper",
    "Word": "emolib.speech.transcript",
    "read_audio": "emolib.speech.audio",
    "write_wav": "emolib.speech.audio",
}

__all__ = [*sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'emolib.speech' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
