"""When each stage of a turn began and ended, on one monotonic clock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Span", "Trace"]


@dataclass(frozen=True)
class Span:
    """A stage of a turn: its name, and its start and end in seconds since the zero of the trace."""

    stage: str
    start: float
    end: float


class Trace:
    """The spans of a turn, and the moments that were marked in it, in seconds since its `zero`.

    `zero` is a moment of `clock`, by default that of the trace's creation; it may be moved to one that became known
    later, such as the end of the speech. What happened before it has times below 0.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.zero = clock()
        self._spans: list[Span] = []
        self._marks: dict[str, float] = {}

    @property
    def spans(self) -> list[Span]:
        """The stages, in the order in which they ended."""
        return [Span(span.stage, span.start - self.zero, span.end - self.zero) for span in self._spans]

    @property
    def marks(self) -> dict[str, float]:
        """The marked moments."""
        return {name: moment - self.zero for name, moment in self._marks.items()}

    def now(self) -> float:
        """Seconds since zero."""
        return self.clock() - self.zero

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record the time that the block takes, also if it fails."""
        start = self.clock()
        try:
            yield
        finally:
            self._spans.append(Span(name, start, self.clock()))

    def record(self, name: str, start: float, end: float) -> None:
        """Record a stage by two moments of the clock."""
        self._spans.append(Span(name, start, end))

    def mark(self, name: str) -> None:
        """Record the first time that `name` happened; later ones change nothing."""
        self._marks.setdefault(name, self.clock())

    def mark_latest(self, name: str) -> None:
        """Record the latest time that `name` happened."""
        self._marks[name] = self.clock()

    def busy_ms(self) -> dict[str, int]:
        """Milliseconds of work by stage, in the order in which the stages began."""
        totals: dict[str, float] = {}
        for span in sorted(self._spans, key=lambda span: span.start):
            totals[span.stage] = totals.get(span.stage, 0.0) + span.end - span.start
        return {stage: round(seconds * 1000) for stage, seconds in totals.items()}

    def marks_ms(self) -> dict[str, int]:
        """The marked moments, in milliseconds since zero."""
        return {name: round(seconds * 1000) for name, seconds in self.marks.items()}

    def as_dict(self) -> dict[str, object]:
        """The trace as JSON: times in milliseconds."""
        spans = [
            {"stage": span.stage, "start_ms": round(span.start * 1000, 1), "end_ms": round(span.end * 1000, 1)}
            for span in self.spans
        ]
        return {"spans": spans, "marks_ms": self.marks_ms()}
