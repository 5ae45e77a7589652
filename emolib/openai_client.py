"""The client of OpenAI's API and of compatible servers: which key they get, proxies, and errors as sentences."""

from __future__ import annotations

import html
import json
import os
import re
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from emolib.addresses import is_loopback, is_loopback_url, is_public, proxy_problem, shown_url
from emolib.errors import MissingDependency, ServiceError, UsageError

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

__all__ = ["OPENAI_URL", "OpenAIServer", "Refusal", "allowed_key"]

OPENAI_URL = "https://api.openai.com/v1"
_OPENAI_HOST = "api.openai.com"
_AZURE_ENDS = (".azure.com", ".azure-api.net")
#: What people copy behind the address of an API.
_ENDPOINT = re.compile(r"/(chat/completions|completions|responses|models|audio/transcriptions)$|/api/(chat|generate)$")
_VERSION = re.compile(r"/v\d\w*$")
_MODELS_S = 5.0
_LONGEST_DETAIL = 200


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


class Refusal(Exception):
    """An answer of a server that is none: an HTTP error, or an error in the body of an answer (status 200).

    `status` 0 is a connection that failed. `retry_after_s` is when the server wants to be asked again (None: it does
    not say).
    """

    def __init__(self, status: int, body: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.retry_after_s = retry_after_s

    @property
    def detail(self) -> str:
        """What the server says, without markup and quotation, on one line."""
        try:
            said = _message_of(json.loads(self.body))
        except ValueError:
            said = html.unescape(re.sub(r"<(script|style|head)\b.*?</\1>|<[^>]+>", " ", self.body, flags=re.S | re.I))
        return " ".join(said.split())

    @property
    def is_page(self) -> bool:
        """Whether the answer is an HTML page, of a proxy or of another server."""
        return self.body.lstrip()[:15].lower().startswith(("<!doctype", "<html"))

    @property
    def is_wrong_address(self) -> bool:
        """Whether the API is not at the address that was asked: LM Studio says so with status 200."""
        if self.status == 200:
            return self.is_page or "Unexpected endpoint" in self.body
        return self.status in (404, 405) and not re.search("model|deployment", self.body, re.IGNORECASE)

    @property
    def is_final(self) -> bool:
        """Whether it makes no sense to ask again, although the status says so."""
        return "insufficient_quota" in self.body

    def mentions(self, name: str) -> bool:
        """Return whether the server speaks of the field `name`."""
        return bool(re.search(rf"(?<!\w){name.replace('_', '[_ ]')}(?!\w)", self.body, re.IGNORECASE))


@dataclass(frozen=True)
class OpenAIServer:
    """OpenAI, or a server with the same API, at `url`.

    `api_key` becomes what `allowed_key` says. `timeout_s` bounds each silence, `retries` counts new attempts after
    408, 409, 429, 5xx and lost connections, with exponential backoff or after the delay that the server names.
    `timeout_option` is how a user changes the first. Raises UsageError for an address that is none, and for OpenAI
    itself without a key.
    """

    url: str = field(repr=False)
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 20.0
    retries: int = 3
    timeout_option: str = "timeout_s"

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

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the API may be, the likeliest first: an address that ends without a version is tried with /v1 too."""
        parts = urllib.parse.urlsplit(self.url)
        path = _ENDPOINT.sub("", parts.path.rstrip("/"))
        plain = urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        return (plain,) if _VERSION.search(path) else (f"{plain}/v1", plain)

    def client(self) -> OpenAI:
        """Create the SDK's client; nothing is sent."""
        return self._created("OpenAI", "DefaultHttpxClient")

    def async_client(self) -> AsyncOpenAI:
        """Create the SDK's asynchronous client; nothing is sent."""
        return self._created("AsyncOpenAI", "DefaultAsyncHttpxClient")

    def models(self) -> list[str]:
        """Ask for the names of the models that the server has; empty if it does not list them."""
        import openai

        with self.client() as client:
            for address in self.addresses:
                client.base_url = address
                with suppress(openai.OpenAIError, ValueError):
                    # As plain JSON: servers differ in all but the names.
                    found = client.with_options(timeout=_MODELS_S, max_retries=0).get("/models", cast_to=object)
                    listed = found.get("data") if isinstance(found, dict) else found
                    if isinstance(listed, list):
                        return [str(one["id"]) for one in listed if isinstance(one, dict) and one.get("id")]
        return []

    def time_limit(self, silence_s: float) -> Any:
        """Return a time-out for the SDK that allows silences of `silence_s` seconds, and fewer to connect."""
        import openai

        return openai.Timeout(silence_s, connect=min(silence_s, self.timeout_s))

    @contextmanager
    def errors(
        self, model: str, kind: type[ServiceError] = ServiceError, silence_s: float | None = None
    ) -> Iterator[None]:
        """Turn the SDK's exceptions in the block into `kind`, with a sentence about `model` and without the key."""
        import openai

        try:
            with self.refusals(silence_s, kind):
                yield
        except Refusal as refusal:
            # The SDK's exception holds the request with its headers: it must not travel on as the cause.
            raise kind(self.sentence(refusal, model)) from None
        except openai.OpenAIError as error:
            detail = self._without_key(str(error))
            raise kind(f"{self.shown_url} sent an answer that cannot be used: {detail}") from None

    @contextmanager
    def refusals(self, silence_s: float | None = None, kind: type[ServiceError] = ServiceError) -> Iterator[None]:
        """Turn HTTP errors and failed connections in the block into Refusal, and a silence into `kind`."""
        import openai

        transport = _transport()
        try:
            yield
        except (openai.APITimeoutError, transport.TimeoutException):
            raise kind(self.silence(silence_s)) from None
        except (openai.APIConnectionError, transport.RequestError):
            raise Refusal(0) from None
        except openai.APIStatusError as error:
            raise Refusal(error.status_code, error.response.text, _retry_after(error.response.headers)) from None

    def silence(self, silence_s: float | None = None) -> str:
        """Return the sentence for a server that was silent for too long."""
        silent = f"{self.shown_url} was silent for {self.timeout_s if silence_s is None else silence_s:g} s"
        return f"{silent}; try again, or allow it more time ({self.timeout_option})"

    def sentence(self, refusal: Refusal, model: str) -> str:
        """Return what went wrong, and what to change, in a sentence without the key."""
        url, status = self.shown_url, refusal.status
        detail = self._without_key(refusal.detail)
        said = f": {detail}" if detail else ""
        if status == 0:
            return f"{url} cannot be reached or broke the connection; check the address and that the server runs"
        if status in (401, 403):
            return f"{url} {self._denial()} (HTTP {status}); check OPENAI_API_KEY or `api_key`{said}"
        if status == 429:
            when = f"in {refusal.retry_after_s:.0f} s" if refusal.retry_after_s else "a little later"
            return f"{url} still limits the rate (HTTP 429); ask again {when}, or check the quota{said}"
        if refusal.is_wrong_address:
            return f"{url} is not the address of this API (HTTP {status}{said}); it ends with /v1 as a rule"
        if status == 404:
            return f"{url} knows no model {model!r} (HTTP 404){said}"
        if status == 200:
            return f"{url} sent an answer that cannot be used{said or ': it is empty'}"
        return f"{url} failed with HTTP {status}{said}"

    def _created(self, client: str, transport: str) -> Any:
        try:
            import openai
        except ImportError as error:
            raise MissingDependency("the package openai", extra="remote") from error
        try:
            # A proxy of the environment must not come between us and a server on this machine.
            http_client = getattr(openai, transport)(trust_env=False) if is_loopback_url(self.url) else None
            return getattr(openai, client)(
                base_url=self.addresses[0],
                api_key=self.api_key or "none",
                timeout=self.timeout_s,
                max_retries=self.retries,
                http_client=http_client,
                default_headers=self._headers(),
                default_query=dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.url).query)),
            )
        except (ImportError, ValueError) as error:
            problem = proxy_problem("socksio")
            if problem is None:
                raise
            raise ServiceError(f"{self.shown_url} cannot be reached: {problem}") from error

    def _headers(self) -> dict[str, str]:
        """Return the headers beside the usual ones: Azure's older addresses want the key in one of their own."""
        is_azure = _origin(self.url)[1].endswith(_AZURE_ENDS)
        return {"api-key": self.api_key} if is_azure and self.api_key else {}

    def _without_key(self, text: str) -> str:
        return (text.replace(self.api_key, "***") if self.api_key else text)[:_LONGEST_DETAIL]

    def _denial(self) -> str:
        if self.api_key:
            return "refused the API key"
        if os.environ.get("OPENAI_API_KEY"):
            return "refused a request without a key (OPENAI_API_KEY goes to OpenAI and to OPENAI_BASE_URL only)"
        return "refused a request without a key"


def _transport() -> Any:
    """Return the HTTP library of the SDK: what breaks while a body is read is an exception of its own."""
    try:
        import httpx2 as library
    except ImportError:
        import httpx as library
    return library


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until the server wants to be asked again: milliseconds, seconds, or a date."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return float(milliseconds) / 1000
        return float(headers["retry-after"])
    except KeyError:
        return None
    except ValueError:
        with suppress(ValueError):
            return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
        return None


def _message_of(body: Any) -> str:
    """Return the message in an error's JSON: OpenAI's form, FastAPI's, Ollama's and others."""
    if isinstance(body, dict) and "msg" in body:
        return f"{'.'.join(map(str, body.get('loc', ())))}: {body['msg']}"
    if isinstance(body, dict):
        return next((_message_of(body[key]) for key in ("error", "message", "detail") if body.get(key)), "")
    if isinstance(body, list):
        return "; ".join(map(_message_of, body))
    return str(body)


def _is_openai(host: str) -> bool:
    return host == _OPENAI_HOST or host.endswith(f".{_OPENAI_HOST}")


def _origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port; the host is empty if the address is none."""
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", "", None
