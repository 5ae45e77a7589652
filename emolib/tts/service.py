"""The HTTP application: Fish-Speech's protocol over any of our engines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.requests import ClientDisconnect

from emolib.errors import EmolibError
from emolib.speakable import speakable
from emolib.tts.bodies import content_type, read_body
from emolib.tts.engines import Engine, Reference, Utterance
from emolib.tts.guards import CrowdGuard, EndGuard, KeyGuard, OriginGuard, SlowClientGuard, refuse
from emolib.tts.markers import read_tags
from emolib.tts.metrics import CONTENT_TYPE
from emolib.tts.protocol import SpeechBody, parse_speech
from emolib.tts.reference_routes import add_reference_routes
from emolib.tts.references import ReferenceStore
from emolib.tts.refusal import Refusal
from emolib.tts.sound import CONTENT_TYPES, encode, to_pcm16, wav_header
from emolib.tts.speaker import ServiceLimits, Speaker

__all__ = ["create_app"]


def create_app(
    engine: Engine, store: ReferenceStore, limits: ServiceLimits | None = None, api_key: str | None = None
) -> FastAPI:
    """The service over `engine`; with `api_key` every route wants `Authorization: Bearer KEY`."""
    limits = limits or ServiceLimits()
    speaker = Speaker(engine, limits)
    app = FastAPI(title="emolib speech", version="1", description="Speech synthesis by Fish-Speech's protocol.")
    app.add_middleware(SlowClientGuard, patience=limits.client_silence)
    app.add_middleware(EndGuard)
    app.add_middleware(CrowdGuard, most=limits.requests)
    if api_key:
        app.add_middleware(KeyGuard, api_key=api_key)
    app.add_middleware(OriginGuard)
    app.exception_handler(Refusal)(_refused)
    app.exception_handler(EmolibError)(_failed)
    app.exception_handler(ClientDisconnect)(_gone)
    _add_state_routes(app, speaker)
    _add_speech_route(app, speaker, store, limits)
    add_reference_routes(app, store, limits.body_bytes)
    return app


def _add_state_routes(app: FastAPI, speaker: Speaker) -> None:
    @app.get("/v1/health")
    @app.post("/v1/health")
    async def health() -> JSONResponse:
        """Whether the service speaks; 503 once its engine hangs."""
        state = {
            "status": "stuck" if speaker.stuck else "ok",
            "engine": speaker.engine.name,
            "sample_rate": speaker.engine.sample_rate,
            "clones_voices": speaker.engine.clones_voices,
            "waiting": speaker.room.waiting,
            "running": speaker.room.running,
            "real_time_factor": round(speaker.metrics.real_time_factor, 4),
        }
        return JSONResponse(state, 503 if speaker.stuck else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Counters in Prometheus' text format."""
        return Response(speaker.metrics.text(), media_type=CONTENT_TYPE)


def _add_speech_route(app: FastAPI, speaker: Speaker, store: ReferenceStore, limits: ServiceLimits) -> None:
    @app.post("/v1/tts", openapi_extra=_body_schema(), response_class=Response)
    async def speak(request: Request) -> Response:
        """Speak a text; with `streaming` a WAV of unknown length, piece by piece as it is made."""
        try:
            raw = await read_body(request, limits.body_bytes)
            body = parse_speech(raw, content_type(request), limits.text_characters)
            if body.streaming and body.format != "wav":
                raise Refusal(400, "only wav can be streamed; ask for the format wav, or without streaming")
            utterance = _utterance(body, speaker.engine, store)
            response = await _until_gone(request, _answer(body, utterance, speaker))
        except Refusal as refusal:
            speaker.metrics.answered(refusal.status)
            raise
        speaker.metrics.answered(response.status_code)
        return response


def _utterance(body: SpeechBody, engine: Engine, store: ReferenceStore) -> Utterance:
    clips = [Reference(clip.audio, clip.text) for clip in body.references]
    if body.reference_id:
        clips.append(store.get(body.reference_id))
    text, emotion, intensity = body.text, body.emotion, body.intensity
    if not engine.reads_tags:
        tagged = read_tags(text)
        text = speakable(tagged.text)
        if emotion is None:
            emotion, intensity = tagged.emotion, tagged.intensity
    return Utterance(
        text=text,
        emotion=None if emotion == "neutral" else emotion,
        intensity=intensity,
        references=tuple(clips),
        sampling=body.sampling(),
    )


async def _answer(body: SpeechBody, utterance: Utterance, speaker: Speaker) -> Response:
    speech = await speaker.speak(utterance)
    media_type = CONTENT_TYPES[body.format]
    sample_rate = speaker.engine.sample_rate
    if body.streaming:
        return StreamingResponse(_stream(speech.pieces, sample_rate), media_type=media_type)
    samples = await _gather(speech.pieces)
    if body.format in ("wav", "pcm"):
        sound = encode(samples, sample_rate, body.format)
    else:
        sound = await asyncio.to_thread(encode, samples, sample_rate, body.format)
    headers = {"Server-Timing": f"engine;dur={1000 * speech.engine_seconds:.2f}"}
    return Response(sound, media_type=media_type, headers=headers)


async def _stream(pieces: AsyncIterator[np.ndarray], sample_rate: int) -> AsyncIterator[bytes]:
    yield wav_header(sample_rate)
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            yield to_pcm16(piece)


async def _gather(pieces: AsyncIterator[np.ndarray]) -> np.ndarray:
    async with contextlib.aclosing(pieces):
        return np.concatenate([piece async for piece in pieces])


async def _until_gone(request: Request, work: Awaitable[Response]) -> Response:
    """The result of `work`, which is cancelled as soon as the client goes away. Raises ClientDisconnect."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(_: Request, refusal: Refusal) -> JSONResponse:
    return refuse(refusal)


async def _failed(_: Request, error: EmolibError) -> JSONResponse:
    return refuse(Refusal(500, str(error)))


async def _gone(_: Request, __: ClientDisconnect) -> Response:
    # Nobody reads it; 499 is the customary mark for a client that closed its request.
    return Response(status_code=499)


def _body_schema() -> dict[str, Any]:
    schema = SpeechBody.model_json_schema()
    content = {kind: {"schema": schema} for kind in ("application/json", "application/msgpack")}
    return {"requestBody": {"required": True, "content": content}}
