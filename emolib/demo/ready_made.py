"""What the bundled models do before anything is trained: they answer lines of text, a recording, and one line twice."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.emotions import EMOTIONS
from emolib.labels import EmotionScores

if TYPE_CHECKING:
    from emolib.dialogue import Turn
    from emolib.stack import Engines

__all__ = ["LINES", "MOVING", "TONES", "ReadyMade", "meet"]

#: What the bundled models answer if the reader names nothing else.
LINES = (
    "My best friend forgot my birthday.",
    "My son took his first steps today.",
    "They moved my desk again without asking me.",
    "I keep hearing footsteps in the attic.",
)
#: A line that says nothing of how it is meant: the tone of the answer follows the emotion that is heard with it.
MOVING = "I am moving to another city next month."
TONES = ("joy", "fear")
#: How sure the emotion of the line is said to be.
_CONFIDENCE = 0.9


@dataclasses.dataclass(frozen=True)
class ReadyMade:
    """Turns with the bundled models: `lines` in text, `question` spoken, `tones` one line taken in two ways, spoken."""

    lines: list[Turn]
    question: Turn
    tones: dict[str, Turn]

    def as_dict(self) -> dict[str, Any]:
        """Return the turns for a JSON file."""
        tones = {emotion: turn.as_dict() for emotion, turn in self.tones.items()}
        return {"lines": [turn.as_dict() for turn in self.lines], "question": self.question.as_dict(), "tones": tones}


def meet(
    lines: Sequence[str],
    question: Path,
    answer: Path,
    tone_file: Callable[[str], Path],
    show: Callable[[Turn], None] = lambda turn: None,
) -> ReadyMade:
    """Have the bundled models answer `lines`, the recording `question`, and MOVING taken in each of TONES.

    The spoken answers go to the WAV files `answer` and `tone_file(emotion)`. `show` gets each turn as it ends. Each
    line is the first of a conversation of its own.
    """
    from emolib.dialogue.session import run_sync
    from emolib.stack import Stack, open_stack

    with open_stack(Stack()) as engines:
        return run_sync(_meet(engines, lines, question, answer, tone_file, show))


async def _meet(
    engines: Engines,
    lines: Sequence[str],
    question: Path,
    answer: Path,
    tone_file: Callable[[str], Path],
    show: Callable[[Turn], None],
) -> ReadyMade:
    from emolib.dialogue import converse
    from emolib.dialogue.settings import UNHURRIED
    from emolib.speech import WavSink

    written = [await _answer(engines, line, show) for line in lines]
    tones = {emotion: await _answer(_hearing(engines, emotion), MOVING, show, tone_file(emotion)) for emotion in TONES}
    # It frees the reply model, so it comes last.
    with closing(WavSink(answer)) as sink:
        (spoken,) = await converse(engines, [question], sink, settings=UNHURRIED, on_turn=show)
    return ReadyMade(written, spoken, tones)


async def _answer(engines: Engines, line: str, show: Callable[[Turn], None], file: Path | None = None) -> Turn:
    """Answer one line in a conversation of its own; its sound goes to `file`."""
    from emolib.dialogue import VoiceAgent
    from emolib.dialogue.events import TextInput
    from emolib.dialogue.settings import UNHURRIED
    from emolib.speech import OrderedPlayer, WavSink

    async def once() -> AsyncIterator[TextInput]:
        yield TextInput(line)

    if file is None:
        return (await VoiceAgent(engines, settings=UNHURRIED, on_turn=show).converse(once()))[-1]
    with closing(WavSink(file)) as sink:
        agent = VoiceAgent(engines, lambda: OrderedPlayer(sink), settings=UNHURRIED, on_turn=show)
        return (await agent.converse(once()))[-1]


@dataclasses.dataclass(frozen=True)
class _Hears:
    """A classifier that takes every text for `emotion`, as if a voice had made it clear."""

    emotion: str

    def classify(self, texts: Sequence[str]) -> list[EmotionScores]:
        rest = (1 - _CONFIDENCE) / (len(EMOTIONS) - 1)
        shares = {label: _CONFIDENCE if label == self.emotion else rest for label in EMOTIONS}
        return [EmotionScores(shares) for _ in texts]


def _hearing(engines: Engines, emotion: str) -> Engines:
    return dataclasses.replace(engines, classifier=_Hears(emotion))
