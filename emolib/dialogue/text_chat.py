"""A conversation in text: each line is judged and answered, the reply token by token."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from emolib.chat import Message, ReplyModel
from emolib.dialogue.history import History
from emolib.dialogue.safety import Distress, SafetyPolicy
from emolib.dialogue.stages import Classifier
from emolib.dialogue.turn import FALLBACK
from emolib.emotions import EmotionScores
from emolib.errors import EmolibError

__all__ = ["TextReply", "TextSession", "shown_emotion"]


@dataclass(frozen=True)
class TextReply:
    """How a reply went: its text, the seconds to its first piece, its pieces a second, and what went wrong."""

    text: str
    first_piece_s: float | None
    pieces_per_s: float | None
    problem: str | None = None

    @property
    def speed(self) -> str:
        """Time to the first token and tokens a second, for people."""
        if self.first_piece_s is None:
            return "no token"
        first = f"first token after {self.first_piece_s * 1000:.0f} ms"
        return first if self.pieces_per_s is None else f"{first}, {self.pieces_per_s:.1f} tokens/s"


class TextSession:
    """A conversation whose history it keeps; a reply that fails leaves the session usable."""

    def __init__(
        self,
        classifier: Classifier,
        model: ReplyModel,
        history: History | None = None,
        safety: SafetyPolicy | None = None,
    ) -> None:
        self.classifier = classifier
        self.model = model
        self.history = history or History()
        self.safety = safety or SafetyPolicy()

    def feel(self, line: str) -> EmotionScores:
        """The emotion of the user's line."""
        return self.classifier.classify([line])[0]

    async def reply(self, line: str, emotion: EmotionScores, show: Callable[[str], None]) -> TextReply:
        """Answer `line`, giving `show` each piece as it comes; only what was shown enters the history."""
        pieces: list[str] = []
        times: list[float] = []
        started = time.monotonic()
        problem = None
        try:
            async with aclosing(self._pieces(line, emotion)) as stream:
                async for piece in stream:
                    times.append(time.monotonic())
                    pieces.append(piece)
                    show(piece)
        except EmolibError as error:
            problem = str(error)
            if not pieces:
                pieces = [FALLBACK]
                show(FALLBACK)
        text = "".join(pieces)
        self.history.add(line, text)
        return TextReply(text, times[0] - started if times else None, _rate(times), problem)

    async def _pieces(self, line: str, emotion: EmotionScores) -> AsyncIterator[str]:
        if self.safety.distress(line, [emotion]) is Distress.URGENT:
            yield self.safety.help_message
            return
        async with aclosing(self.model.stream([*self.history.recent(), Message("user", line)], emotion)) as pieces:
            async for piece in pieces:
                yield piece


def _rate(times: list[float]) -> float | None:
    """Pieces a second after the first one: the first waits for the prompt."""
    if len(times) < 2 or times[-1] == times[0]:
        return None
    return (len(times) - 1) / (times[-1] - times[0])


def shown_emotion(emotion: EmotionScores) -> str:
    """The label with its confidence, or "neutral", for people."""
    return "neutral" if emotion.abstained else f"{emotion.label} {emotion.confidence:.0%}"
