"""The reference clips that the service keeps: a folder an id, with the clip and its transcript."""

from __future__ import annotations

import io
import re
import shutil
import threading
import uuid
from pathlib import Path

from emolib.files import storage_errors
from emolib.tts.engines import Reference
from emolib.tts.refusal import Refusal

__all__ = ["ReferenceStore"]

#: Fish-Speech's rule for ids; with it no id can leave the folder.
_ID = re.compile(r"[a-zA-Z0-9\-_ ]{1,255}")
_LONGEST_SECONDS = 60.0


class ReferenceStore:
    """References by id, in Fish-Speech's own layout (`ID/sample.wav`, `ID/sample.lab`).

    Every method raises Refusal for an id that is not allowed, unknown (404) or taken (409).
    """

    def __init__(self, folder: Path, most: int = 256) -> None:
        self._folder = folder
        self._most = most
        self._lock = threading.Lock()

    def ids(self) -> list[str]:
        """All ids, in order."""
        if not self._folder.is_dir():
            return []
        return sorted(path.name for path in self._folder.iterdir() if _ID.fullmatch(path.name))

    def add(self, reference_id: str, audio: bytes, text: str) -> None:
        """Keep a clip. Raises Refusal 422 for bytes that are no sound, and 409 for an id that exists."""
        folder = self._path(reference_id)
        if not text.strip():
            raise _bad_field("text", "the transcript of the clip is empty")
        _check_sound(audio)
        with self._lock:
            if folder.exists():
                raise Refusal(409, f"the reference {reference_id!r} exists; delete it first, or choose another id")
            if len(self.ids()) >= self._most:
                raise Refusal(409, f"there are {self._most} references already; delete one first")
            self._write(folder, audio, text)

    def get(self, reference_id: str) -> Reference:
        """The clip and its transcript."""
        folder = self._existing(reference_id)
        return Reference((folder / "sample.wav").read_bytes(), (folder / "sample.lab").read_text(encoding="utf-8"))

    def delete(self, reference_id: str) -> None:
        """Forget a clip."""
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
        if not _ID.fullmatch(reference_id) or reference_id != reference_id.strip():
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


def _check_sound(audio: bytes) -> None:
    import soundfile

    try:
        info = soundfile.info(io.BytesIO(audio))
    except (soundfile.LibsndfileError, TypeError) as error:
        raise _bad_field("audio", f"the clip cannot be read as sound: {error}") from error
    if not 0 < info.duration <= _LONGEST_SECONDS:
        raise _bad_field("audio", f"the clip lasts {info.duration:.1f} s; up to {_LONGEST_SECONDS:g} s are kept")


def _bad_field(field: str, message: str) -> Refusal:
    return Refusal(422, f"{field}: {message}", errors=[{"loc": [field], "msg": message, "type": "value_error"}])
