"""Fish-Speech behind our service: a server of its own, in its own environment, reached by URL."""

from __future__ import annotations

import base64
import itertools
import threading
from collections.abc import Iterator

import numpy as np

from emolib.errors import EmolibError
from emolib.tts.engines import EngineError, Utterance, sentences
from emolib.tts.markers import TagSet
from emolib.tts.sound import STREAM_RATE
from emolib.tts.transport import Deadline, Piece, ServiceConnection

__all__ = ["FishEngine"]


class FishEngine:
    """A Fish-Speech server at `url`; `tags` are those of the generation that it serves (S1 or S2).

    The text goes over sentence by sentence, each with its own tag: Fish-Speech makes one segment of
    an untagged text, and would give no sound before all of it is done.
    """

    name = "fish"
    sample_rate = STREAM_RATE
    clones_voices = True
    reads_tags = True

    def __init__(self, url: str, tags: TagSet, api_key: str | None = None, timeout_s: float = 120.0) -> None:
        # The service's own client retries; here one attempt is enough.
        self._connection = ServiceConnection(url, api_key, timeout_s=timeout_s, retries=0)
        self._tags = tags

    def synthesize(self, utterance: Utterance, stop: threading.Event) -> Iterator[np.ndarray]:
        """Yield one piece per sentence, at 44.1 kHz."""
        for sentence in sentences(utterance.text):
            if stop.is_set():
                return
            pieces = self._say(self._tags.tag(sentence, utterance.emotion, utterance.intensity), utterance, stop)
            if pieces:
                yield _at_rate(pieces, self.sample_rate)

    def _say(self, tagged: str, utterance: Utterance, stop: threading.Event) -> list[Piece]:
        deadline = Deadline()
        body = self._body(utterance, tagged)

        def attempt() -> list[Piece]:
            return list(itertools.takewhile(lambda _: not stop.is_set(), self._connection.speak(body, deadline)))

        try:
            return self._connection.with_retries(attempt, deadline)
        except EmolibError as error:
            raise EngineError(str(error)) from error

    @staticmethod
    def _body(utterance: Utterance, text: str) -> dict[str, object]:
        clips = [{"audio": base64.b64encode(clip.audio).decode(), "text": clip.text} for clip in utterance.references]
        # With the memory cache the server encodes a clip once and not for every sentence.
        return {**utterance.sampling, "text": text, "references": clips, "use_memory_cache": "on", "format": "wav"}

    def close(self) -> None:
        """Close the connection to the server."""
        self._connection.close()


def _at_rate(pieces: list[Piece], sample_rate: int) -> np.ndarray:
    samples = np.concatenate([piece.samples for piece in pieces])
    if pieces[0].sample_rate == sample_rate:
        return samples
    import soxr

    return soxr.resample(samples, pieces[0].sample_rate, sample_rate)
