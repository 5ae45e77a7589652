"""A turn in progress, and what it asks of a player."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from emolib.chat import Message
from emolib.dialogue.interruption import heard_words, usual_seconds
from emolib.dialogue.policy import NEUTRAL_STYLE, ResponseStyle
from emolib.dialogue.safety import Distress
from emolib.dialogue.trace import Trace
from emolib.emotions import EMOTIONS, EmotionScores

if TYPE_CHECKING:
    from emolib.audio import AudioClip
    from emolib.speech import Played

__all__ = ["OngoingTurn", "Player"]


class Player(Protocol):
    """Plays the numbered clauses of one turn in order; `emolib.speech.OrderedPlayer` is one."""

    def push(self, number: int, clip: AudioClip) -> None: ...
    def finish(self, number: int) -> None: ...
    def fail(self, number: int) -> None: ...
    def end(self, count: int) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def stop(self) -> list[Played]: ...

    @property
    def heard(self) -> list[Played]: ...

    @property
    def recent(self) -> AudioClip: ...


@dataclass
class OngoingTurn:
    """A turn in progress; it has a player from its release on.

    `messages` are the history that the reply goes on from, `emotions` those of the turns before, and `estimate` is what
    was judged of half the words, which stands until the classifier has answered. Of the clauses `broken_off` the voice
    failed in the middle. From `suspected_at` on it is silent, because somebody may be interrupting it.
    """

    transcript: str
    trace: Trace
    estimate: EmotionScores | None = None
    messages: Sequence[Message] = ()
    emotions: Sequence[EmotionScores] = ()
    number: int = 0
    prepared: bool = False
    player: Player | None = None
    judging: asyncio.Task[None] | None = None
    prediction: EmotionScores | None = None
    style: ResponseStyle = NEUTRAL_STYLE
    distress: Distress = Distress.NONE
    written: str = ""
    clauses: list[str] = field(default_factory=list)
    broken_off: set[int] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    spoken: str = ""
    played_out: bool = False
    suspected_at: float | None = None

    @property
    def emotion(self) -> EmotionScores:
        """What the classifier said, else the estimate, else nothing in particular."""
        return self.prediction or self.estimate or EmotionScores.from_sequence([1 / len(EMOTIONS)] * len(EMOTIONS))

    @property
    def heard(self) -> str:
        """What was played of the answer so far."""
        return heard_words(self.clauses, [self._share(played) for played in self.played])

    def _share(self, played: Played) -> float | None:
        """How much of its clause was heard; None of one that failed.

        Once all was played out, what is still on its way through the device is heard too.
        """
        if played.failed:
            return None
        broke_off = played.number in self.broken_off
        if (played.complete or self.played_out) and not broke_off:
            return 1.0
        total = played.total
        if broke_off or not played.whole:
            seconds = usual_seconds(self.clauses[played.number])
            total = max(total, seconds * self.player.recent.sample_rate)
        return played.samples / max(total, 1)

    @property
    def played(self) -> list[Played]:
        """How much was played of each clause so far."""
        return self.player.heard if self.player else []

    @property
    def clause_heard(self) -> str:
        """The clause that is being heard, or was last; empty before the first."""
        played = self.played
        return self.clauses[played[-1].number] if played else ""

    @property
    def is_speaking(self) -> bool:
        return any(played.samples for played in self.played)

    @property
    def is_over(self) -> bool:
        return self.task is None or self.task.done()

    async def drop(self) -> None:
        """End it wherever it is; nothing of it is heard from now on."""
        if self.player:
            self.player.stop()
        if self.task and not self.task.done():
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
