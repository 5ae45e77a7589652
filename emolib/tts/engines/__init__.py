"""The synthesis engines of the service, and how one is chosen by name."""

from __future__ import annotations

from collections.abc import Callable

from emolib.errors import UsageError
from emolib.tts.engines.base import Engine, EngineError, Reference, Utterance

__all__ = ["ENGINES", "Engine", "EngineError", "Reference", "Utterance", "load_engine"]


def _piper() -> Engine:
    from emolib.models import piper_voice
    from emolib.tts.engines.piper import PiperEngine

    return PiperEngine(piper_voice())


ENGINES: dict[str, Callable[[], Engine]] = {"piper": _piper}


def load_engine(name: str) -> Engine:
    """The engine of that name, loaded and ready. Raises UsageError for an unknown name."""
    if name not in ENGINES:
        raise UsageError(f"unknown speech engine {name!r}; use one of {', '.join(ENGINES)}")
    return ENGINES[name]()
