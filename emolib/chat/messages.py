"""What is said in a conversation, and the face that every reply model shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

from emolib.labels import EmotionScores
from emolib.prompting.chat import Message

__all__ = ["Message", "ReplyModel"]


@runtime_checkable
class ReplyModel(Protocol):
    """Whatever answers a conversation, a piece of text at a time.

    `name` is what a trace records, and `start` makes ready what the first reply would wait for.
    `stream` takes the messages so far (the last one is the user's), the emotion heard in it (None: not
    known) and the tone to answer in (a name in `emolib.chat.TONES` or a sentence; None: that of the
    emotion), and yields the reply in pieces whose concatenation is never empty; it raises ServiceError
    or ModelError if there is no reply. A history that begins with a system message keeps it, else the
    model writes its own from emotion and tone (`emolib.chat.tone`). One that may be silent for long, and gives up by
    itself, may have an attribute `patience_s`: after how many seconds at the latest. `aclose` frees what the model
    holds; it may be called twice.
    """

    @property
    def name(self) -> str: ...

    def start(self) -> None: ...

    def stream(
        self, history: Sequence[Message], emotion: EmotionScores | None, tone: str | None = None
    ) -> AsyncIterator[str]: ...

    async def aclose(self) -> None: ...
