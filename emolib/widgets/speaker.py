"""The loudspeaker of a browser page, as a sink of the library."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from emolib.audio import to_pcm16
from emolib.speech.sinks import Pull

__all__ = ["BrowserSink"]

_BLOCK_S = 0.02
_LEAD_S = 0.08


class BrowserSink:
    """Sends what is played to a page as 16-bit PCM, 80 ms ahead of what is heard there (an `AudioSink`).

    The lead covers the page's delays, and is the longest that is heard after the player has stopped. `send` gets
    the PCM of a block of 20 ms.
    """

    #: The lead is counted as heard: a turn ends when its last sample is sent, and would lose its last word else.
    latency_samples = 0

    def __init__(self, send: Callable[[bytes], None], sample_rate: int = 22_050) -> None:
        self.sample_rate = sample_rate
        self._send = send
        self._pull: Pull = _nothing
        self._sending = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, pull: Pull) -> None:
        """Ask `pull` for samples from now on."""
        self._pull = pull
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="browser speaker", daemon=True)
            self._thread.start()

    def silence(self) -> None:
        """Send nothing more until the next `start`: what a stopped player still gives is its fade-out.

        A page that dropped its queue would play that fade-out alone, as a click.
        """
        with self._sending:
            self._pull = _nothing

    def close(self) -> None:
        """Stop asking."""
        self._closed.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        block = round(_BLOCK_S * self.sample_rate)
        heard_until = time.monotonic()
        while not self._closed.wait(_BLOCK_S / 4):
            # After a pause the page has nothing left: the lead is built up anew.
            heard_until = max(heard_until, time.monotonic())
            while heard_until < time.monotonic() + _LEAD_S and (sent := self._send_block(block)):
                heard_until += sent / self.sample_rate

    def _send_block(self, count: int) -> int:
        """Send the next samples, at most `count`; how many they were."""
        with self._sending:
            samples = self._pull(count)
            if len(samples):
                self._send(to_pcm16(samples))
        return len(samples)


def _nothing(count: int) -> np.ndarray:
    return np.zeros(0, dtype=np.float32)
