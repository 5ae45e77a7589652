"""The state of a conversation: one value, and the moves that are possible from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from emolib.dialogue.ongoing import OngoingTurn

__all__ = ["Phase", "State"]


class Phase(Enum):
    """What a conversation is doing."""

    LISTENING = "listening"
    PREPARING = "preparing"
    ANSWERING = "answering"
    SUSPECTED = "suspected"
    OVER = "over"


_MOVES: dict[Phase, set[Phase]] = {
    Phase.LISTENING: {Phase.PREPARING, Phase.ANSWERING, Phase.OVER},
    Phase.PREPARING: {Phase.LISTENING, Phase.ANSWERING},
    Phase.ANSWERING: {Phase.LISTENING, Phase.SUSPECTED},
    Phase.SUSPECTED: {Phase.LISTENING, Phase.ANSWERING},
    Phase.OVER: {Phase.LISTENING},
}


@dataclass(frozen=True)
class State:
    """The phase, the turn that it is about, and since when (seconds of the conversation's clock).

    LISTENING    nothing to answer; no turn
    PREPARING    an answer is made in a pause of the speaker, unheard
    ANSWERING    the answer is heard, clause by clause
    SUSPECTED    the answer is silent, because somebody may be speaking over it
    OVER         the conversation has ended; no turn
    """

    phase: Phase = Phase.LISTENING
    turn: OngoingTurn | None = None
    since: float = 0.0

    def __post_init__(self) -> None:
        if (self.turn is None) != (self.phase in (Phase.LISTENING, Phase.OVER)):
            raise ValueError(f"{self.phase} {'needs a' if self.turn is None else 'has no'} turn")

    @property
    def answering(self) -> OngoingTurn | None:
        """The turn whose answer is heard or may be, None when there is none."""
        return self.turn if self.phase in (Phase.ANSWERING, Phase.SUSPECTED) else None

    @property
    def prepared(self) -> OngoingTurn | None:
        """The turn that is prepared, None when there is none."""
        return self.turn if self.phase is Phase.PREPARING else None

    def to(self, phase: Phase, turn: OngoingTurn | None = None, since: float = 0.0) -> State:
        """Return the next state; ValueError for a move that is not possible."""
        if phase not in _MOVES[self.phase]:
            raise ValueError(f"a conversation cannot move from {self.phase.value} to {phase.value}")
        return State(phase, turn, since)
