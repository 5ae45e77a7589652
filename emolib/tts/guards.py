"""What stands before the routes: the key, foreign web pages, crowds, clients that stop reading, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emolib.addresses import is_loopback
from emolib.tts.refusal import Refusal

__all__ = ["CrowdGuard", "EndGuard", "KeyGuard", "OriginGuard", "SlowClientGuard", "refuse"]


def refuse(refusal: Refusal) -> JSONResponse:
    """The HTTP answer of a refusal."""
    return JSONResponse(refusal.body(), refusal.status, refusal.headers())


class KeyGuard:
    """Lets through what carries `Authorization: Bearer KEY`; 401 for the rest."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app = app
        self._expected = f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not hmac.compare_digest(_header(scope, b"authorization"), self._expected):
            refusal = Refusal(401, "the key is missing or wrong; send the header Authorization: Bearer KEY")
            await refuse(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class OriginGuard:
    """Turns away what a web page from elsewhere sends through the user's browser; 403."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = _header(scope, b"origin").decode("latin-1") if scope["type"] == "http" else ""
        if origin and not is_loopback(urlsplit(origin).hostname or ""):
            refusal = Refusal(403, f"requests from pages of {origin[:100]} are not answered")
            await refuse(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class CrowdGuard:
    """Answers at most `most` requests at once, so that what they hold in memory is bounded; 503 for the rest."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._here = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._here >= self._most:
            message = f"{self._most} requests are being answered already"
            await refuse(Refusal(503, message, retry_after=1))(scope, receive, send)
            return
        self._here += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._here -= 1


class EndGuard:
    """Answers 503 to what the end of the service cancels; a stream that has begun just ends."""

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


class SlowClientGuard:
    """Drops a client that takes nothing of its answer for `patience` seconds."""

    def __init__(self, app: ASGIApp, patience: float) -> None:
        self._app = app
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            await asyncio.wait_for(send(message), self._patience)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # An answer that is not finished makes the server close the connection.
        with contextlib.suppress(TimeoutError):
            await self._app(scope, receive, send_in_time)


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")
