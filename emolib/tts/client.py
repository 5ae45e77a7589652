"""The client of the speech service, on requests; it works with ours and with a Fish-Speech server."""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from emolib.audio import AudioClip
from emolib.emotions import EMOTIONS
from emolib.errors import EmolibError, InputError, ServiceError, UsageError
from emolib.tts.engines import Reference
from emolib.tts.markers import MAX_INTENSITY, S1, TagSet
from emolib.tts.transport import Deadline, PassingFailure, Piece, RequestRefused, ServiceConnection
from emolib.tts.voiceprints import VoiceLibrary

__all__ = ["RemoteVoices", "Rendering", "SpeechRequest", "SpeechSynthesizer"]

#: Length of the silence played instead of a sentence that failed, in seconds.
SILENCE_SECONDS = 0.3
_SILENCE_RATE = 22_050
#: The hash that `_own` appends to a name.
_UPLOADED = re.compile(r"-[0-9a-f]{12}$")


@dataclass(frozen=True)
class SpeechRequest:
    """One utterance; emotion and voice belong to each request and not to the connection.

    `text` is plain text without emotion tags; `emotion` is one of EMOTIONS, or None (or "neutral")
    for a neutral voice; `voiceprint` names a voice of the service, None is its default voice;
    `intensity` is in [0, MAX_INTENSITY]. Raises InputError for an empty text and UsageError for the rest.
    """

    text: str
    emotion: str | None = None
    voiceprint: str | None = None
    intensity: float = 1.0

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InputError("there is no text to speak; give at least one word")
        if self.emotion == "neutral":
            object.__setattr__(self, "emotion", None)
        if self.emotion is not None and self.emotion not in EMOTIONS:
            raise UsageError(f"unknown emotion {self.emotion!r}; use neutral or one of {', '.join(EMOTIONS)}")
        if not (math.isfinite(self.intensity) and 0 <= self.intensity <= MAX_INTENSITY):
            raise UsageError(f"intensity {self.intensity} is outside 0 to {MAX_INTENSITY:g}")


@dataclass(frozen=True)
class Rendering:
    """A sentence as it is played: its sound, or a short silence and the reason in `failure`."""

    clip: AudioClip
    failure: str | None = None


class SpeechSynthesizer:
    """Speech over HTTP; one object serves several threads.

    `url` is the root of the service; `timeout_s` bounds the wait for an answer and between two reads;
    `retries` counts new attempts after a failed connection, a 5xx or a truncated answer. `sample_rate` (Hz)
    resamples every clip; without it a clip has the rate of the service. `tags` are the emotion tags of a
    Fish-Speech server (S1 or S2); our own service gets the emotion as a field. Voiceprints are looked up in
    `voices` before the server is asked; `voice` is the one of requests that name none.
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
        """Ask the service for its state; at least `status`. Raises ServiceError."""
        return self._connection.ask("GET", "/v1/health")

    def prepare_voice(self, name: str) -> None:
        """Upload a voiceprint, so that no sentence waits for it.

        Raises UsageError if neither side knows the voice, or if the engine has one fixed voice.
        """
        if not self.health().get("clones_voices", True):
            raise UsageError(
                f"the speech service at {self.url} has one voice and imitates none; leave the voice {name!r} out,"
                " or run Fish-Speech and name it in EMOLIB_FISH_URL"
            )
        self._voices.fields(name, None, Deadline())

    def voices(self) -> list[str]:
        """Return the names that a request may use as its voiceprint; none if the engine has one fixed voice."""
        if not self.health().get("clones_voices", True):
            return []
        return self._voices.names(Deadline())

    def synthesize(self, request: SpeechRequest, *, deadline_s: float | None = None) -> AudioClip:
        """Return the whole utterance. Raises ServiceError, UsageError (unknown voice) or InputError (bad request)."""
        return self._synthesize(request, Deadline(deadline_s))

    def stream(self, request: SpeechRequest, *, deadline_s: float | None = None) -> Iterator[AudioClip]:
        """Yield the utterance piece by piece; a failure is retried only before the first piece."""
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
        """Return the utterance, or a short silence after a failure or `deadline_s` seconds: a dialogue goes on."""
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
        """Yield the sound of one request as it arrives. A server that failed may have restarted without our voices."""
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
        """Return whether the server is ours, which names its engine, or Fish-Speech's own, which needs tags."""
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


class RemoteVoices:
    """Voiceprints on a server: uploaded once and then named by id, or sent inline if it has no route for them."""

    def __init__(self, connection: ServiceConnection, library: VoiceLibrary) -> None:
        self._connection = connection
        self._library = library
        self._lock = threading.Lock()
        self._known: set[str] | None = None
        self._has_routes = True

    def names(self, deadline: Deadline) -> list[str]:
        """Return the voices of the library, and those of the server that were not uploaded from a library."""
        with self._lock:
            self._look_up(deadline)
            return [*self._library.names(), *sorted(name for name in self._ids() if not _UPLOADED.search(name))]

    def fields(self, name: str, emotion: str | None, deadline: Deadline) -> dict[str, Any]:
        """Return `reference_id`, or `references` inline. Raises UsageError if neither side knows the voice."""
        with self._lock:
            self._look_up(deadline)
            if name in self._library.names():
                return self._own(name, emotion, deadline)
            if not self._has_routes or name in self._ids():
                return {"reference_id": name}
            # Fish-Speech would answer in a random voice.
            raise UsageError(
                f"unknown voice {name!r}: neither in {self._library.folder} nor on {self._connection.url};"
                " add it with `emolib voice add`"
            )

    def forget(self) -> None:
        """Make the next request ask again which voices the server has: it may have restarted without the uploads."""
        with self._lock:
            self._known, self._has_routes = None, True

    def _own(self, name: str, emotion: str | None, deadline: Deadline) -> dict[str, Any]:
        reference = self._library.open(name).reference(emotion)
        if not self._has_routes:
            return {"references": [{"audio": base64.b64encode(reference.audio).decode(), "text": reference.text}]}
        reference_id = f"{name}-{hashlib.sha256(reference.audio).hexdigest()[:12]}"
        if reference_id not in self._ids():
            self._upload(reference_id, reference, deadline)
        return {"reference_id": reference_id}

    def _upload(self, reference_id: str, reference: Reference, deadline: Deadline) -> None:
        form = {"id": reference_id, "text": reference.text}
        files = {"audio": ("clip.wav", reference.audio, "audio/wav")}
        try:
            self._connection.ask("POST", "/v1/references/add", deadline, data=form, files=files)
        except RequestRefused as error:
            # Another client was faster. The id contains the clip's hash, so it is the same clip.
            if error.status != 409:
                raise
        self._ids().add(reference_id)

    def _look_up(self, deadline: Deadline) -> None:
        if self._known is not None:
            return
        try:
            answer = self._connection.ask("GET", "/v1/references/list", deadline)
            self._known = set(answer.get("reference_ids", []))
        except RequestRefused as error:
            if error.status not in (404, 405):
                raise
            self._known, self._has_routes = set(), False

    def _ids(self) -> set[str]:
        return self._known if self._known is not None else set()
