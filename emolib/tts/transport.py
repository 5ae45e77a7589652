"""HTTP connections to a speech server, ours or Fish-Speech's: keys, timeouts, retries, streams of sound."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from emolib.addresses import is_loopback_url, root_reason
from emolib.errors import InputError, MissingDependency, ServiceError, UsageError
from emolib.tts.sound import PcmStream

__all__ = ["Deadline", "PassingFailure", "Piece", "RequestRefused", "ServiceConnection"]

Result = TypeVar("Result")

_READ_BYTES = 64 * 1024
_CONNECT_SECONDS = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
#: Statuses that may change at a later attempt.
_PASSING = {429, 500, 502, 503, 504}
#: Statuses that say that the request itself is wrong.
_OUR_FAULT = {400, 404, 405, 409, 413, 415, 422}


class Deadline:
    """A moment on the monotonic clock after which an answer is of no use; it can also be abandoned by hand."""

    def __init__(self, seconds: float | None = None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds
        self._abandoned = threading.Event()

    def abandon(self) -> None:
        """Say that nobody waits any more."""
        self._abandoned.set()

    def remaining(self) -> float | None:
        """Return the seconds left, or None without a limit. Raises ServiceError if none are left."""
        if self._abandoned.is_set():
            raise ServiceError("nobody waits for this sentence any more")
        if self._at is None:
            return None
        left = self._at - time.monotonic()
        if left <= 0:
            raise ServiceError("the sentence took longer than its deadline")
        return left

    def sleep(self, seconds: float) -> None:
        """Pause, but not past the deadline."""
        left = self.remaining()
        self._abandoned.wait(seconds if left is None else min(seconds, left))


@dataclass(frozen=True)
class Piece:
    """Sound as it arrived: float32 mono samples and their rate in Hz."""

    samples: np.ndarray
    sample_rate: int


class RequestRefused(InputError):
    """The server refused the request itself, with `status`."""

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


class PassingFailure(Exception):
    """A failure that may pass; `pause` is the wait in seconds that the server asked for."""

    def __init__(self, message: str, pause: float | None = None) -> None:
        self.pause = pause
        super().__init__(message)


class ServiceConnection:
    """Requests to the server at `url`.

    `timeout_s` bounds the wait for an answer and between two reads, `retries` counts new attempts after
    a failed connection, a passing status (429, 5xx) or a truncated answer; they wait 0.2 s, 0.4 s … or what
    Retry-After says, at most 5 s.
    """

    def __init__(self, url: str, api_key: str | None = None, *, timeout_s: float = 30.0, retries: int = 3) -> None:
        try:
            import requests
            import urllib3
        except ImportError as error:
            raise MissingDependency("the package requests", extra="tts") from error
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{url!r} is not the URL of a speech service; give one such as http://127.0.0.1:8080")
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._retries = retries
        self._session = requests.Session()
        # A proxy of the environment must not come between us and a service on this machine.
        self._session.trust_env = not is_loopback_url(url)
        if api_key:
            self._session.headers["Authorization"] = f"Bearer {api_key}"
        self._session.headers["Accept"] = "application/json, audio/*;q=0.9"
        self._lost = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError, OSError)
        self._wrong = (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def ask(self, method: str, path: str, deadline: Deadline | None = None, **options: Any) -> Any:
        """Return the JSON answer of a route. Raises ServiceError, and InputError if the request is wrong."""
        deadline = deadline or Deadline()

        def attempt() -> Any:
            with self._send(method, path, deadline, **options) as response:
                return response.json()

        try:
            return self.with_retries(attempt, deadline)
        except ValueError as error:
            raise ServiceError(f"{self.url}{path} did not answer in JSON; is it a speech service?") from error

    def speak(self, body: Mapping[str, Any], deadline: Deadline | None = None) -> Iterator[Piece]:
        """Yield the sound of `/v1/tts` for a body as it arrives; one attempt, see `with_retries`."""
        deadline = deadline or Deadline()
        decoder = PcmStream()
        with self._send("POST", "/v1/tts", deadline, json=dict(body), stream=True) as response:
            while chunk := self._read(response):
                deadline.remaining()
                samples = decoder.push(chunk)
                if samples.size:
                    yield Piece(samples, decoder.sample_rate)
        try:
            decoder.finish()
        except ServiceError as error:
            raise PassingFailure(str(error)) from error

    def with_retries(self, attempt: Callable[[], Result], deadline: Deadline) -> Result:
        """Return the result of `attempt`, which is retried after failures that may pass."""
        number = 0
        while True:
            try:
                return attempt()
            except PassingFailure as error:
                if number >= self._retries:
                    attempts = f" (after {number + 1} attempts)" if number else ""
                    raise ServiceError(f"{error}{attempts}") from error
                pause = error.pause if error.pause is not None else _FIRST_PAUSE * 2**number
            number += 1
            deadline.sleep(min(pause, _LONGEST_PAUSE))

    @staticmethod
    def without_retries(pieces: Iterator[Piece]) -> Iterator[Piece]:
        """Yield `pieces`; some were used already, so that a failure is final. Raises ServiceError."""
        try:
            yield from pieces
        except PassingFailure as error:
            raise ServiceError(str(error)) from error

    def _send(self, method: str, path: str, deadline: Deadline, **options: Any) -> Any:
        left = deadline.remaining()
        seconds = self._timeout_s if left is None else min(self._timeout_s, left)
        try:
            response = self._session.request(
                method, self.url + path, timeout=(min(seconds, _CONNECT_SECONDS), seconds), **options
            )
        except self._wrong as error:
            raise UsageError(f"{self.url}{path} cannot be asked: {error}") from error
        except self._lost as error:
            raise PassingFailure(f"no answer from the speech service at {self.url}: {root_reason(error)}") from error
        if response.status_code >= 400:
            with response:
                raise _failure(response)
        return response

    def _read(self, response: Any) -> bytes:
        try:
            return response.raw.read1(_READ_BYTES)
        except self._lost as error:
            raise PassingFailure(f"the speech service at {self.url} broke off: {root_reason(error)}") from error


def _failure(response: Any) -> Exception:
    asked = f"{response.request.method} {response.url}"
    message = f"{asked} answered {response.status_code}: {_message(response)}"
    if response.status_code in _PASSING:
        pause = response.headers.get("Retry-After", "")
        return PassingFailure(message, float(pause) if pause.isdigit() else None)
    if response.status_code in _OUR_FAULT:
        return RequestRefused(message, response.status_code)
    return ServiceError(message)


def _message(response: Any) -> str:
    try:
        body = response.json()
    except ValueError:
        body = response.text
    found = body.get("message") or body.get("detail") if isinstance(body, dict) else body
    return str(found)[:300]
