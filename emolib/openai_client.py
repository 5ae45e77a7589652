"""The client of OpenAI's API and of compatible servers: which key they get, proxies, and errors as sentences."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emolib.addresses import is_loopback, is_loopback_url, is_public, proxy_problem, shown_url
from emolib.errors import MissingDependency, ServiceError, UsageError

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

__all__ = ["OPENAI_URL", "OpenAIServer", "allowed_key"]

OPENAI_URL = "https://api.openai.com/v1"
_OPENAI_HOST = "api.openai.com"


def allowed_key(url: str, api_key: str | None = None, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the key that a request to `url` may carry: `api_key`, else OPENAI_API_KEY if it is meant for this server.

    OPENAI_API_KEY is meant for OpenAI's own host and for the server that OPENAI_BASE_URL names, and goes to no other
    machine over plain HTTP. Raises UsageError if `api_key` would cross a public network unencrypted.
    """
    scheme, host, _ = _origin(url)
    unencrypted = scheme == "http" and not is_loopback(host)
    if api_key:
        if unencrypted and is_public(host):
            raise UsageError(f"the API key would go to {shown_url(url)} unencrypted; use https://")
        return api_key
    is_meant = _is_openai(host) or _origin(url) == _origin(environ.get("OPENAI_BASE_URL", ""))
    return (environ.get("OPENAI_API_KEY") or None) if host and is_meant and not unencrypted else None


@dataclass(frozen=True)
class OpenAIServer:
    """OpenAI, or a server with the same API, at `url`.

    `api_key` becomes what `allowed_key` says. `timeout_s` bounds each silence, `retries` counts new attempts after
    408, 409, 429, 5xx and lost connections, with exponential backoff or after the delay that the server names.
    Raises UsageError for an address that is none, and for OpenAI itself without a key.
    """

    url: str = field(repr=False)
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 20.0
    retries: int = 3

    def __post_init__(self) -> None:
        scheme, host, _ = _origin(self.url)
        if scheme not in ("http", "https") or not host:
            raise UsageError(f"the URL {self.shown_url!r} of the server must start with http:// or https://")
        if self.is_openai and scheme == "http":
            raise UsageError(f"OpenAI must be asked over https, and the URL is {self.shown_url}")
        object.__setattr__(self, "api_key", allowed_key(self.url, self.api_key))
        if self.is_openai and not self.api_key:
            raise UsageError("OpenAI needs a key: set OPENAI_API_KEY, or give the URL of another server")

    @property
    def shown_url(self) -> str:
        """The URL without what may be secret in it."""
        return shown_url(self.url)

    @property
    def is_openai(self) -> bool:
        """Whether this is OpenAI's own host."""
        return _is_openai(_origin(self.url)[1])

    def client(self) -> OpenAI:
        """Create the SDK's client; nothing is sent."""
        return self._created("OpenAI", "DefaultHttpxClient")

    def async_client(self) -> AsyncOpenAI:
        """Create the SDK's asynchronous client; nothing is sent."""
        return self._created("AsyncOpenAI", "DefaultAsyncHttpxClient")

    @contextmanager
    def errors(self, model: str, kind: type[ServiceError] = ServiceError) -> Iterator[None]:
        """Turn the SDK's exceptions in the block into `kind`, with a sentence about `model` and without the key."""
        import openai

        try:
            yield
        except openai.OpenAIError as error:
            # The SDK's exception holds the request with its headers: it must not travel on as the cause.
            raise kind(self._explain(error, model)) from None

    def _created(self, client: str, transport: str) -> Any:
        try:
            import openai
        except ImportError as error:
            raise MissingDependency("the package openai", extra="remote") from error
        try:
            # A proxy of the environment must not come between us and a server on this machine.
            http_client = getattr(openai, transport)(trust_env=False) if is_loopback_url(self.url) else None
            return getattr(openai, client)(
                base_url=self.url,
                api_key=self.api_key or "none",
                timeout=self.timeout_s,
                max_retries=self.retries,
                http_client=http_client,
            )
        except (ImportError, ValueError) as error:
            problem = proxy_problem("socksio")
            if problem is None:
                raise
            raise ServiceError(f"{self.shown_url} cannot be reached: {problem}") from error

    def _explain(self, error: Exception, model: str) -> str:
        import openai

        url = self.shown_url
        if isinstance(error, openai.APITimeoutError):
            return f"{url} was silent for {self.timeout_s:g} s; try again, or allow it more time"
        if isinstance(error, openai.APIConnectionError):
            return f"{url} cannot be reached or broke the connection; check the address and that the server runs"
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return f"{url} {self._refusal()} (HTTP {error.status_code}); check OPENAI_API_KEY or `api_key`"
        if isinstance(error, openai.RateLimitError):
            tries = self.retries + 1
            return f"{url} still limits the rate (HTTP 429) after {tries} tries; wait a little, or check the quota"
        detail = error.response.text if isinstance(error, openai.APIStatusError) else str(error)
        detail = (detail.replace(self.api_key, "***") if self.api_key else detail)[:200]
        if isinstance(error, openai.NotFoundError):
            return f"{url} knows no model {model!r} (HTTP 404): {detail}"
        if isinstance(error, openai.APIStatusError):
            return f"{url} failed with HTTP {error.status_code}: {detail}"
        return f"{url} sent an answer that cannot be used: {detail}"

    def _refusal(self) -> str:
        if self.api_key:
            return "refused the API key"
        if os.environ.get("OPENAI_API_KEY"):
            return "refused a request without a key (OPENAI_API_KEY goes to OpenAI and to OPENAI_BASE_URL only)"
        return "refused a request without a key"


def _is_openai(host: str) -> bool:
    return host == _OPENAI_HOST or host.endswith(f".{_OPENAI_HOST}")


def _origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port; the host is empty if the address is none."""
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", "", None
