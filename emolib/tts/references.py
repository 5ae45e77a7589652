"""The reference clips that the service keeps, and the routes `/v1/references/*` that manage them."""

from __future__ import annotations

import asyncio
import io
import re
import shutil
import threading
import uuid
from pathlib import Path
from typing import Annotated, Any

import msgpack
from fastapi import FastAPI, Form, Request, UploadFile
from fastapi.responses import JSONResponse, Response

from emolib.files import is_reserved_name, storage_errors
from emolib.tts.engines import Reference
from emolib.tts.protocol import Refusal, bad_field, read_fields

__all__ = ["ReferenceStore", "add_reference_routes"]

#: Fish-Speech's rule for ids; with it no id can leave the folder.
_ID = re.compile(r"[a-zA-Z0-9\-_ ]{1,255}")
_LONGEST_SECONDS = 60.0

_FormText = Annotated[str, Form()]


class ReferenceStore:
    """References by id, in Fish-Speech's own layout (`ID/sample.wav`, `ID/sample.lab`).

    Every method raises Refusal for an id that is not allowed, unknown (404) or taken (409).
    """

    def __init__(self, folder: Path, most: int = 256) -> None:
        self._folder = folder
        self._most = most
        self._lock = threading.Lock()

    def ids(self) -> list[str]:
        """Return all ids, in order."""
        if not self._folder.is_dir():
            return []
        return sorted(path.name for path in self._folder.iterdir() if _ID.fullmatch(path.name))

    def add(self, reference_id: str, audio: bytes, text: str) -> None:
        """Add a clip. Raises Refusal 422 for bytes that are not sound, and 409 for an id that exists."""
        folder = self._path(reference_id)
        if not text.strip():
            raise bad_field("text", "the transcript of the clip is empty")
        _check_sound(audio)
        with self._lock:
            if folder.exists():
                raise Refusal(409, f"the reference {reference_id!r} exists; delete it first, or choose another id")
            if len(self.ids()) >= self._most:
                raise Refusal(409, f"there are {self._most} references already; delete one first")
            self._write(folder, audio, text)

    def get(self, reference_id: str) -> Reference:
        """Return the clip and its transcript."""
        folder = self._existing(reference_id)
        return Reference((folder / "sample.wav").read_bytes(), (folder / "sample.lab").read_text(encoding="utf-8"))

    def delete(self, reference_id: str) -> None:
        """Delete a clip."""
        with self._lock:
            shutil.rmtree(self._existing(reference_id))

    def rename(self, old: str, new: str) -> None:
        """Give a clip another id."""
        target = self._path(new)
        with self._lock:
            source = self._existing(old)
            if target.exists():
                raise Refusal(409, f"the reference {new!r} exists; delete it first, or choose another id")
            source.rename(target)

    def _path(self, reference_id: str) -> Path:
        if not _ID.fullmatch(reference_id) or reference_id != reference_id.strip() or is_reserved_name(reference_id):
            raise Refusal(400, "a reference id has 1 to 255 letters, digits, spaces, - or _, and no space at its ends")
        return self._folder / reference_id

    def _existing(self, reference_id: str) -> Path:
        folder = self._path(reference_id)
        if not folder.is_dir():
            raise Refusal(404, f"there is no reference {reference_id!r}; GET /v1/references/list names them")
        return folder

    def _write(self, folder: Path, audio: bytes, text: str) -> None:
        with storage_errors(folder):
            half = self._folder / f".{uuid.uuid4().hex[:12]}"
            half.mkdir(parents=True)
            try:
                (half / "sample.wav").write_bytes(audio)
                (half / "sample.lab").write_text(text, encoding="utf-8")
                half.rename(folder)
            finally:
                shutil.rmtree(half, ignore_errors=True)


def add_reference_routes(app: FastAPI, store: ReferenceStore) -> None:
    """Add the routes that add, list, rename and delete the clips of `store`."""

    @app.post("/v1/references/add", response_class=Response)
    async def add(request: Request, id: _FormText, text: _FormText, audio: UploadFile) -> Response:
        """Keep a clip under an id."""
        await asyncio.to_thread(store.add, id, await audio.read(), text)
        return _answer(request, message="reference added", reference_id=id)

    @app.get("/v1/references/list", response_class=Response)
    async def list_all(request: Request) -> Response:
        """List all ids."""
        return _answer(request, reference_ids=store.ids(), message="Success")

    @app.delete("/v1/references/delete", response_class=Response)
    async def delete(request: Request) -> Response:
        """Delete the clip `reference_id`."""
        reference_id = _field(await read_fields(request), "reference_id")
        await asyncio.to_thread(store.delete, reference_id)
        return _answer(request, message="reference deleted", reference_id=reference_id)

    @app.post("/v1/references/update", response_class=Response)
    async def rename(request: Request) -> Response:
        """Give the clip `old_reference_id` the id `new_reference_id`."""
        fields = await read_fields(request)
        old, new = _field(fields, "old_reference_id"), _field(fields, "new_reference_id")
        store.rename(old, new)
        return _answer(request, message="reference renamed", old_reference_id=old, new_reference_id=new)


def _check_sound(audio: bytes) -> None:
    import soundfile

    try:
        info = soundfile.info(io.BytesIO(audio))
    except (soundfile.LibsndfileError, TypeError) as error:
        raise bad_field("audio", f"the clip cannot be read as sound: {error}") from error
    if not 0 < info.duration <= _LONGEST_SECONDS:
        raise bad_field("audio", f"the clip lasts {info.duration:.1f} s; up to {_LONGEST_SECONDS:g} s are kept")


def _field(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise bad_field(name, "the field is missing or not a string", "missing")
    return value


def _answer(request: Request, **fields: Any) -> Response:
    """Answer in msgpack as Fish-Speech does, or in JSON if the client accepts it."""
    body = {"success": True, **fields}
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse(body)
    return Response(msgpack.packb(body), media_type="application/msgpack")
