"""The HTTP application: Fish-Speech's protocol over any of our engines, and what guards it."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import numpy as np
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.security.utils import get_authorization_scheme_param
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emolib.addresses import is_loopback_url
from emolib.errors import EmolibError
from emolib.speakable import speakable
from emolib.tts.engines import Engine, Reference, Utterance
from emolib.tts.markers import read_tags
from emolib.tts.protocol import Refusal, SpeechBody, bad_fields, parse_speech, read_fields, refuse
from emolib.tts.references import ReferenceStore, add_reference_routes
from emolib.tts.sound import CONTENT_TYPES, encode, to_pcm16, wav_header
from emolib.tts.synthesis import METRICS_TYPE, ServiceLimits, SpeechQueue

__all__ = ["create_app"]

#: The names of this machine in a Host header.
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


def create_app(
    engine: Engine,
    store: ReferenceStore,
    limits: ServiceLimits | None = None,
    api_key: str | None = None,
    host: str = "127.0.0.1",
) -> FastAPI:
    """Build the service over `engine`, which listens on `host`.

    With `api_key` every route requires `Authorization: Bearer KEY`; without it the service answers only to the names
    of this machine, so that no web page reaches it by DNS rebinding.
    """
    limits = limits or ServiceLimits()
    queue = SpeechQueue(engine, limits)
    app = FastAPI(
        title="emolib speech",
        version="1",
        description="Speech synthesis by Fish-Speech's protocol.",
        dependencies=[Depends(_refuse_foreign_pages)],
        middleware=_guards(limits, api_key, host),
    )
    app.exception_handler(HTTPException)(_refused)
    app.exception_handler(RequestValidationError)(_misread)
    app.exception_handler(EmolibError)(_failed)
    app.exception_handler(ClientDisconnect)(_gone)
    _add_state_routes(app, queue)
    _add_speech_route(app, queue, store, limits)
    add_reference_routes(app, store)
    return app


# --- guards --------------------------------------------------------------------------------------


def _guards(limits: ServiceLimits, api_key: str | None, host: str) -> list[Middleware]:
    """Return the middleware, outermost first. uvicorn itself bounds the number of connections."""
    if api_key:
        entry = Middleware(AuthenticationMiddleware, backend=_BearerKey(api_key), on_error=_unauthorized)
    else:
        names = [*_LOCAL_HOSTS, f"[{host}]" if ":" in host else host]
        entry = Middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False)
    return [
        entry,
        Middleware(RequestBodyLimitMiddleware, max_body_size=limits.body_bytes),
        Middleware(_ShutdownGuard),
        Middleware(_SlowClientGuard, patience=limits.client_silence),
    ]


class _BearerKey(AuthenticationBackend):
    # As middleware and not as a dependency (HTTPBearer), because /docs and /openapi.json require the key too.

    def __init__(self, api_key: str) -> None:
        self._expected = api_key.encode()

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser]:
        scheme, given = get_authorization_scheme_param(conn.headers.get("authorization"))
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode("latin-1"), self._expected):
            raise AuthenticationError("the key is missing or wrong; send the header Authorization: Bearer KEY")
        return AuthCredentials(["speech"]), SimpleUser("client")


def _unauthorized(_: HTTPConnection, error: AuthenticationError) -> JSONResponse:
    return refuse(HTTPException(401, str(error), {"WWW-Authenticate": "Bearer"}))


async def _refuse_foreign_pages(request: Request) -> None:
    """Raise Refusal 403 for what a web page from elsewhere sends through the user's browser.

    CORSMiddleware only withholds the answer; a foreign form could still add or delete references.
    """
    origin = request.headers.get("origin")
    if origin and not is_loopback_url(origin):
        raise Refusal(403, f"requests from pages of {origin[:100]} are not answered")


class _ShutdownGuard:
    """Answers 503 to requests that the end of the service cancels; uvicorn would drop the connection.

    A stream that has begun just ends.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def noted_send(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted_send)
        except asyncio.CancelledError:
            if scope["type"] == "http" and not has_begun:
                refusal = Refusal(503, "the service is being stopped", retry_after=5)
                await refuse(refusal)(scope, receive, send)


class _SlowClientGuard:
    """Drops a client that sends nothing of its body, or reads nothing of its answer, for `patience` seconds.

    uvicorn has a timeout for connections between two requests only.
    """

    def __init__(self, app: ASGIApp, patience: float) -> None:
        self._app = app
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body_arrives = True

        async def receive_in_time() -> Message:
            nonlocal body_arrives
            if not body_arrives:
                # The next message is the disconnect, which may come long after the answer has begun.
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self._patience)
            except TimeoutError:
                raise Refusal(408, f"nothing of the body came for {self._patience:g} s") from None
            body_arrives = message.get("more_body", False)
            return message

        async def send_in_time(message: Message) -> None:
            await asyncio.wait_for(send(message), self._patience)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # An answer that is not finished makes the server close the connection.
        with contextlib.suppress(TimeoutError):
            await self._app(scope, receive_in_time, send_in_time)


async def _refused(_: Request, error: HTTPException) -> JSONResponse:
    return refuse(error)


async def _misread(_: Request, error: RequestValidationError) -> JSONResponse:
    found = [{"loc": list(entry["loc"][1:]), "msg": entry["msg"], "type": entry["type"]} for entry in error.errors()]
    return refuse(bad_fields(found))


async def _failed(_: Request, error: EmolibError) -> JSONResponse:
    return refuse(Refusal(500, str(error)))


async def _gone(_: Request, __: ClientDisconnect) -> Response:
    # Nobody reads it; 499 is the customary mark for a client that closed its request.
    return Response(status_code=499)


# --- routes --------------------------------------------------------------------------------------


def _add_state_routes(app: FastAPI, queue: SpeechQueue) -> None:
    @app.get("/v1/health")
    @app.post("/v1/health")
    async def health() -> JSONResponse:
        """Report the state of the service; 503 once its engine hangs."""
        state = {
            "status": "stuck" if queue.stuck else "ok",
            "engine": queue.engine.name,
            "sample_rate": queue.engine.sample_rate,
            "clones_voices": queue.engine.clones_voices,
            "waiting": queue.admission.waiting,
            "running": queue.admission.running,
            "real_time_factor": round(queue.metrics.real_time_factor, 4),
        }
        return JSONResponse(state, 503 if queue.stuck else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Report the counters in Prometheus' text format."""
        return Response(queue.metrics.text(), media_type=METRICS_TYPE)


def _add_speech_route(app: FastAPI, queue: SpeechQueue, store: ReferenceStore, limits: ServiceLimits) -> None:
    @app.post("/v1/tts", openapi_extra=_body_schema(), response_class=Response)
    async def speak(request: Request) -> Response:
        """Speak a text; with `streaming` as a WAV of unknown length, piece by piece as it is synthesised."""
        try:
            body = parse_speech(await read_fields(request), limits.text_characters)
            if body.streaming and body.format != "wav":
                raise Refusal(400, "only wav can be streamed; ask for the format wav, or without streaming")
            utterance = _utterance(body, queue.engine, store)
            response = await _until_gone(request, _answer(body, utterance, queue))
        except HTTPException as refusal:
            queue.metrics.answered(refusal.status_code)
            raise
        queue.metrics.answered(response.status_code)
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


async def _answer(body: SpeechBody, utterance: Utterance, queue: SpeechQueue) -> Response:
    speech = await queue.speak(utterance)
    media_type = CONTENT_TYPES[body.format]
    sample_rate = queue.engine.sample_rate
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
    """Return the result of `work`, which is cancelled if the client goes away. Raises ClientDisconnect."""
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


def _body_schema() -> dict[str, Any]:
    schema = SpeechBody.model_json_schema()
    content = {kind: {"schema": schema} for kind in ("application/json", "application/msgpack")}
    return {"requestBody": {"required": True, "content": content}}
