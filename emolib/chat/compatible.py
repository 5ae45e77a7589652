"""Replies from OpenAI's GPT, or from any server that speaks the same chat-completions API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from emolib.chat.bounds import bounded
from emolib.chat.guards import without_repeats, without_thoughts
from emolib.chat.messages import Message
from emolib.chat.tone import PromptStyle, full_prompt
from emolib.emotions import EmotionScores
from emolib.errors import ServiceError, UsageError
from emolib.openai_client import OPENAI_URL, OpenAIServer

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["OpenAIReplyModel"]

# A reply that comes back empty, or breaks before its first word, is asked for once more.
_ATTEMPTS = 2
_TOKENS_PER_WORD = 3
#: What a second and a third draw of a reply add to the temperature.
_WARMER = 0.35


class _BrokenReply(ServiceError):
    """A stream that was opened and then failed: worth a second try while nothing was said."""


@dataclass(frozen=True)
class _Sampling:
    seed: int
    temperature: float | None


@dataclass
class OpenAIReplyModel:
    """Replies streamed from `base_url` (a `ReplyModel`).

    `api_key` defaults to OPENAI_API_KEY if that is meant for this server (`allowed_key`), and may be absent for
    another server than OpenAI's. It is sent to `base_url` alone and appears in no log, error or trace. `timeout`
    is the longest silence in seconds, before the first token or between two; `retries` is as in `OpenAIServer`.
    A reply ends with the last sentence within `max_words`. `prompt` puts emotion and tone into the messages
    (`emolib.chat.tone`); `extra_body` goes into every request as it is.
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
        self._server = OpenAIServer(self.base_url, self.api_key, self.timeout, self.retries)
        self.api_key = self._server.api_key
        self._client: AsyncOpenAI | None = None

    @property
    def name(self) -> str:
        return f"{self.model} at {self.shown_url}"

    @property
    def shown_url(self) -> str:
        """The URL without what may be secret in it."""
        return self._server.shown_url

    def start(self) -> None:
        """Import the SDK and create the client; nothing is sent."""
        self._open()

    async def stream(
        self, history: Sequence[Message], emotion: EmotionScores | None, tone: str | None = None
    ) -> AsyncIterator[str]:
        """Yield the reply in pieces. Raises ServiceError if the server refuses, stalls or says nothing.

        Thoughts are left out, and a reply that nearly repeats an earlier one is drawn again.
        """
        messages = self.messages(history, emotion, tone)
        earlier = [message.content for message in history if message.role == "assistant"]

        def draw(attempt: int) -> AsyncGenerator[str, None]:
            return self._draw(messages, _Sampling(self.seed + 10 * attempt, self._temperature(attempt)))

        async with aclosing(without_repeats(draw, earlier)) as pieces:
            async for piece in pieces:
                yield piece

    async def _draw(self, messages: list[dict[str, str]], sampling: _Sampling) -> AsyncGenerator[str, None]:
        problem: ServiceError | None = None
        for attempt in range(_ATTEMPTS):
            said = False
            tokens = without_thoughts(self._tokens(messages, replace(sampling, seed=sampling.seed + attempt)))
            try:
                async with aclosing(bounded(tokens, self.max_words)) as pieces:
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
        """Return the messages as they are sent; a history with its own system prompt is unchanged."""
        if not history:
            raise UsageError("a reply needs at least one message to answer")
        return [message.as_dict() for message in self.prompt(history, emotion, tone)]

    async def complete(self, messages: Sequence[dict[str, str]], tokens: int, **options: Any) -> str:
        """Return an answer of at most `tokens` tokens, with `options` of the API such as `response_format`."""
        with self._server.errors(self.model):
            answer = await self._open().chat.completions.create(
                model=self.model,
                messages=list(messages),
                **self._options(_Sampling(self.seed, self.temperature), tokens),
                **options,
            )
        return (answer.choices[0].message.content or "") if answer.choices else ""

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _temperature(self, attempt: int) -> float | None:
        """Return the temperature of a reply that is drawn again `attempt` times: higher, so that it differs."""
        return self.temperature if self.temperature is None else min(1.0, self.temperature + _WARMER * attempt)

    async def _tokens(self, messages: list[dict[str, str]], sampling: _Sampling) -> AsyncGenerator[str, None]:
        tokens = _TOKENS_PER_WORD * self.max_words
        with self._server.errors(self.model):
            answer = await self._open().chat.completions.create(
                model=self.model, messages=messages, stream=True, **self._options(sampling, tokens)
            )
        finished = False
        try:
            with self._server.errors(self.model, _BrokenReply):
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

    def _options(self, sampling: _Sampling, tokens: int) -> dict[str, Any]:
        options: dict[str, Any] = {"seed": sampling.seed}
        # OpenAI's newer models refuse `max_tokens`; most other servers know nothing else.
        options["max_completion_tokens" if self._server.is_openai else "max_tokens"] = tokens
        if sampling.temperature is not None:
            options["temperature"] = sampling.temperature
        if self.extra_body:
            options["extra_body"] = self.extra_body
        return options

    def _open(self) -> AsyncOpenAI:
        if self._client is None:
            self._client = self._server.async_client()
        return self._client
