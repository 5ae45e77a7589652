"""The HTTP application: Fish-Speech's protocol over any of our engines."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from emolib.tts.admission import Admission, QueueFull, WaitedTooLong
from emolib.tts.engines import Engine, EngineError, Reference, Utterance
from emolib.tts.protocol import BodyError, SpeechBody, parse_body
from emolib.tts.sound import CONTENT_TYPES, encode, to_pcm16, wav_header
from emolib.tts.synthesis import Synthesis

__all__ = ["ServiceLimits", "create_app"]


@dataclass(frozen=True)
class ServiceLimits:
    """What the service takes on at once."""

    text_characters: int = 5000
    body_bytes: int = 32 * 1024 * 1024
    #: Utterances synthesised at once.
    slots: int = 1
    #: Requests that wait for a slot, and how long each does, in seconds.
    places: int = 16
    patience: float = 30.0
    #: Longest silence of the engine in the middle of an utterance, in seconds.
    engine_silence: float = 60.0


def create_app(engine: Engine, limits: ServiceLimits | None = None, api_key: str | None = None) -> FastAPI:
    """The service over `engine`; with `api_key` every route wants `Authorization: Bearer KEY`."""
    limits = limits or ServiceLimits()
    app = FastAPI(title="emolib speech", version="1")
    room = Admission(limits.slots, limits.places, limits.patience)
    app.state.room = room
    if api_key:
        app.middleware("http")(_key_check(api_key))
    app.exception_handler(BodyError)(_refuse_body)
    app.exception_handler(QueueFull)(_refuse_for_now)
    app.exception_handler(EngineError)(_engine_failed)
    _add_health(app, engine, room)
    _add_speech(app, engine, room, limits)
    return app


def _add_health(app: FastAPI, engine: Engine, room: Admission) -> None:
    @app.api_route("/v1/health", methods=["GET", "POST"])
    async def health() -> dict[str, Any]:
        return {
            "status": "ok",
            "engine": engine.name,
            "sample_rate": engine.sample_rate,
            "clones_voices": engine.clones_voices,
            "waiting": room.waiting,
            "running": room.running,
        }


def _add_speech(app: FastAPI, engine: Engine, room: Admission, limits: ServiceLimits) -> None:
    @app.post("/v1/tts", openapi_extra=_body_schema(), response_class=Response)
    async def speak(request: Request) -> Response:
        raw = await read_body(request, limits.body_bytes)
        body = _checked(parse_body(raw, request.headers.get("content-type", "")), limits)
        pieces = await _until_gone(request, _first_piece(engine, _utterance(body), room, limits))
        media_type = CONTENT_TYPES[body.format]
        if body.streaming:
            return StreamingResponse(_stream(pieces, engine.sample_rate), media_type=media_type)
        samples = await _until_gone(request, _gather(pieces))
        sound = await asyncio.to_thread(encode, samples, engine.sample_rate, body.format)
        return Response(sound, media_type=media_type)


async def _first_piece(
    engine: Engine, utterance: Utterance, room: Admission, limits: ServiceLimits
) -> AsyncIterator[np.ndarray]:
    """Start an utterance and wait for its first piece, so that a failure before it still has a status code."""
    await room.enter()
    synthesis = Synthesis(engine, utterance, room.leave)
    pieces = synthesis.pieces(limits.engine_silence)
    try:
        first = await anext(pieces, None)
    except asyncio.CancelledError:
        synthesis.stop()
        raise
    return _again(first, pieces, engine.sample_rate)


async def _again(
    first: np.ndarray | None, rest: AsyncIterator[np.ndarray], sample_rate: int
) -> AsyncIterator[np.ndarray]:
    # A text without a speakable character (an emoji) is a short silence and not an error.
    yield np.zeros(sample_rate // 10, dtype=np.float32) if first is None else first
    async with contextlib.aclosing(rest):
        async for piece in rest:
            yield piece


async def _stream(pieces: AsyncIterator[np.ndarray], sample_rate: int) -> AsyncIterator[bytes]:
    yield wav_header(sample_rate)
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            yield to_pcm16(piece)


async def _gather(pieces: AsyncIterator[np.ndarray]) -> np.ndarray:
    async with contextlib.aclosing(pieces):
        return np.concatenate([piece async for piece in pieces])


async def _until_gone(request: Request, work: Awaitable[Any]) -> Any:
    """The result of `work`, which is cancelled as soon as the client goes away."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises BodyError 413 as soon as more than `limit` bytes are announced or arrive."""
    announced = request.headers.get("content-length", "0")
    parts: list[bytes] = []
    size = int(announced) if announced.isdigit() else 0
    if size <= limit:
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                break
            parts.append(part)
    if size > limit:
        raise BodyError(413, f"the body has over {limit} bytes; send less")
    return b"".join(parts)


def _checked(fields: dict[str, Any], limits: ServiceLimits) -> SpeechBody:
    try:
        body = SpeechBody.model_validate(fields)
    except ValidationError as error:
        raise HTTPException(422, error.errors(include_url=False, include_input=False, include_context=False)) from error
    if not body.text.strip():
        raise HTTPException(422, [{"loc": ["text"], "msg": "the text is empty", "type": "value_error"}])
    if len(body.text) > limits.text_characters:
        message = f"the text has {len(body.text)} characters and the limit is {limits.text_characters}; split it"
        raise HTTPException(422, [{"loc": ["text"], "msg": message, "type": "string_too_long"}])
    return body


def _utterance(body: SpeechBody) -> Utterance:
    return Utterance(
        text=body.text,
        emotion=None if body.emotion == "neutral" else body.emotion,
        intensity=body.intensity,
        references=tuple(Reference(clip.audio, clip.text) for clip in body.references),
        reference_id=body.reference_id,
        sampling=body.sampling(),
    )


def _key_check(api_key: str) -> Callable[..., Awaitable[Response]]:
    expected = f"Bearer {api_key}".encode()

    async def check(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        given = request.headers.get("authorization", "").encode()
        if hmac.compare_digest(given, expected):
            return await call_next(request)
        headers = {"WWW-Authenticate": "Bearer"}
        return JSONResponse({"detail": "missing or wrong key: send Authorization: Bearer KEY"}, 401, headers)

    return check


async def _refuse_body(_: Request, error: BodyError) -> JSONResponse:
    # What is left of the body is not read, so the connection cannot be used again.
    headers = {"Connection": "close"} if error.status == 413 else None
    return JSONResponse({"detail": str(error)}, error.status, headers)


async def _refuse_for_now(_: Request, error: QueueFull) -> JSONResponse:
    status = 503 if isinstance(error, WaitedTooLong) else 429
    return JSONResponse({"detail": str(error)}, status, {"Retry-After": str(error.retry_after)})


async def _engine_failed(_: Request, error: EngineError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 500)


def _body_schema() -> dict[str, Any]:
    schema = SpeechBody.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
