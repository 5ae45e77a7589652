"""A turn in progress, and what it asks of a player."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from emolib.chat import Message
from emolib.dialogue.interruption import heard_words, usual_seconds
from emolib.dialogue.policy import NEUTRAL_STYLE, ResponseStyle
from emolib.dialogue.safety import Distress
from emolib.dialogue.trace import Trace
from emolib.emotions import EMOTIONS
from emolib.labels import EmotionScores

if TYPE_CHECKING:
    from emolib.audio import AudioClip
    from emolib.chat import Understanding
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
    """A turn in progress.

    What was asked: the transcript, the `messages` that the reply goes on from, the `emotions` of the turns before, the
    `estimate` from a partial transcript, and the emotion of the voice. It gets a player when it is released, or none in
    a conversation in text. What is made of it: the `prediction` of the classifier, style, distress, the text `written`
    by the reply model, and the `clauses` that are spoken. Of the clauses `broken_off` the voice failed in the middle.
    Before it, `discarded` answers were prepared in pauses and not used.
    """

    transcript: str
    trace: Trace
    messages: Sequence[Message] = ()
    emotions: Sequence[EmotionScores] = ()
    estimate: EmotionScores | None = None
    voice_emotion: Mapping[str, float] | None = None
    prediction: EmotionScores | None = None
    problems: list[str] = field(default_factory=list)

    number: int = 0
    prepared: bool = False
    discarded: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)
    player: Player | None = None
    paused: bool = False
    task: asyncio.Task[None] | None = None

    style: ResponseStyle = NEUTRAL_STYLE
    distress: Distress = Distress.NONE
    understanding: Understanding | None = None
    written: str = ""
    pieces: int = 0
    reply_from: str = ""
    clauses: list[str] = field(default_factory=list)
    broken_off: set[int] = field(default_factory=set)
    spoken: str = ""
    played_out: bool = False

    @property
    def words(self) -> EmotionScores | None:
        """The emotion of the words: what the classifier predicted, else the estimate."""
        return self.prediction or self.estimate

    @property
    def emotion(self) -> EmotionScores:
        """The emotion of words and voice together; evenly unsure when neither is known."""
        unsure = EmotionScores.from_sequence([1 / len(EMOTIONS)] * len(EMOTIONS))
        words = self.words.as_emotions() if self.words else unsure
        if not self.voice_emotion:
            return words
        from emolib.speech import fuse

        return fuse(words, self.voice_emotion)

    @property
    def contradicting(self) -> tuple[str, str] | None:
        """The emotions of words and voice if they contradict each other, else None."""
        if not self.words or not self.voice_emotion:
            return None
        from emolib.speech import contradicting

        return contradicting(self.words, self.voice_emotion)

    @property
    def all_emotions(self) -> list[EmotionScores]:
        """The emotions of the turns before, and of this one."""
        return [*self.emotions, self.emotion]

    @property
    def heard(self) -> str:
        """What was played of the answer so far; in text, what was shown of it."""
        if self.player is None:
            return self.written.strip() if self.released.is_set() else ""
        return heard_words(self.clauses, [self._share(played) for played in self.played])

    def _share(self, played: Played) -> float | None:
        """Return how much of its clause was heard; None for one that failed.

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
        """Whether something of the answer was heard; in text, whether something was shown."""
        return any(played.samples for played in self.played) if self.player else bool(self.heard)

    @property
    def is_over(self) -> bool:
        return self.task is None or self.task.done()

    def stop_playing(self) -> None:
        """Let nothing more of it be heard."""
        if self.player:
            self.player.stop()

    async def drop(self) -> None:
        """End it wherever it is; nothing of it is heard from now on."""
        self.stop_playing()
        if self.task and not self.task.done():
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
