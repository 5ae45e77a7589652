"""The synthesis engines of the service: their interface, how a text is cut for them, and how one is chosen by name."""

from __future__ import annotations

import importlib.util
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from emolib.errors import UsageError

__all__ = [
    "ENGINES",
    "FISH_KEY",
    "FISH_TAGS",
    "FISH_URL",
    "LONGEST_SENTENCE",
    "Engine",
    "EngineError",
    "Reference",
    "Utterance",
    "load_engine",
    "sentences",
]

LONGEST_SENTENCE = 300
_SENTENCE = re.compile(r".+?(?:[.!?…][\"'”’)\]]*(?=\s)|[。！？][”’」』）]*|$)", re.DOTALL)
#: Environment variables that say where a Fish-Speech server is, its key, and its tags (s1 or s2).
FISH_URL, FISH_KEY, FISH_TAGS = "EMOLIB_FISH_URL", "EMOLIB_FISH_API_KEY", "EMOLIB_FISH_TAGS"


class EngineError(Exception):
    """Raised when an engine cannot speak an utterance; the message goes to the log and to the client."""


@dataclass(frozen=True)
class Reference:
    """A clip of the voice to imitate: the bytes of an audio file and what is said in it."""

    audio: bytes = field(repr=False)
    text: str = ""


@dataclass(frozen=True)
class Utterance:
    """What an engine is asked to say.

    `text` is bounded and not empty; `sampling` holds Fish-Speech's sampling fields.
    """

    text: str
    emotion: str | None = None
    intensity: float = 1.0
    references: tuple[Reference, ...] = ()
    sampling: dict[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """A synthesiser. `synthesize` runs in a thread of the service, one call at a time and slot."""

    name: str
    sample_rate: int
    #: Whether reference clips change the voice.
    clones_voices: bool
    #: Whether tags in the text, such as (angry), are directions to it; else they are removed first.
    reads_tags: bool

    def synthesize(self, utterance: Utterance, stop: threading.Event) -> Iterator[np.ndarray]:
        """Yield float32 mono pieces as they are ready, and end early once `stop` is set. Raises EngineError."""
        ...

    def close(self) -> None:
        """Release what the engine holds."""
        ...


def sentences(text: str) -> list[str]:
    """Return the sentences of `text` with their punctuation; an abbreviation may end one early, at the cost of a pause.

    A sentence over LONGEST_SENTENCE characters is cut at a space, because an engine takes each in one piece.
    """
    return [part for sentence in _SENTENCE.findall(text) for part in _short_parts(sentence.strip())]


def _short_parts(sentence: str) -> Iterator[str]:
    while len(sentence) > LONGEST_SENTENCE:
        cut = sentence.rfind(" ", 1, LONGEST_SENTENCE)
        cut = LONGEST_SENTENCE if cut < 0 else cut
        yield sentence[:cut].strip()
        sentence = sentence[cut:].strip()
    if sentence:
        yield sentence


def load_engine(name: str) -> Engine:
    """Load the engine called `name`: piper, fish, espeak-ng, or auto.

    auto is Fish-Speech if $EMOLIB_FISH_URL names a server, else Piper if it is installed, else espeak-ng.
    Raises UsageError for an unknown name.
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
