"""The body of `/v1/tts` as Fish-Speech defines it, with two fields more: `emotion` and `intensity`.

Fish-Speech ignores fields that it does not know, so one body serves both servers.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from emolib.emotions import EMOTIONS
from emolib.tts.request import MAX_INTENSITY

__all__ = ["BodyError", "ReferenceAudio", "SpeechBody", "parse_body"]

#: Fish-Speech decodes base64 only in strings longer than this.
_SHORTEST_BASE64 = 255

Emotion = Literal[("neutral", *EMOTIONS)]


class BodyError(ValueError):
    """A body that is not of the stated content type."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class ReferenceAudio(BaseModel):
    """One reference clip: an audio file (bytes in msgpack, base64 in JSON) and its transcript."""

    audio: bytes
    text: str = ""

    @field_validator("audio", mode="before")
    @classmethod
    def _decode(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if len(value) <= _SHORTEST_BASE64:
            raise ValueError("audio is too short for a clip in base64")
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise ValueError(f"audio is not base64: {error}") from error


class SpeechBody(BaseModel):
    """The fields of `POST /v1/tts`."""

    model_config = ConfigDict(extra="ignore")

    text: str
    chunk_length: int = Field(200, ge=100, le=1000)
    format: Literal["wav", "pcm", "mp3", "opus"] = "wav"
    references: list[ReferenceAudio] = Field(default_factory=list, max_length=16)
    reference_id: str | None = None
    seed: int | None = None
    use_memory_cache: Literal["on", "off"] = "off"
    normalize: bool = True
    streaming: bool = False
    max_new_tokens: int = Field(1024, ge=0)
    top_p: float = Field(0.8, ge=0.1, le=1.0)
    repetition_penalty: float = Field(1.1, ge=0.9, le=2.0)
    temperature: float = Field(0.8, ge=0.1, le=1.0)
    latency: Literal["normal", "balanced"] = "normal"
    emotion: Emotion | None = None
    intensity: float = Field(1.0, ge=0.0, le=MAX_INTENSITY)

    def sampling(self) -> dict[str, Any]:
        """The fields that only Fish-Speech's own engine uses."""
        names = ("chunk_length", "seed", "normalize", "max_new_tokens", "top_p", "repetition_penalty", "temperature")
        return {name: getattr(self, name) for name in names}


def parse_body(raw: bytes, content_type: str) -> dict[str, Any]:
    """The fields of a JSON or msgpack body. Raises BodyError: 415 for another type, 400 for malformed bytes."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        fields = _parse_json(raw)
    elif kind == "application/msgpack":
        fields = _parse_msgpack(raw)
    else:
        raise BodyError(415, f"content type {kind or 'missing'!r}; send application/json or application/msgpack")
    if not isinstance(fields, dict):
        raise BodyError(400, f"the body is a {type(fields).__name__} and not a map of fields")
    return fields


def _parse_json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BodyError(400, f"the body is not JSON: {error}") from error


def _parse_msgpack(raw: bytes) -> Any:
    import msgpack

    try:
        return msgpack.unpackb(raw, raw=False, strict_map_key=True)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise BodyError(400, f"the body is not msgpack: {error or type(error).__name__}") from error
