"""Who may speak next: a bounded first-come-first-served queue before a bounded number of slots."""

from __future__ import annotations

import asyncio

from emolib.tts.refusal import Refusal

__all__ = ["Admission"]


class Admission:
    """`slots` utterances are synthesised at once and at most `places` wait, each at most `patience` seconds."""

    def __init__(self, slots: int, places: int, patience: float) -> None:
        self._free = asyncio.Semaphore(slots)
        self._slots = slots
        self._places = places
        self._patience = patience
        self._usual_seconds = 1.0
        self.waiting = 0
        self.running = 0

    async def enter(self) -> None:
        """Wait for a slot in the order of arrival. Raises Refusal: 429 for a full queue, 503 after `patience`."""
        if self._free.locked() and self.waiting >= self._places:
            raise Refusal(429, f"{self.waiting} requests are waiting already", retry_after=self.retry_after())
        self.waiting += 1
        try:
            await asyncio.wait_for(self._free.acquire(), self._patience)
        except TimeoutError:
            message = f"no voice came free in {self._patience:g} s"
            raise Refusal(503, message, retry_after=self.retry_after()) from None
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
