"""Speaking: an HTTP service with synthesis engines behind it, the client, voiceprints and emotion markers.

The client needs requests alone. The engines, and with them Piper (GPL-3.0-or-later), are imported
only in the process of the service.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "SpeechRequest": "emolib.tts.request",
    "Rendering": "emolib.tts.client",
    "SpeechSynthesizer": "emolib.tts.client",
    "VoiceLibrary": "emolib.tts.voiceprints",
    "add_voice_clip": "emolib.tts.voice_checks",
    "running_service": "emolib.tts.process",
    "serve": "emolib.tts.server",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'emolib.tts' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
