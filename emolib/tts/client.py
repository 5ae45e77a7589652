"""The client of the speech service, on requests; it works with ours and with a Fish-Speech server."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from emolib.audio import AudioClip
from emolib.errors import EmolibError, ServiceError, UsageError
from emolib.tts.markers import S1, TagSet
from emolib.tts.remote_voices import RemoteVoices
from emolib.tts.request import SpeechRequest
from emolib.tts.transport import Deadline, PassingFailure, Piece, RequestRefused, ServiceConnection
from emolib.tts.voiceprints import VoiceLibrary

__all__ = ["Rendering", "SpeechSynthesizer"]

#: Length of the silence that stands for a sentence that failed, in seconds.
SILENCE_SECONDS = 0.3
_SILENCE_RATE = 22_050


@dataclass(frozen=True)
class Rendering:
    """A sentence as it will be heard: its sound, or a short silence and the reason in `failure`."""

    clip: AudioClip
    failure: str | None = None


class SpeechSynthesizer:
    """Speech over HTTP; one object serves several threads.

    `url` is the root of the service, `timeout_s` bounds the wait for an answer and between two reads,
    `retries` counts new attempts after a failed connection, a 5xx or a cut answer. `sample_rate` (Hz)
    resamples every clip; without it a clip has the rate of the service. `tags` are the emotion tags of a
    Fish-Speech server (S1 or S2); our own service gets the emotion as a field. `voices` is where
    voiceprints are looked up before the server is asked, `voice` the one of requests that name none.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: int = 3,
        sample_rate: int | None = None,
        tags: TagSet = S1,
        voices: VoiceLibrary | None = None,
        voice: str | None = None,
    ) -> None:
        self._connection = ServiceConnection(url, api_key, timeout_s=timeout_s, retries=retries)
        self._sample_rate = sample_rate
        self._tags = tags
        self._voices = RemoteVoices(self._connection, voices or VoiceLibrary())
        self._voice = voice
        self._is_ours: bool | None = None
        self.url = self._connection.url

    def __enter__(self) -> SpeechSynthesizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def health(self) -> dict[str, Any]:
        """What the service says of itself; at least `status`. Raises ServiceError."""
        return self._connection.ask("GET", "/v1/health")

    def prepare_voice(self, name: str) -> None:
        """Bring a voiceprint to the server, so that no sentence waits for it.

        Raises UsageError for a voice that neither side knows, and for an engine that imitates none.
        """
        if not self.health().get("clones_voices", True):
            raise UsageError(
                f"the speech service at {self.url} has one voice and imitates none; leave the voice {name!r} out,"
                " or run Fish-Speech and name it in EMOLIB_FISH_URL"
            )
        self._voices.fields(name, None, Deadline())

    def voices(self) -> list[str]:
        """The names that a request may have as its voiceprint; none where the engine has one voice. ServiceError."""
        if not self.health().get("clones_voices", True):
            return []
        return self._voices.names(Deadline())

    def synthesize(self, request: SpeechRequest, *, deadline_s: float | None = None) -> AudioClip:
        """The whole utterance. Raises ServiceError, UsageError for an unknown voice, InputError for a bad request."""
        return self._synthesize(request, Deadline(deadline_s))

    def stream(self, request: SpeechRequest, *, deadline_s: float | None = None) -> Iterator[AudioClip]:
        """The utterance piece by piece as it is made; tried again only as long as no piece has come."""
        deadline = Deadline(deadline_s)

        def start() -> Iterator[Piece]:
            pieces = self._attempt(request, streaming=True, deadline=deadline)
            first = next(pieces, None)
            if first is None:
                raise ServiceError(f"the speech service at {self.url} sent no sound")
            return itertools.chain([first], pieces)

        pieces = self._connection.with_retries(start, deadline)
        return self._resampled(self._connection.without_retries(pieces))

    def render(self, request: SpeechRequest, deadline_s: float) -> Rendering:
        """The utterance, or after a failure or `deadline_s` seconds a short silence, so that a dialogue goes on."""
        deadline = Deadline(deadline_s)
        outcome: list[Rendering] = []

        def work() -> None:
            try:
                outcome.append(Rendering(self._synthesize(request, deadline)))
            except EmolibError as error:
                outcome.append(Rendering(self._silence(), str(error)))

        # A thread, because a server that sends a byte now and then cannot be timed out by its socket.
        worker = threading.Thread(target=work, name="render", daemon=True)
        worker.start()
        worker.join(deadline_s)
        if outcome:
            return outcome[0]
        deadline.abandon()
        return Rendering(self._silence(), f"the speech service at {self.url} took over {deadline_s:g} s")

    def _synthesize(self, request: SpeechRequest, deadline: Deadline) -> AudioClip:
        pieces = self._connection.with_retries(
            lambda: list(self._attempt(request, streaming=False, deadline=deadline)), deadline
        )
        if not pieces:
            raise ServiceError(f"the speech service at {self.url} sent no sound")
        clip = AudioClip(np.concatenate([piece.samples for piece in pieces]), pieces[0].sample_rate)
        return clip if self._sample_rate in (None, clip.sample_rate) else clip.resample(self._sample_rate)

    def _attempt(self, request: SpeechRequest, streaming: bool, deadline: Deadline) -> Iterator[Piece]:
        """The sound of one request as it arrives; a server that failed may have begun anew, without our voices."""
        body = self._body(request, streaming, deadline)
        try:
            yield from self._connection.speak(body, deadline)
        except PassingFailure:
            self._voices.forget()
            raise
        except RequestRefused as error:
            if error.status != 404 or "reference_id" not in body:
                raise
            self._voices.forget()
            raise PassingFailure(str(error)) from error

    def _body(self, request: SpeechRequest, streaming: bool, deadline: Deadline) -> dict[str, Any]:
        ours = self._knows_emotions(deadline)
        body: dict[str, Any] = {"text": request.text, "format": "wav", "streaming": streaming}
        if ours:
            body |= {"emotion": request.emotion or "neutral", "intensity": request.intensity}
        else:
            body["text"] = self._tags.tag(request.text, request.emotion, request.intensity)
        if voice := request.voiceprint or self._voice:
            body |= self._voices.fields(voice, request.emotion, deadline)
        return body

    def _knows_emotions(self, deadline: Deadline) -> bool:
        """Whether the server is ours, which names its engine, or Fish-Speech's own, which wants tags."""
        if self._is_ours is None:
            self._is_ours = "engine" in self._connection.ask("GET", "/v1/health", deadline)
        return self._is_ours

    def _resampled(self, pieces: Iterator[Piece]) -> Iterator[AudioClip]:
        first = next(pieces)
        rate = self._sample_rate
        if rate in (None, first.sample_rate):
            for piece in itertools.chain([first], pieces):
                yield AudioClip(piece.samples, piece.sample_rate)
            return
        import soxr

        resampler = soxr.ResampleStream(first.sample_rate, rate, 1, dtype="float32")
        for piece in itertools.chain([first], pieces):
            yield AudioClip(resampler.resample_chunk(piece.samples), rate)
        yield AudioClip(resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True), rate)

    def _silence(self) -> AudioClip:
        rate = self._sample_rate or _SILENCE_RATE
        return AudioClip(np.zeros(round(SILENCE_SECONDS * rate), dtype=np.float32), rate)
