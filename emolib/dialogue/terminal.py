"""`emolib chat`: the text conversation in a terminal, or through a pipe."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from emolib.chat import Message, ReplyModel
from emolib.dialogue.history import History
from emolib.dialogue.stages import Classifier
from emolib.dialogue.text_chat import TextSession, shown_emotion
from emolib.emotions import EmotionScores
from emolib.errors import EmolibError

__all__ = ["TerminalChat"]


@dataclass
class TerminalChat:
    """Reads lines from `source` until its end and writes the answers to `sink`.

    Beside each line stands the emotion heard in it. `history_file` is read at the start and written
    after every answer. `stats` adds the time to the first token and the tokens a second, `understanding`
    what the line is about, as JSON.
    """

    classifier: Classifier
    model: ReplyModel
    history_file: Path | None = None
    stats: bool = False
    understanding: bool = False
    source: TextIO = sys.stdin
    sink: TextIO = sys.stdout

    def run(self) -> None:
        """Talk until the end of the input; what fails is shown and the conversation goes on."""
        history = History.load(self.history_file) if self.history_file else History()
        asyncio.run(self._run(TextSession(self.classifier, self.model, history)))

    async def _run(self, session: TextSession) -> None:
        try:
            while line := await asyncio.to_thread(self._read):
                if line.strip():
                    await self._exchange(session, line.strip())
        finally:
            await self.model.aclose()

    def _read(self) -> str:
        if self.source.isatty():
            self._write("you: ")
        return self.source.readline()

    async def _exchange(self, session: TextSession, line: str) -> None:
        emotion = await asyncio.to_thread(session.feel, line)
        self._write(f"[{shown_emotion(emotion)}]{'' if self.source.isatty() else ' ' + line}\n")
        if self.understanding:
            await self._show_understanding(session, line, emotion)
        answer = await session.reply(line, emotion, self._write)
        self._write("\n")
        if answer.problem:
            self._write(f"({answer.problem})\n")
        if self.stats:
            self._write(f"({answer.speed})\n")
        if self.history_file:
            session.history.save(self.history_file)

    async def _show_understanding(self, session: TextSession, line: str, emotion: EmotionScores) -> None:
        from emolib.chat import understand

        try:
            found = await understand(self.model, [*session.history.recent(), Message("user", line)], emotion)
            self._write(found.model_dump_json() + "\n")
        except EmolibError as error:
            self._write(f"({error})\n")

    @property
    def _write(self) -> Callable[[str], None]:
        def write(text: str) -> None:
            self.sink.write(text)
            self.sink.flush()

        return write
