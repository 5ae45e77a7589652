"""The routes `/v1/references/*`: answers in msgpack, as Fish-Speech gives them, or in JSON where that is accepted."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from emolib.tts.bodies import content_type, read_body, read_form
from emolib.tts.protocol import parse_fields
from emolib.tts.references import ReferenceStore
from emolib.tts.refusal import Refusal

__all__ = ["add_reference_routes"]

_SMALL_BODY = 64 * 1024


def add_reference_routes(app: FastAPI, store: ReferenceStore, body_bytes: int) -> None:
    """Give `app` the routes that add, list, rename and delete the clips of `store`."""

    @app.post("/v1/references/add", response_class=Response)
    async def add(request: Request) -> Response:
        """Keep a clip under an id: a multipart form with id, text and audio."""
        form = await read_form(request, body_bytes)
        reference_id, text = _field(form, "id"), _field(form, "text")
        audio = form.get("audio")
        if not isinstance(audio, bytes):
            raise _missing("audio")
        await asyncio.to_thread(store.add, reference_id, audio, text)
        return _answer(request, message="reference added", reference_id=reference_id)

    @app.get("/v1/references/list", response_class=Response)
    async def list_all(request: Request) -> Response:
        """All ids."""
        return _answer(request, reference_ids=store.ids(), message="Success")

    @app.delete("/v1/references/delete", response_class=Response)
    async def delete(request: Request) -> Response:
        """Forget the clip `reference_id`."""
        reference_id = _field(await _small_body(request), "reference_id")
        await asyncio.to_thread(store.delete, reference_id)
        return _answer(request, message="reference deleted", reference_id=reference_id)

    @app.post("/v1/references/update", response_class=Response)
    async def rename(request: Request) -> Response:
        """Give the clip `old_reference_id` the id `new_reference_id`."""
        fields = await _small_body(request)
        old, new = _field(fields, "old_reference_id"), _field(fields, "new_reference_id")
        store.rename(old, new)
        return _answer(request, message="reference renamed", old_reference_id=old, new_reference_id=new)


async def _small_body(request: Request) -> dict[str, Any]:
    return parse_fields(await read_body(request, _SMALL_BODY), content_type(request))


def _field(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise _missing(name)
    return value


def _missing(name: str) -> Refusal:
    error = {"loc": [name], "msg": "the field is missing or of another kind", "type": "missing"}
    return Refusal(422, f"{name}: {error['msg']}", errors=[error])


def _answer(request: Request, **fields: Any) -> Response:
    body = {"success": True, **fields}
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse(body)
    return Response(msgpack.packb(body), media_type="application/msgpack")
