"""The body of `/v1/tts` as Fish-Speech defines it, with two fields more: `emotion` and `intensity`.

Fish-Speech ignores fields that it does not know, so one body serves both servers.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from emolib.emotions import EMOTIONS
from emolib.tts.markers import MAX_INTENSITY
from emolib.tts.refusal import Refusal

__all__ = ["ReferenceAudio", "SpeechBody", "parse_fields", "parse_speech"]

#: Fish-Speech decodes base64 only in strings longer than this.
_SHORTEST_BASE64 = 255

_SAMPLING = {"chunk_length", "seed", "normalize", "max_new_tokens", "top_p", "repetition_penalty", "temperature"}

Emotion = Literal[("neutral", *EMOTIONS)]


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
    chunk_length: int = Field(200, ge=0, le=1000)
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
        return self.model_dump(include=_SAMPLING)


def parse_speech(raw: bytes, content_type: str, text_characters: int) -> SpeechBody:
    """The checked body of `/v1/tts`.

    Raises Refusal: 415 for another content type, 400 for malformed bytes, 422 with the list of bad
    fields, among them a text that is empty or over `text_characters`.
    """
    try:
        body = SpeechBody.model_validate(parse_fields(raw, content_type))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise _bad_fields([{**entry, "loc": list(entry["loc"])} for entry in found]) from error
    if not body.text.strip():
        raise _bad_fields([{"loc": ["text"], "msg": "the text is empty", "type": "value_error"}])
    if len(body.text) > text_characters:
        message = f"the text has {len(body.text)} characters and the limit is {text_characters}; split it"
        raise _bad_fields([{"loc": ["text"], "msg": message, "type": "string_too_long"}])
    return body


def parse_fields(raw: bytes, content_type: str) -> dict[str, Any]:
    """The fields of a JSON or msgpack body. Raises Refusal: 415 for another type, 400 for malformed bytes."""
    if content_type == "application/json":
        fields = _parse_json(raw)
    elif content_type == "application/msgpack":
        fields = _parse_msgpack(raw)
    else:
        raise Refusal(415, f"content type {content_type or 'missing'!r}; send application/json or application/msgpack")
    if not isinstance(fields, dict):
        raise Refusal(400, f"the body is a {type(fields).__name__} and not a map of fields")
    return fields


def _parse_json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON: {error}") from error


def _parse_msgpack(raw: bytes) -> Any:
    import msgpack

    try:
        return msgpack.unpackb(raw, raw=False, strict_map_key=True)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise Refusal(400, f"the body is not msgpack: {error or type(error).__name__}") from error


def _bad_fields(errors: list[dict[str, Any]]) -> Refusal:
    summary = "; ".join(f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in errors[:5])
    return Refusal(422, summary, errors=errors)
