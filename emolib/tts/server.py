"""Running the service: binding an address, announcing it, and shutting down cleanly."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

from emolib.errors import MissingDependency, ServiceError, UsageError

__all__ = ["is_loopback", "serve"]

_GRACE_SECONDS = 3


def serve(
    host: str = "127.0.0.1",
    port: int = 8080,
    *,
    engine: str = "piper",
    api_key: str | None = None,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve speech until SIGINT or SIGTERM.

    `port` 0 takes a free one; `announce` is called with the URL once requests are accepted. Raises
    UsageError for an address that others can reach without an `api_key`, and ServiceError for one
    that cannot be bound.
    """
    if not api_key and not is_loopback(host):
        raise UsageError(f"{host} can be reached by others; serve there only with a key (--api-key)")
    try:
        import uvicorn

        from emolib.tts.service import create_app
    except ImportError as error:
        raise MissingDependency(f"the package {error.name}", extra="tts") from error
    from emolib.tts.engines import load_engine

    listener = _bind(host, port)
    voice = load_engine(engine)
    app = create_app(voice, api_key=api_key)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_GRACE_SECONDS, ws="none")
    # From here on connections are queued by the kernel, so the URL is good before uvicorn runs.
    listener.listen(128)
    announce(_url(listener))
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        voice.close()


def is_loopback(host: str) -> bool:
    """Whether an address or name reaches this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
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
