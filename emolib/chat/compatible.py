"""Replies from OpenAI's GPT, or from any server that speaks the same chat-completions API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from emolib.chat.bounds import bounded
from emolib.chat.guards import without_repeats, without_said_sentences
from emolib.chat.messages import Message
from emolib.chat.server import BrokenReply, ChatServer
from emolib.chat.tone import PromptStyle, full_prompt
from emolib.errors import ServiceError, UsageError
from emolib.labels import EmotionScores
from emolib.openai_client import OPENAI_URL, OpenAIServer

__all__ = ["OpenAIReplyModel"]

# A reply that comes back empty, or breaks before its first word, is asked for once more.
_ATTEMPTS = 2
_TOKENS_PER_WORD = 3
#: What a second and a third draw of a reply add to the temperature.
_WARMER = 0.35


@dataclass
class OpenAIReplyModel:
    """Replies streamed from `base_url` (a `ReplyModel`).

    `api_key` defaults to OPENAI_API_KEY if that is meant for this server (`allowed_key`), and may be absent for
    another server than OpenAI's. It is sent to `base_url` alone and appears in no log, error or trace. `model` None
    is gpt-4o-mini at OpenAI, elsewhere the one that the server has. `timeout` is the longest silence in seconds,
    before the first token or between two; None is 120 before the first, for the server may be loading its model, and
    20 between two. `retries` counts new attempts after passing failures. A reply ends with the last sentence within
    `max_words`. `prompt` puts emotion and tone into the messages (`emolib.chat.tone`); `extra_body` goes into every
    request as it is.
    """

    model: str | None = None
    base_url: str = field(default=OPENAI_URL, repr=False)
    api_key: str | None = field(default=None, repr=False)
    max_words: int = 40
    timeout: float | None = None
    retries: int = 3
    temperature: float | None = None
    seed: int = 0
    prompt: PromptStyle = full_prompt
    extra_body: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        server = OpenAIServer(self.base_url, self.api_key, retries=0, timeout_option="--chat-timeout")
        self.api_key = server.api_key
        self._server = ChatServer(server, self.model, self.timeout, self.retries, self.extra_body)

    @property
    def name(self) -> str:
        model = self._server.model
        return f"{model} at {self.shown_url}" if model else self.shown_url

    @property
    def shown_url(self) -> str:
        """The URL without what may be secret in it."""
        return self._server.server.shown_url

    @property
    def patience_s(self) -> float:
        """The seconds after which nobody has to wait for a word any more: it gives up by itself before."""
        return _ATTEMPTS * self._server.first_s

    def start(self) -> None:
        """Import the SDK and create the client; nothing is sent, but that a server is asked for an unnamed model."""
        self._server.open()

    async def stream(
        self, history: Sequence[Message], emotion: EmotionScores | None, tone: str | None = None
    ) -> AsyncIterator[str]:
        """Yield the reply in pieces. Raises ServiceError if the server refuses, stalls or says nothing.

        Thoughts are left out, and a reply that nearly repeats an earlier one is drawn again;
        a later sentence that was said before is left out.
        """
        messages = self.messages(history, emotion, tone)
        earlier = [message.content for message in history if message.role == "assistant"]

        def draw(attempt: int) -> AsyncGenerator[str, None]:
            return self._draw(messages, self.seed + 10 * attempt, self._temperature(attempt))

        async with aclosing(without_said_sentences(without_repeats(draw, earlier), earlier)) as pieces:
            async for piece in pieces:
                yield piece

    async def _draw(
        self, messages: list[dict[str, str]], seed: int, temperature: float | None
    ) -> AsyncGenerator[str, None]:
        problem: ServiceError | None = None
        for attempt in range(_ATTEMPTS):
            said = False
            tokens = self._server.pieces(
                messages, _TOKENS_PER_WORD * self.max_words, _sampling(seed + attempt, temperature)
            )
            try:
                async with aclosing(bounded(tokens, self.max_words)) as pieces:
                    async for piece in pieces:
                        said = True
                        yield piece
            except BrokenReply as error:
                if said:
                    raise
                problem = error
            if said:
                return
        raise problem or self._empty()

    def _empty(self) -> ServiceError:
        if self._server.thinks:
            return ServiceError(f"{self.name} only thinks and never answers; switch its thinking off, or name another")
        return ServiceError(f"{self.name} answered with an empty reply, twice; try another model")

    def messages(
        self, history: Sequence[Message], emotion: EmotionScores | None, tone: str | None = None
    ) -> list[dict[str, str]]:
        """Return the messages as they are sent; a history with its own system prompt is unchanged."""
        if not history:
            raise UsageError("a reply needs at least one message to answer")
        return [message.as_dict() for message in self.prompt(history, emotion, tone)]

    async def complete(self, messages: Sequence[dict[str, str]], tokens: int, **options: Any) -> str:
        """Return an answer of at most `tokens` tokens, with `options` of the API such as `response_format`."""
        sampling = _sampling(self.seed, self.temperature)
        async with aclosing(self._server.pieces(messages, tokens, {**sampling, **options})) as pieces:
            return "".join([piece async for piece in pieces])

    async def aclose(self) -> None:
        await self._server.aclose()

    def _temperature(self, attempt: int) -> float | None:
        """Return the temperature of a reply that is drawn again `attempt` times: higher, so that it differs."""
        return self.temperature if self.temperature is None else min(1.0, self.temperature + _WARMER * attempt)


def _sampling(seed: int, temperature: float | None) -> dict[str, Any]:
    return {"seed": seed} if temperature is None else {"seed": seed, "temperature": temperature}
