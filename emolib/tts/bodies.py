"""Reading the body of a request within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from emolib.tts.refusal import Refusal

__all__ = ["content_type", "read_body", "read_form"]

_FIELD_BYTES = 64 * 1024
#: How long a client may pause in the middle of its body.
_PATIENCE_SECONDS = 30.0


def content_type(request: Request) -> str:
    """The media type of a request without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises Refusal 413 as soon as over `limit` bytes are announced or arrive."""
    return b"".join([part async for part in _bounded(request, limit)])


async def read_form(request: Request, limit: int) -> dict[str, str | bytes]:
    """The fields of a multipart body, files as bytes. Raises Refusal: 415, 413, or 400 for a broken form."""
    if content_type(request) != "multipart/form-data":
        raise Refusal(415, f"content type {content_type(request) or 'missing'!r}; send multipart/form-data")
    parser = MultiPartParser(
        request.headers, _bounded(request, limit), max_files=4, max_fields=8, max_part_size=_FIELD_BYTES
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        raise Refusal(400, f"the form cannot be read: {error}") from error
    try:
        return {name: await value.read() if isinstance(value, UploadFile) else value for name, value in form.items()}
    finally:
        await form.close()


async def _bounded(request: Request, limit: int) -> AsyncIterator[bytes]:
    announced = request.headers.get("content-length", "")
    size = 0
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    parts = request.stream()
    while True:
        try:
            part = await asyncio.wait_for(anext(parts, None), _PATIENCE_SECONDS)
        except TimeoutError:
            raise Refusal(408, f"nothing of the body came for {_PATIENCE_SECONDS:g} s") from None
        if part is None:
            return
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        yield part


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"the body has over {limit} bytes; send less")
