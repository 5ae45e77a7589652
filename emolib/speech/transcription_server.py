"""Speech to text by OpenAI's transcription API, or any server that speaks it (`/v1/audio/transcriptions`).

FunASR's own `funasr-server`, faster-whisper servers and vLLM do.
"""

from __future__ import annotations

import io
import math
import os
import urllib.parse
from typing import Any

import numpy as np

from emolib.addresses import is_loopback_url
from emolib.audio import AudioClip, wav_bytes
from emolib.errors import MissingDependency, ServiceError, UsageError
from emolib.speech.partials import FinalTranscript
from emolib.speech.transcript import NoSpeech, Transcript, Word

__all__ = ["TranscriptionServer"]

_OPENAI_URL = "https://api.openai.com/v1"


class TranscriptionServer:
    """Speech to text by the server at `base_url`.

    `api_key` defaults to OPENAI_API_KEY for OpenAI itself and is needed there alone; it is sent to `base_url` only,
    and stands in no error. `language` is an ISO code, None to let the server find out. `timeout_s` bounds the
    wait for an answer; 429, 5xx and lost connections are tried again `retries` times.
    """

    def __init__(
        self,
        base_url: str = _OPENAI_URL,
        model: str = "whisper-1",
        *,
        api_key: str | None = None,
        language: str | None = None,
        timeout_s: float = 20.0,
        retries: int = 2,
    ) -> None:
        parts = urllib.parse.urlsplit(base_url)
        if parts.scheme not in ("http", "https"):
            raise UsageError(f"{base_url!r} is not the URL of a transcription server; it starts with http or https")
        is_openai = parts.hostname == urllib.parse.urlsplit(_OPENAI_URL).hostname
        api_key = api_key or (os.environ.get("OPENAI_API_KEY") if is_openai else None)
        if is_openai and not api_key:
            raise UsageError("OpenAI's transcription needs a key: set OPENAI_API_KEY, or name another server")
        self._client = _client(base_url, api_key, timeout_s, retries)
        # A user name and a password in the URL may be secrets.
        self.url = urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        self._model = model
        self._timeout_s = timeout_s
        self._api_key = api_key
        # OpenAI's newer models know plain JSON alone; the others say more with verbose_json.
        self._options: dict[str, Any] = {"response_format": "json" if model.startswith("gpt-") else "verbose_json"}
        if language:
            self._options["language"] = language

    def transcribe(self, clip: AudioClip) -> Transcript:
        """The text of a clip of any rate. NoSpeech where there is none, ServiceError where the server fails."""
        import openai

        if not np.any(clip.samples):
            raise NoSpeech(clip)
        file = ("utterance.wav", io.BytesIO(wav_bytes(clip)), "audio/wav")
        try:
            answer = self._client.audio.transcriptions.create(file=file, model=self._model, **self._options)
        except openai.OpenAIError as error:
            # The SDK's exception holds the request with its headers: it must not travel on as the cause.
            raise ServiceError(self._explain(error)) from None
        text = getattr(answer, "text", None)
        if text is None:
            raise ServiceError(f"{self.url} sent an answer without a text; is it a transcription server?")
        if not text.strip():
            raise NoSpeech(clip)
        segments = getattr(answer, "segments", None) or []
        return Transcript(text.strip(), _language(answer), _confidence(segments), tuple(map(_word, segments)))

    def stream(self) -> FinalTranscript:
        """A new utterance, sent once at its end: each request may cost money."""
        return FinalTranscript(self)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _explain(self, error: Exception) -> str:
        import openai

        if isinstance(error, openai.APITimeoutError):
            return f"{self.url} was silent for {self._timeout_s:g} s; try again, or allow it more time"
        if isinstance(error, openai.APIConnectionError):
            return f"{self.url} cannot be reached or broke the connection; check the address and that the server runs"
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return f"{self.url} refused the API key (HTTP {error.status_code}); check OPENAI_API_KEY or `api_key`"
        detail = error.response.text if isinstance(error, openai.APIStatusError) else str(error)
        detail = detail.replace(self._api_key, "***")[:200] if self._api_key else detail[:200]
        if isinstance(error, openai.APIStatusError):
            return f"{self.url} failed with HTTP {error.status_code}: {detail}"
        return f"{self.url} sent an answer that cannot be used: {detail}"


def _client(base_url: str, api_key: str | None, timeout_s: float, retries: int) -> Any:
    try:
        from openai import DefaultHttpxClient, OpenAI
    except ImportError as error:
        raise MissingDependency("the package openai", extra="remote") from error
    # A proxy of the environment must not come between us and a server on this machine.
    http_client = DefaultHttpxClient(trust_env=False) if is_loopback_url(base_url) else None
    return OpenAI(
        base_url=base_url, api_key=api_key or "none", timeout=timeout_s, max_retries=retries, http_client=http_client
    )


def _language(answer: Any) -> str | None:
    language = getattr(answer, "language", None)
    return None if language in (None, "", "unknown") else language


def _confidence(segments: list[Any]) -> float | None:
    likelihoods = [value for segment in segments if (value := getattr(segment, "avg_logprob", None)) is not None]
    return math.exp(min(0.0, sum(likelihoods) / len(likelihoods))) if likelihoods else None


def _word(segment: Any) -> Word:
    return Word(segment.text.strip(), float(segment.start), float(segment.end))
