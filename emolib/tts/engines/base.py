"""The interface of a synthesis engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

__all__ = ["Engine", "EngineError", "Reference", "Utterance"]


class EngineError(Exception):
    """An engine could not speak an utterance; the message goes to the log and to the client."""


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
    #: Whether tags in the text, such as (angry), are directions to it; else they are taken out before.
    reads_tags: bool

    def synthesize(self, utterance: Utterance, stop: threading.Event) -> Iterator[np.ndarray]:
        """Yield float32 mono pieces as they are ready, and end early once `stop` is set. Raises EngineError."""
        ...

    def close(self) -> None:
        """Release what the engine holds."""
        ...
