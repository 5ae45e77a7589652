"""Replies from OpenAI's GPT, or from any server that speaks the same chat-completions API."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emolib.addresses import is_loopback_url
from emolib.chat.bounds import bounded
from emolib.chat.messages import Message
from emolib.chat.tone import PromptStyle, full_prompt
from emolib.emotions import EmotionScores
from emolib.errors import MissingDependency, ServiceError, UsageError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["OPENAI_URL", "OpenAIReplyModel"]

OPENAI_URL = "https://api.openai.com/v1"

# A reply that comes back empty, or breaks before its first word, is asked for once more.
_ATTEMPTS = 2
_TOKENS_PER_WORD = 3


class _BrokenReply(ServiceError):
    """A stream that was opened and then failed: worth a second try while nothing was said."""


@dataclass
class OpenAIReplyModel:
    """Replies streamed from `base_url` (a `ReplyModel`).

    `api_key` defaults to OPENAI_API_KEY, and may be absent for another server than OpenAI's. It is
    sent to `base_url` alone and appears in no log, error or trace. 408, 409, 429, 5xx and lost
    connections are retried `retries` times, with exponential backoff or after the delay that the
    server names. `timeout` is the longest silence in seconds, before the first token or between
    two. A reply ends with the last sentence within `max_words`. `prompt` puts emotion and tone
    into the messages (`emolib.chat.tone`); `extra_body` goes into every request as it is.
    """

    model: str = "gpt-4o-mini"
    base_url: str = field(default=OPENAI_URL, repr=False)
    api_key: str | None = field(default=None, repr=False)
    max_words: int = 40
    timeout: float = 20.0
    retries: int = 3
    temperature: float | None = None
    seed: int = 0
    prompt: PromptStyle = full_prompt
    extra_body: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.api_key = self.api_key or os.environ.get("OPENAI_API_KEY") or None
        if self._is_openai and not self.api_key:
            raise UsageError("replies from GPT need a key: set OPENAI_API_KEY, or give the URL of another server")
        if urllib.parse.urlsplit(self.base_url).scheme not in ("http", "https"):
            raise UsageError(f"the chat URL {self.shown_url!r} must start with http:// or https://")
        self._client: AsyncOpenAI | None = None

    @property
    def name(self) -> str:
        return f"{self.model} at {self.shown_url}"

    @property
    def shown_url(self) -> str:
        """The URL without a user name, a password or a query, which may be secrets."""
        parts = urllib.parse.urlsplit(self.base_url)
        return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @property
    def _is_openai(self) -> bool:
        return urllib.parse.urlsplit(self.base_url).hostname == urllib.parse.urlsplit(OPENAI_URL).hostname

    def start(self) -> None:
        """Import the SDK and make the client; nothing is sent."""
        self._open()

    async def stream(
        self, history: Sequence[Message], emotion: EmotionScores | None, tone: str | None = None
    ) -> AsyncIterator[str]:
        """The reply in pieces; ServiceError where the server refuses, stalls or says nothing."""
        messages = self.messages(history, emotion, tone)
        problem: ServiceError | None = None
        for attempt in range(_ATTEMPTS):
            said = False
            try:
                async with aclosing(bounded(self._tokens(messages, self.seed + attempt), self.max_words)) as pieces:
                    async for piece in pieces:
                        said = True
                        yield piece
            except _BrokenReply as error:
                if said:
                    raise
                problem = error
            if said:
                return
        raise problem or ServiceError(f"{self.name} answered with an empty reply, twice; try another model")

    def messages(
        self, history: Sequence[Message], emotion: EmotionScores | None, tone: str | None = None
    ) -> list[dict[str, str]]:
        """The messages as they are sent; a history with a system prompt of its own stays as it is."""
        if not history:
            raise UsageError("a reply needs at least one message to answer")
        sent = history if history[0].role == "system" else self.prompt(history, emotion, tone)
        return [message.as_dict() for message in sent]

    async def complete(self, messages: Sequence[dict[str, str]], tokens: int, **options: Any) -> str:
        """The whole answer of at most `tokens` tokens, with `options` of the API such as `response_format`."""
        with self._errors():
            answer = await self._open().chat.completions.create(
                model=self.model, messages=list(messages), **self._options(self.seed, tokens), **options
            )
        return (answer.choices[0].message.content or "") if answer.choices else ""

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _tokens(self, messages: list[dict[str, str]], seed: int) -> AsyncGenerator[str, None]:
        tokens = _TOKENS_PER_WORD * self.max_words
        with self._errors():
            answer = await self._open().chat.completions.create(
                model=self.model, messages=messages, stream=True, **self._options(seed, tokens)
            )
        finished = False
        try:
            with self._errors(_BrokenReply):
                async for chunk in answer:
                    # Usage and content-filter chunks come with no choices at all.
                    if not chunk.choices:
                        continue
                    finished = finished or chunk.choices[0].finish_reason is not None
                    if chunk.choices[0].delta.content:
                        yield chunk.choices[0].delta.content
        finally:
            await answer.close()
        if not finished:
            raise _BrokenReply(f"{self.shown_url} broke off in the middle of a reply; ask again")

    def _options(self, seed: int, tokens: int) -> dict[str, Any]:
        options: dict[str, Any] = {"seed": seed}
        # OpenAI's newer models refuse `max_tokens`; most other servers know nothing else.
        options["max_completion_tokens" if self._is_openai else "max_tokens"] = tokens
        if self.temperature is not None:
            options["temperature"] = self.temperature
        if self.extra_body:
            options["extra_body"] = self.extra_body
        return options

    def _open(self) -> AsyncOpenAI:
        if self._client is None:
            self._client = _new_client(self.base_url, self.api_key, self.timeout, self.retries)
        return self._client

    def _errors(self, kind: type[ServiceError] = ServiceError) -> _ErrorsOfServer:
        return _ErrorsOfServer(self, kind)


class _ErrorsOfServer:
    """Turns the SDK's exceptions into ServiceError, with the key redacted."""

    def __init__(self, model: OpenAIReplyModel, kind: type[ServiceError]) -> None:
        self._model = model
        self._kind = kind

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        import openai

        if isinstance(error, openai.OpenAIError):
            # The SDK's exception holds the request with its headers: it must not travel on as the cause.
            raise self._kind(_explain(error, self._model)) from None


def _explain(error: Exception, model: OpenAIReplyModel) -> str:
    import openai

    url, tries = model.shown_url, model.retries + 1
    if isinstance(error, openai.APITimeoutError):
        return f"{url} was silent for {model.timeout:g} s; try again, or allow it more time"
    if isinstance(error, openai.APIConnectionError):
        return f"{url} cannot be reached or broke the connection; check the address and that the server runs"
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return f"{url} refused the API key (HTTP {error.status_code}); check OPENAI_API_KEY"
    if isinstance(error, openai.RateLimitError):
        return f"{url} still limits the rate (HTTP 429) after {tries} tries; wait a little, or check the quota"
    detail = _redact(str(getattr(error, "message", error)), model.api_key)[:200]
    if isinstance(error, openai.NotFoundError):
        return f"{url} knows no model {model.model!r} (HTTP 404): {detail}"
    if isinstance(error, openai.APIStatusError):
        return f"{url} failed with HTTP {error.status_code}: {detail}"
    return f"{url} sent an answer that cannot be used: {detail}"


def _redact(text: str, secret: str | None) -> str:
    return text.replace(secret, "***") if secret else text


def _new_client(base_url: str, api_key: str | None, timeout: float, retries: int) -> AsyncOpenAI:
    try:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient
    except ImportError:
        raise MissingDependency("openai", extra="gguf") from None
    # A proxy of the environment must not come between us and a server on this machine.
    http_client = DefaultAsyncHttpxClient(trust_env=False) if is_loopback_url(base_url) else None
    return AsyncOpenAI(
        base_url=base_url, api_key=api_key or "none", timeout=timeout, max_retries=retries, http_client=http_client
    )
