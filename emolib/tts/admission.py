"""Who may speak next: a bounded first-come-first-served queue before a bounded number of slots."""

from __future__ import annotations

import asyncio

__all__ = ["Admission", "QueueFull", "WaitedTooLong"]


class QueueFull(Exception):
    """No room to wait; `retry_after` in seconds."""

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"the queue is full; try again in {retry_after} s")


class WaitedTooLong(QueueFull):
    """A slot did not come free in time."""


class Admission:
    """`slots` utterances are synthesised at once and at most `places` wait, each at most `patience` seconds."""

    def __init__(self, slots: int, places: int, patience: float) -> None:
        self._free = asyncio.Semaphore(slots)
        self._slots = slots
        self._places = places
        self._patience = patience
        self.waiting = 0
        self.running = 0
        self._usual_seconds = 1.0

    async def enter(self) -> None:
        """Wait for a slot in the order of arrival. Raises QueueFull or WaitedTooLong."""
        if self._free.locked() and self.waiting >= self._places:
            raise QueueFull(self.retry_after())
        self.waiting += 1
        try:
            await asyncio.wait_for(self._free.acquire(), self._patience)
        except TimeoutError:
            raise WaitedTooLong(self.retry_after()) from None
        finally:
            self.waiting -= 1
        self.running += 1

    def leave(self, seconds: float) -> None:
        """Give a slot back after `seconds` of work."""
        self.running -= 1
        self._usual_seconds += 0.2 * (seconds - self._usual_seconds)
        self._free.release()

    def retry_after(self) -> int:
        """Whole seconds after which a place is likely."""
        return max(1, round((self.waiting + self.running) * self._usual_seconds / self._slots))
