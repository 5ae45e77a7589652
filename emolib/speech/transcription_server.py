"""Speech to text by OpenAI's transcription API, or any server that speaks it (`/v1/audio/transcriptions`).

FunASR's own `funasr-server`, faster-whisper servers and vLLM do.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from emolib.audio import AudioClip, wav_bytes
from emolib.errors import ServiceError
from emolib.openai_client import OPENAI_URL, OpenAIServer, Refusal
from emolib.speech.partials import FinalTranscript
from emolib.speech.transcript import NoSpeech, Transcript, Word

__all__ = ["TranscriptionServer"]


class TranscriptionServer:
    """Speech to text by the server at `base_url`.

    `api_key` defaults to OPENAI_API_KEY if that is meant for this server (`allowed_key`), and is needed for OpenAI
    alone. `language` is an ISO code, or None to let the server detect it. `timeout_s` bounds the wait for an answer;
    `retries` is as in `OpenAIServer`.
    """

    def __init__(
        self,
        base_url: str = OPENAI_URL,
        model: str = "whisper-1",
        *,
        api_key: str | None = None,
        language: str | None = None,
        timeout_s: float = 20.0,
        retries: int = 2,
    ) -> None:
        self._server = OpenAIServer(base_url, api_key, timeout_s, retries)
        self._client = self._server.client()
        self._addresses = list(self._server.addresses)
        self.url = self._server.shown_url
        self._model = model
        # OpenAI's newer models know plain JSON alone; the others say more with verbose_json.
        self._options: dict[str, Any] = {"response_format": "json" if model.startswith("gpt-") else "verbose_json"}
        if language:
            self._options["language"] = language

    def transcribe(self, clip: AudioClip) -> Transcript:
        """Transcribe a clip of any rate. Raises NoSpeech if there is none, and ServiceError if the server fails."""
        if not np.any(clip.samples):
            raise NoSpeech(clip)
        answer = self._asked(wav_bytes(clip))
        text = getattr(answer, "text", None)
        if text is None:
            raise ServiceError(f"{self.url} sent an answer without a text; is it a transcription server?")
        if not text.strip():
            raise NoSpeech(clip)
        segments = getattr(answer, "segments", None) or []
        return Transcript(text.strip(), _language(answer), _confidence(segments), tuple(map(_word, segments)))

    def _asked(self, wav: bytes) -> Any:
        """Return the answer of the first address that has the API."""
        while True:
            file = ("utterance.wav", io.BytesIO(wav), "audio/wav")
            try:
                with self._server.refusals():
                    return self._client.audio.transcriptions.create(file=file, model=self._model, **self._options)
            except Refusal as refusal:
                if not (refusal.is_wrong_address and len(self._addresses) > 1):
                    raise ServiceError(self._server.sentence(refusal, self._model)) from None
                del self._addresses[0]
                self._client.base_url = self._addresses[0]

    def stream(self) -> FinalTranscript:
        """Open an utterance, which is sent once at its end: each request may cost money."""
        return FinalTranscript(self)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _language(answer: Any) -> str | None:
    language = getattr(answer, "language", None)
    return None if language in (None, "", "unknown") else language


def _confidence(segments: list[Any]) -> float | None:
    likelihoods = [value for segment in segments if (value := getattr(segment, "avg_logprob", None)) is not None]
    return math.exp(min(0.0, sum(likelihoods) / len(likelihoods))) if likelihoods else None


def _word(segment: Any) -> Word:
    return Word(segment.text.strip(), float(segment.start), float(segment.end))
