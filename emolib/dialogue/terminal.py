"""A conversation in text: in a terminal, through a pipe, or line by line in a notebook cell."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from emolib.dialogue.agent import VoiceAgent
from emolib.dialogue.events import TextInput, events_of_lines
from emolib.dialogue.history import History
from emolib.dialogue.session import converse
from emolib.dialogue.settings import UNHURRIED
from emolib.dialogue.turn import Turn
from emolib.labels import EmotionScores
from emolib.stack import Engines
from emolib.unicode import text_lines

__all__ = ["TextChat", "shown_emotion"]


@dataclass
class TextChat:
    """A conversation in text on open engines: the turn engine with lines in and text out.

    Beside each line stands the emotion felt in it. `history_file` is read at the start and written after every answer.
    `stats` adds the time to the first token and the tokens per second, and content understanding is shown as JSON when
    the stack asks for it. `write` gets what is shown,
    `on_turn` each turn as it ends.
    """

    engines: Engines
    history_file: Path | None = None
    stats: bool = False
    write: Callable[[str], None] = field(default=lambda text: _write_out(text))
    #: Whether the lines are shown with the emotion: a terminal shows what is typed by itself.
    echo: bool = True
    on_turn: Callable[[Turn], None] = lambda turn: None
    turns: list[Turn] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.history = History.load(self.history_file) if self.history_file else History()
        self._agent: VoiceAgent | None = None
        self._shown = 0
        self._line = ""

    def run(self, source: TextIO = sys.stdin) -> list[Turn]:
        """Converse until the end of `source` and return the turns; what fails is shown, and it goes on."""
        terminal = source.isatty()
        self.echo = not terminal
        # What is piped in is UTF-8 as a rule, whatever the code page of the console.
        lines = (f"{line}\n" for line in text_lines(source))

        def read() -> str:
            if not terminal:
                return next(lines, "")
            self.write("you: ")
            return source.readline()

        return asyncio.run(self._converse(events_of_lines(read)))

    async def ask(self, line: str) -> Turn:
        """Answer one line, as a notebook cell awaits it; the reply model stays loaded until `aclose`."""

        async def once() -> AsyncIterator[TextInput]:
            yield self._noted(TextInput(line))

        self._agent = self._agent or VoiceAgent(self.engines, **self._options())
        return (await self._agent.converse(once()))[-1]

    async def aclose(self) -> None:
        """Free the reply model."""
        await self.engines.reply_model.aclose()

    async def _converse(self, lines: AsyncIterator[TextInput]) -> list[Turn]:
        async def noted() -> AsyncIterator[TextInput]:
            async for line in lines:
                yield self._noted(line)

        return await converse(self.engines, noted(), **self._options())

    def _options(self) -> dict[str, object]:
        return {
            "settings": UNHURRIED,
            "history": self.history,
            "on_reply": self._show_reply,
            "on_emotion": self._show_emotion,
            "on_turn": self._end_turn,
        }

    def _noted(self, line: TextInput) -> TextInput:
        self._line, self._shown = line.text, 0
        return line

    def _show_emotion(
        self, words: EmotionScores | None, voice: Mapping[str, float] | None, fused: EmotionScores
    ) -> None:
        self.write(f"[{shown_emotion(fused)}]{f' {self._line}' if self.echo else ''}\n")

    def _show_reply(self, written: str, spoken: str) -> None:
        self.write(written[self._shown :])
        self._shown = len(written)

    def _end_turn(self, turn: Turn) -> None:
        self.turns.append(turn)
        self.on_turn(turn)
        self.write("\n")
        if turn.understanding:
            self.write(turn.understanding.model_dump_json() + "\n")
        for problem in turn.problems:
            self.write(f"({problem})\n")
        if self.stats:
            self.write(f"({turn.speed})\n")
        if self.history_file:
            self.history.save(self.history_file)


def shown_emotion(emotion: EmotionScores) -> str:
    """Return the label with its confidence, or "neutral", for people."""
    return "neutral" if emotion.abstained else f"{emotion.label} {emotion.confidence:.0%}"


def _write_out(text: str) -> None:
    # A kernel, and a pipe, gather what is printed until they are told to send it.
    sys.stdout.write(text)
    sys.stdout.flush()
