"""The client of the speech service, on requests; it works with ours and with a Fish-Speech server."""

from __future__ import annotations

import ipaddress
import itertools
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from emolib.errors import InputError, MissingDependency, ServiceError
from emolib.speech import AudioClip
from emolib.tts.request import SpeechRequest
from emolib.tts.sound import PcmStream

__all__ = ["SpeechSynthesizer"]

_CHUNK = 4096
_RETRIED = {429, 500, 502, 503, 504}
_LONGEST_PAUSE = 5.0


class SpeechSynthesizer:
    """Speech over HTTP.

    `url` is the root of the service, `timeout_s` bounds the wait for a connection and between two
    reads, `retries` counts new attempts after a refused connection, a 5xx or a cut reply, and
    `sample_rate` (Hz) resamples every clip; without it a clip has the rate of the service.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: int = 3,
        sample_rate: int | None = None,
    ) -> None:
        try:
            import requests
        except ImportError as error:
            raise MissingDependency("the package requests", extra="tts") from error
        self.url = url.rstrip("/")
        self._timeout = (min(timeout_s, 5.0), timeout_s)
        self._retries = retries
        self._sample_rate = sample_rate
        self._session = requests.Session()
        # A proxy of the environment must not come between us and a service on this machine.
        self._session.trust_env = not _is_local(self.url)
        if api_key:
            self._session.headers["Authorization"] = f"Bearer {api_key}"
        self._failures = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)

    def __enter__(self) -> SpeechSynthesizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def health(self) -> dict[str, Any]:
        """What the service says of itself; at least `status`. Raises ServiceError."""
        return self._with_retries(lambda: self._send("GET", "/v1/health").json())

    def synthesize(self, request: SpeechRequest) -> AudioClip:
        """The whole utterance as float32 mono. Raises ServiceError, and InputError for a text it refuses."""
        return self._with_retries(lambda: _joined(list(self._pieces(request, streaming=False))))

    def stream(self, request: SpeechRequest) -> Iterator[AudioClip]:
        """The utterance piece by piece as it is made; tried again only as long as no piece has come."""
        pieces = self._with_retries(lambda: _started(self._pieces(request, streaming=True)))
        yield from pieces

    def _pieces(self, request: SpeechRequest, streaming: bool) -> Iterator[AudioClip]:
        body = {
            "text": request.text,
            "emotion": request.emotion,
            "intensity": request.intensity,
            "reference_id": request.voiceprint,
            "format": "wav",
            "streaming": streaming,
        }
        decoder = PcmStream()
        with self._send("POST", "/v1/tts", json=body, stream=True) as response:
            for chunk in response.iter_content(None if streaming else _CHUNK):
                samples = decoder.push(chunk)
                if samples.size:
                    yield self._clip(samples, decoder.sample_rate)
        decoder.finish()

    def _clip(self, samples: np.ndarray, sample_rate: int) -> AudioClip:
        clip = AudioClip(samples, sample_rate)
        return clip if self._sample_rate in (None, sample_rate) else clip.resample(self._sample_rate)

    def _send(self, method: str, path: str, **options: Any) -> Any:
        response = self._session.request(method, self.url + path, timeout=self._timeout, **options)
        if response.status_code < 400:
            return response
        with response:
            raise _refusal(response)

    def _with_retries(self, attempt: Any) -> Any:
        for number in range(self._retries + 1):
            try:
                return attempt()
            except _TryAgain as error:
                failure, pause = ServiceError(str(error)), error.pause
            except _Refused:
                raise
            except ServiceError as error:
                failure, pause = error, None
            except self._failures as error:
                failure, pause = ServiceError(f"no answer from the speech service at {self.url}: {error}"), None
            if number < self._retries:
                time.sleep(min(pause or 0.2 * 2**number, _LONGEST_PAUSE))
        raise failure


class _TryAgain(Exception):
    def __init__(self, message: str, pause: float | None) -> None:
        self.pause = pause
        super().__init__(message)


class _Refused(ServiceError):
    """An answer that a new attempt would not change."""


def _refusal(response: Any) -> Exception:
    message = f"{response.request.method} {response.url} answered {response.status_code}: {response.text[:300]}"
    if response.status_code in _RETRIED:
        pause = response.headers.get("Retry-After", "")
        return _TryAgain(message, float(pause) if pause.isdigit() else None)
    return InputError(message) if response.status_code in (400, 413, 422) else _Refused(message)


def _started(pieces: Iterator[AudioClip]) -> Iterator[AudioClip]:
    first = next(pieces)
    return itertools.chain([first], pieces)


def _joined(pieces: list[AudioClip]) -> AudioClip:
    if not pieces:
        raise ServiceError("the speech service sent no sound")
    return AudioClip(np.concatenate([piece.samples for piece in pieces]), pieces[0].sample_rate)


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
