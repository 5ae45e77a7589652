"""Running the service: binding an address, announcing it, and shutting down cleanly."""

from __future__ import annotations

import ctypes
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from emolib.addresses import refuse_open_address
from emolib.errors import MissingDependency, ServiceError

__all__ = ["return_freed_memory", "serve"]

_GRACE_SECONDS = 3
#: glibc's names for two of its bounds (malloc.h), and where they are set.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_RETURNED_FROM = 65_536
#: Beyond these connections, idle ones included, a new one is answered 503.
_MOST_CONNECTIONS = 256


def serve(
    host: str = "127.0.0.1",
    port: int = 8080,
    *,
    engine: str = "auto",
    api_key: str | None = None,
    references: Path | None = None,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve speech until SIGINT or SIGTERM.

    `port` 0 takes a free one, `references` is the folder for uploaded clips (default: in emolib's
    cache), `announce` is called with the URL once requests are accepted. Raises UsageError for an
    address that others can reach without an `api_key`, and ServiceError for one that cannot be bound.
    """
    try:
        import uvicorn

        from emolib.tts.engines import load_engine
        from emolib.tts.references import ReferenceStore
        from emolib.tts.service import create_app
    except ImportError as error:
        raise MissingDependency(f"the package {error.name}", extra="tts") from error
    from emolib.models import cache_folder

    refuse_open_address(host, api_key)
    listener = _bind(host, port)
    return_freed_memory()
    voice = load_engine(engine)
    store = ReferenceStore(references or cache_folder() / "references")
    config = uvicorn.Config(
        create_app(voice, store, api_key=api_key),
        log_level="warning",
        timeout_graceful_shutdown=_GRACE_SECONDS,
        limit_concurrency=_MOST_CONNECTIONS,
        ws="none",
    )
    # From here on connections are queued by the kernel, so the URL is good before uvicorn runs.
    listener.listen(128)
    announce(_url(listener))
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        voice.close()


def return_freed_memory() -> None:
    """Have this process give blocks of 64 KiB and more back to the system once they are freed (glibc; else nothing).

    By its own rule glibc keeps ever larger ones, up to 32 MB, and an hour of sound left 9 MB behind between them.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_THRESHOLD, _RETURNED_FROM)
        mallopt(_M_TRIM_THRESHOLD, _RETURNED_FROM)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol left out, asyncio does not switch off Nagle's algorithm, and every answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise ServiceError(f"cannot serve on {host}:{port}: {error}; choose another --port, or 0") from error
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
