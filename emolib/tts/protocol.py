"""The body of `/v1/tts` as Fish-Speech defines it, with two fields more, `emotion` and `intensity`, and refusals.

Fish-Speech ignores fields that it does not know, so one body serves both servers.
"""

from __future__ import annotations

import base64
import binascii
import json
from http import HTTPStatus
from typing import Any, Literal

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from starlette.exceptions import HTTPException

from emolib.emotions import EMOTIONS
from emolib.tts.markers import MAX_INTENSITY

__all__ = [
    "Refusal",
    "SpeechBody",
    "bad_field",
    "bad_fields",
    "parse_fields",
    "parse_speech",
    "read_fields",
    "refuse",
]

#: Fish-Speech decodes base64 only in strings longer than this.
_SHORTEST_BASE64 = 255

_SAMPLING = {"chunk_length", "seed", "normalize", "max_new_tokens", "top_p", "repetition_penalty", "temperature"}

Emotion = Literal[("neutral", *EMOTIONS)]


class Refusal(HTTPException):
    """A request that is refused: its status code, a message, and what a client can do about it.

    `retry_after` (s) becomes the header of that name, `errors` the list of bad fields.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        retry_after: int | None = None,
        errors: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(status, message, None if retry_after is None else {"Retry-After": str(retry_after)})
        self.errors = errors


def refuse(error: HTTPException) -> JSONResponse:
    """Return the HTTP answer of a refusal, in Fish-Speech's form."""
    status = error.status_code
    body: dict[str, Any] = {"statusCode": status, "message": error.detail, "error": HTTPStatus(status).phrase}
    if errors := getattr(error, "errors", None):
        body["errors"] = errors
    return JSONResponse(body, status, error.headers)


def bad_field(name: str, message: str, kind: str = "value_error") -> Refusal:
    """Return the refusal of one field."""
    return bad_fields([{"loc": [name], "msg": message, "type": kind}])


def bad_fields(errors: list[dict[str, Any]]) -> Refusal:
    """Return the refusal of the fields in `errors`."""
    summary = "; ".join(f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in errors[:5])
    return Refusal(422, summary, errors=errors)


class _ReferenceAudio(BaseModel):
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
    references: list[_ReferenceAudio] = Field(default_factory=list, max_length=16)
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
        """Return the fields that only Fish-Speech's own engine uses."""
        return self.model_dump(include=_SAMPLING)


def parse_speech(fields: dict[str, Any], text_characters: int) -> SpeechBody:
    """Check the fields of `/v1/tts`.

    Raises Refusal 422 with the list of bad fields, among them a text that is empty or over `text_characters`.
    """
    try:
        body = SpeechBody.model_validate(fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise bad_fields([{**entry, "loc": list(entry["loc"])} for entry in found]) from error
    if not body.text.strip():
        raise bad_field("text", "the text is empty")
    if len(body.text) > text_characters:
        message = f"the text has {len(body.text)} characters and the limit is {text_characters}; split it"
        raise bad_field("text", message, "string_too_long")
    return body


async def read_fields(request: Request) -> dict[str, Any]:
    """Read a JSON or msgpack body. Raises Refusal: 415 for another content type, 400 for malformed bytes."""
    return parse_fields(await request.body(), request.headers.get("content-type", "").partition(";")[0].strip().lower())


def parse_fields(raw: bytes, content_type: str) -> dict[str, Any]:
    """Decode a JSON or msgpack body. Raises Refusal as `read_fields` does."""
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
