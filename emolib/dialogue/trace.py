"""When each stage of a turn began and ended, on one monotonic clock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

__all__ = ["Span", "Trace"]


@dataclass(frozen=True)
class Span:
    """A stage of a turn: its name, and its start and end in seconds since the start of the trace."""

    stage: str
    start: float
    end: float


@dataclass
class Trace:
    """The spans of a turn, and the moments that were marked in it. Times in seconds from its creation."""

    clock: Callable[[], float] = time.monotonic
    spans: list[Span] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._origin = self.clock()

    def now(self) -> float:
        """Seconds since the trace began."""
        return self.clock() - self._origin

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record the time that the block takes, also where it fails."""
        start = self.now()
        try:
            yield
        finally:
            self.spans.append(Span(name, start, self.now()))

    def mark(self, name: str) -> None:
        """Record the first time that `name` happened; later ones change nothing."""
        self.marks.setdefault(name, self.now())

    def busy_ms(self) -> dict[str, int]:
        """Milliseconds of work by stage, in the order in which the stages began."""
        totals: dict[str, float] = {}
        for span in sorted(self.spans, key=lambda span: span.start):
            totals[span.stage] = totals.get(span.stage, 0.0) + span.end - span.start
        return {stage: round(seconds * 1000) for stage, seconds in totals.items()}

    def marks_ms(self) -> dict[str, int]:
        """The marked moments, in milliseconds since the trace began."""
        return {name: round(seconds * 1000) for name, seconds in self.marks.items()}

    def as_dict(self) -> dict[str, object]:
        """The trace as JSON: times in milliseconds."""
        spans = [
            {"stage": span.stage, "start_ms": round(span.start * 1000, 1), "end_ms": round(span.end * 1000, 1)}
            for span in self.spans
        ]
        return {"spans": spans, "marks_ms": self.marks_ms()}
