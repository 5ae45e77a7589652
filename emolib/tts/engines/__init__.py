"""The synthesis engines of the service, and how one is chosen by name."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable

from emolib.errors import UsageError
from emolib.tts.engines.base import Engine, EngineError, Reference, Utterance

__all__ = [
    "ENGINES",
    "FISH_KEY",
    "FISH_TAGS",
    "FISH_URL",
    "Engine",
    "EngineError",
    "Reference",
    "Utterance",
    "load_engine",
]

#: Environment variables that say where a Fish-Speech server is, its key, and its tags (s1 or s2).
FISH_URL, FISH_KEY, FISH_TAGS = "EMOLIB_FISH_URL", "EMOLIB_FISH_API_KEY", "EMOLIB_FISH_TAGS"


def load_engine(name: str) -> Engine:
    """The engine of that name, loaded and ready: piper, fish, espeak-ng, or auto.

    auto is Fish-Speech where $EMOLIB_FISH_URL names a server, else Piper where it is installed, else
    espeak-ng. Raises UsageError for an unknown name.
    """
    if name == "auto":
        name = _best()
    if name not in ENGINES:
        raise UsageError(f"unknown speech engine {name!r}; use auto or one of {', '.join(ENGINES)}")
    return ENGINES[name]()


def _best() -> str:
    if os.environ.get(FISH_URL):
        return "fish"
    return "piper" if importlib.util.find_spec("piper") else "espeak-ng"


def _piper() -> Engine:
    from emolib.models import piper_voice
    from emolib.tts.engines.piper import PiperEngine

    return PiperEngine(piper_voice())


def _fish() -> Engine:
    from emolib.tts.engines.fish import FishEngine
    from emolib.tts.markers import TAG_SETS

    url, tags = os.environ.get(FISH_URL), os.environ.get(FISH_TAGS, "s1")
    if not url:
        raise UsageError(f"the engine fish needs the URL of a Fish-Speech server in ${FISH_URL}")
    if tags not in TAG_SETS:
        raise UsageError(f"${FISH_TAGS} is {tags!r}; use one of {', '.join(TAG_SETS)}")
    return FishEngine(url, TAG_SETS[tags], os.environ.get(FISH_KEY))


def _espeak() -> Engine:
    from emolib.tts.engines.espeak import EspeakEngine

    return EspeakEngine()


ENGINES: dict[str, Callable[[], Engine]] = {"piper": _piper, "fish": _fish, "espeak-ng": _espeak}
