"""Voiceprints on a server: uploaded once and then called by id, or sent along where there is no route for it."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from typing import Any

from emolib.errors import UsageError
from emolib.tts.engines import Reference
from emolib.tts.transport import Deadline, RequestRefused, ServiceConnection
from emolib.tts.voiceprints import VoiceLibrary

__all__ = ["RemoteVoices"]

#: What `_own` puts behind a name.
_UPLOADED = re.compile(r"-[0-9a-f]{12}$")


class RemoteVoices:
    """What a request must say so that the server speaks in a voice of `library`, or in one of its own."""

    def __init__(self, connection: ServiceConnection, library: VoiceLibrary) -> None:
        self._connection = connection
        self._library = library
        self._lock = threading.Lock()
        self._known: set[str] | None = None
        self._has_routes = True

    def names(self, deadline: Deadline) -> list[str]:
        """The voices of the library, and those of the server that were not uploaded from a library."""
        with self._lock:
            self._look_up(deadline)
            return [*self._library.names(), *sorted(name for name in self._ids() if not _UPLOADED.search(name))]

    def fields(self, name: str, emotion: str | None, deadline: Deadline) -> dict[str, Any]:
        """`reference_id`, or `references` inline. Raises UsageError for a voice that neither side knows."""
        with self._lock:
            self._look_up(deadline)
            if name in self._library.names():
                return self._own(name, emotion, deadline)
            if not self._has_routes or name in self._ids():
                return {"reference_id": name}
            # Fish-Speech would answer in a random voice.
            raise UsageError(
                f"unknown voice {name!r}: neither in {self._library.folder} nor on {self._connection.url};"
                " add it with `emolib voice add`"
            )

    def forget(self) -> None:
        """Have the next request ask which voices the server has: it may have begun anew, without the uploaded ones."""
        with self._lock:
            self._known, self._has_routes = None, True

    def _own(self, name: str, emotion: str | None, deadline: Deadline) -> dict[str, Any]:
        reference = self._library.open(name).reference(emotion)
        if not self._has_routes:
            return {"references": [{"audio": base64.b64encode(reference.audio).decode(), "text": reference.text}]}
        reference_id = f"{name}-{hashlib.sha256(reference.audio).hexdigest()[:12]}"
        if reference_id not in self._ids():
            self._upload(reference_id, reference, deadline)
        return {"reference_id": reference_id}

    def _upload(self, reference_id: str, reference: Reference, deadline: Deadline) -> None:
        form = {"id": reference_id, "text": reference.text}
        files = {"audio": ("clip.wav", reference.audio, "audio/wav")}
        try:
            self._connection.ask("POST", "/v1/references/add", deadline, data=form, files=files)
        except RequestRefused as error:
            # Another client was faster; the id holds the hash of the clip, so it is the same one.
            if error.status != 409:
                raise
        self._ids().add(reference_id)

    def _look_up(self, deadline: Deadline) -> None:
        if self._known is not None:
            return
        try:
            answer = self._connection.ask("GET", "/v1/references/list", deadline)
            self._known = set(answer.get("reference_ids", []))
        except RequestRefused as error:
            if error.status not in (404, 405):
                raise
            self._known, self._has_routes = set(), False

    def _ids(self) -> set[str]:
        return self._known if self._known is not None else set()
