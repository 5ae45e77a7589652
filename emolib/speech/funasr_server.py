"""FunASR's websocket server, local or remote: `runtime/python/websocket` and the C++ runtime of its project.

The protocol: a JSON message with the settings, PCM in messages of 60 ms, and a JSON message at the end. The
server answers with increments of streaming Paraformer (`2pass-online`) and corrected segments (`2pass-offline`).
"""

from __future__ import annotations

import json
import queue
import ssl
import threading
import time
import urllib.parse
from collections.abc import Sequence
from typing import Any

import numpy as np

from emolib.addresses import is_loopback_url
from emolib.audio import SAMPLE_RATE, AudioClip, to_pcm16
from emolib.errors import MissingDependency, ServiceError, UsageError
from emolib.speech.funasr import parse_sensevoice
from emolib.speech.transcript import NoSpeech, Transcript, Word

__all__ = ["FunASRServer", "FunASRServerStream"]

#: The server counts messages: ten of 60 ms make a step of the streaming model.
_MESSAGE_SAMPLES = 960
_STEP_SAMPLES = 10 * _MESSAGE_SAMPLES
_SETTINGS = {"chunk_size": [5, 10, 5], "chunk_interval": 10, "wav_format": "pcm", "audio_fs": SAMPLE_RATE, "itn": True}
#: Older servers do not say which answer is the last one, and mean different things by `is_final`: silence for
#: this long after an answer has to say it.
_SETTLED_S = 0.5
_CLOSING_S = 1.0


class FunASRServer:
    """Speech to text by a FunASR websocket server at `url` (ws:// or wss://).

    `timeout_s` bounds the connection and the wait for the final answer; `hotwords` are preferred; `api_key` goes
    into the handshake as a bearer token, for a server behind a proxy that wants one; `tls` is the context for
    wss:// if the server has a certificate of its own making.
    """

    def __init__(
        self,
        url: str = "ws://127.0.0.1:10095",
        *,
        api_key: str | None = None,
        hotwords: Sequence[str] = (),
        timeout_s: float = 10.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("ws", "wss"):
            raise UsageError(f"{url!r} is not the URL of a FunASR server; give one such as ws://127.0.0.1:10095")
        self.url = url
        self._settings: dict[str, Any] = dict(_SETTINGS)
        if hotwords:
            self._settings["hotwords"] = json.dumps(dict.fromkeys(hotwords, 20), ensure_ascii=False)
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout_s = timeout_s
        self._tls = tls

    def transcribe(self, clip: AudioClip) -> Transcript:
        """The text of a clip of any rate. NoSpeech if there is none, ServiceError if the server fails."""
        samples = clip.resample(SAMPLE_RATE).samples
        if not np.any(samples):
            raise NoSpeech(clip)
        stream = self._stream("offline")
        stream.push(samples)
        try:
            return stream.finish(len(samples))
        except NoSpeech:
            raise NoSpeech(clip) from None
        finally:
            stream.close()

    def stream(self) -> FunASRServerStream:
        """A new utterance, recognised while it is spoken and corrected at its end."""
        return self._stream("2pass")

    def _stream(self, mode: str) -> FunASRServerStream:
        return FunASRServerStream(self._connect, self._settings | {"mode": mode}, self.url, self._timeout_s)

    def _connect(self) -> Any:
        try:
            from websockets.exceptions import InvalidHandshake, InvalidStatus
            from websockets.sync.client import connect
        except ImportError as error:
            raise MissingDependency("the package websockets", extra="remote") from error
        try:
            return connect(
                self.url,
                ssl=self._tls,
                additional_headers=self._headers,
                subprotocols=["binary"],
                open_timeout=self._timeout_s,
                close_timeout=_CLOSING_S,
                ping_interval=None,
                max_size=None,
                proxy=None if is_loopback_url(self.url) else True,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            hint = "check the key" if status == 401 else "check the key, and that it is a FunASR server"
            raise ServiceError(f"{self.url} refused the connection (HTTP {status}); {hint}") from None
        except ssl.SSLError as error:
            raise ServiceError(f"the certificate of {self.url} is not accepted ({error.reason}); pass `tls`") from error
        except (InvalidHandshake, OSError) as error:
            raise ServiceError(f"no FunASR server answers at {self.url} ({error}); check that it runs") from error


class FunASRServerStream:
    """A `RecognitionStream` over one connection. What fails in the background is raised by `finish`."""

    def __init__(self, connect: Any, settings: dict[str, Any], url: str, timeout_s: float) -> None:
        self._connect = connect
        self._settings = settings
        self._url = url
        self._timeout_s = timeout_s
        self._outbox: queue.SimpleQueue[str | bytes | None] = queue.SimpleQueue()
        self._rest = np.zeros(0, dtype=np.float32)
        self._connection: Any = None
        self._changed = threading.Condition()
        self._answers = _Answers()
        self._sent = 0
        self._covered = 0
        self._failure: ServiceError | MissingDependency | None = None
        self._closed = False
        threading.Thread(target=self._run, name="funasr server", daemon=True).start()

    def push(self, samples: np.ndarray) -> None:
        """Take the next samples, float32 at 16 kHz; returns at once."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // _MESSAGE_SAMPLES * _MESSAGE_SAMPLES
        self._rest = samples[whole:]
        for start in range(0, whole, _MESSAGE_SAMPLES):
            self._outbox.put(to_pcm16(samples[start : start + _MESSAGE_SAMPLES]))

    def flush(self) -> None:
        """Nothing waits for more than 600 ms anyway."""

    def commit(self, spoken: int) -> None:
        """Nothing is heard twice anyway."""

    def partial(self) -> tuple[Transcript | None, int]:
        """Return the transcript so far, and the number of samples it covers at least."""
        with self._changed:
            found = self._answers.transcript()
            return (found if found.text else None), self._covered

    def finish(self, spoken: int) -> Transcript:
        """The transcript. NoSpeech if nothing was understood, ServiceError if the server failed."""
        if len(self._rest):
            self._outbox.put(to_pcm16(self._rest))
            self._rest = self._rest[:0]
        self._outbox.put(json.dumps({"is_speaking": False, "is_end": True}))
        deadline = time.monotonic() + self._timeout_s
        with self._changed:
            while not (self._failure or self._answers.settled(time.monotonic())):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(min(left, _SETTLED_S / 3))
            failure, answers = self._failure, self._answers
            count = self._sent
        self.close()
        if failure:
            raise failure
        if not answers.any_final:
            raise ServiceError(
                f"{self._url} gave no transcript within {self._timeout_s:g} s; allow it more, or try again"
            )
        transcript = answers.transcript()
        if not transcript.text:
            raise NoSpeech(AudioClip(np.zeros(count, dtype=np.float32), SAMPLE_RATE, "the utterance"))
        return transcript

    def close(self) -> None:
        """Give up, and close the connection."""
        with self._changed:
            self._closed = True
        self._outbox.put(None)

    def _run(self) -> None:
        try:
            self._connection = self._connect()
        except (ServiceError, MissingDependency) as error:
            return self._fail(error)
        reader = threading.Thread(target=self._read, name="funasr answers", daemon=True)
        reader.start()
        try:
            self._connection.send(json.dumps(self._settings | {"is_speaking": True, "wav_name": "utterance"}))
            while (message := self._outbox.get()) is not None:
                self._note(message)
                self._connection.send(message)
        except (OSError, _closed_error()):
            pass  # the reader says so
        self._connection.close()
        return None

    def _note(self, message: str | bytes) -> None:
        with self._changed:
            if isinstance(message, bytes):
                self._sent += len(message) // 2
            else:
                self._answers.asked = True

    def _read(self) -> None:
        try:
            for message in self._connection:
                self._take(message)
        except (OSError, _closed_error()):
            pass
        with self._changed:
            # A server that hangs up after its last answer has said that there is no more.
            self._answers.complete = self._answers.any_final
            self._changed.notify_all()
            over = self._closed or self._answers.complete
        if not over:
            self._fail(ServiceError(f"{self._url} closed the connection before the transcript came; check its log"))

    def _take(self, message: str | bytes) -> None:
        try:
            answer = json.loads(message)
            with self._changed:
                if self._answers.take(answer, time.monotonic()):
                    # The streaming model looks ahead: its last step may still be missing.
                    self._covered = max(self._covered, (self._sent // _STEP_SAMPLES - 1) * _STEP_SAMPLES)
                self._changed.notify_all()
        except (ValueError, TypeError, AttributeError, KeyError):
            self._fail(ServiceError(f"{self._url} sent what is no answer of FunASR: {str(message)[:80]!r}"))
        except ServiceError as error:
            self._fail(ServiceError(f"{self._url} failed: {error}"))

    def _fail(self, error: ServiceError | MissingDependency) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()


class _Answers:
    """What the server has said: corrected segments, and the increments after them."""

    def __init__(self) -> None:
        self._segments: list[str] = []
        self._words: list[Word] = []
        self._increments = ""
        self._last_final_at: float | None = None
        #: Whether the server was told that the utterance is over, and whether it has said that that was all.
        self.asked = False
        self.complete = False

    @property
    def text(self) -> str:
        return _joined([*self._segments, self._increments])

    @property
    def any_final(self) -> bool:
        return self.complete or self._last_final_at is not None

    def settled(self, now: float) -> bool:
        """Whether no more is to be expected."""
        return self.complete or (self._last_final_at is not None and now - self._last_final_at > _SETTLED_S)

    def take(self, answer: dict[str, Any], now: float) -> bool:
        """Note an answer; True if it changed the text. ServiceError if it reports a failure."""
        if answer.get("error"):
            raise ServiceError(str(answer["error"])[:200])
        text = str(answer.get("text") or "").strip(" ")
        online = str(answer.get("mode", "")).endswith("online")
        if online:
            self._increments += text
        elif text:
            self._segments.append(text)
            self._words += _words(answer)
            self._increments = ""
        if self.asked and not online:
            self._last_final_at = now
        self.complete = self.complete or bool(answer.get("is_end"))
        return bool(text)

    def transcript(self) -> Transcript:
        tagged = parse_sensevoice(self.text)
        if tagged.voice_emotion or tagged.language:
            return tagged
        return Transcript(tagged.text, words=tuple(self._words))


def _joined(parts: Sequence[str]) -> str:
    """Segments side by side: with a space between Latin words, without one between Chinese characters."""
    text = ""
    for part in filter(None, parts):
        text += (" " if text and text[-1].isascii() and part[0].isascii() else "") + part
    return text


def _words(answer: dict[str, Any]) -> list[Word]:
    return [
        Word(sentence["text_seg"].strip(), sentence["start"] / 1000, sentence["end"] / 1000)
        for sentence in answer.get("stamp_sents") or []
    ]


def _closed_error() -> type[Exception]:
    from websockets.exceptions import ConnectionClosed

    return ConnectionClosed
