"""A chat-completions server as people run them: LM Studio, Ollama, llama.cpp, vLLM, OpenRouter, Azure and the like.

They differ in where the API is, in the fields and roles that they know, in how they stream, and in what they say while
a model is loading. What a server refuses is left out of every later request.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emolib.chat.guards import without_thoughts
from emolib.errors import ServiceError, UsageError
from emolib.openai_client import OpenAIServer, Refusal

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["BrokenReply", "ChatServer"]

_log = logging.getLogger(__name__)

#: The longest silence in seconds before the first word, for a server may be loading its model, and between two.
_FIRST_S, _BETWEEN_S = 120.0, 20.0
#: After this many seconds without a word a line says what is being waited for.
_NOTICE_S = 5.0
_LOADING_POLL_S = 1.0
_LONGEST_BACKOFF_S = 8.0
#: Tokens beside those of the reply for a model that thinks first.
_ROOM_FOR_THOUGHTS = 2048
#: Fields that switch thinking off. Ollama, vLLM and OpenRouter know the first, llama.cpp, vLLM and SGLang the second.
_NO_THOUGHTS: Mapping[str, Any] = {"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": False}}
#: Where servers put thoughts: DeepSeek, llama.cpp and vLLM; Ollama and OpenRouter.
_THOUGHTS = ("reasoning_content", "reasoning")
#: Models whose prompt ends inside the thoughts, so that their answer has the closing tag only.
_THINKERS = re.compile(r"\br1\b|qwq|think|reason", re.IGNORECASE)
_TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")

_PASSING = {0, 408, 409, 429, 500, 502, 503, 504}
_LOADING = re.compile(r"loading|warming|not ready", re.IGNORECASE)
_ROLES = re.compile(r"must alternate|system role|system message must|got system|role.{0,80}'system'", re.IGNORECASE)
_NO_MODEL = re.compile(
    r"(model|deployment).{0,200}\bnot\b|\b(no|unknown|invalid|valid) model", re.IGNORECASE | re.DOTALL
)
_TOO_LONG = re.compile(r"context (length|size|window)|maximum context|too many tokens", re.IGNORECASE)
#: Models of /models that do not chat.
_NO_CHAT = re.compile(r"embed|whisper|\btts\b|rerank|bge-|moderation|dall-e", re.IGNORECASE)
_DEFAULT_MODEL = "gpt-4o-mini"
_SHOWN_MODELS = 8


#: A chunk of a stream, or None for its end.
_Event = dict[str, Any] | None


class BrokenReply(ServiceError):
    """A stream that was opened and then failed: worth a second try while nothing was said."""


@dataclass
class _Patience:
    """How long a request may go on being repeated: until `deadline` (monotonic), and `retries` times after failures."""

    deadline: float
    retries: int
    failures: int = 0
    has_told: bool = False


@dataclass
class ChatServer:
    """The chat completions of `server`, for one model.

    `model` None takes the one that the server has. `timeout_s` is the longest silence in seconds; None is 120 before
    the first word, and 20 between two. `retries` counts new attempts after passing failures; a server that says that
    it is loading its model is asked again until the time is over. `extra_body` goes into every request.
    """

    server: OpenAIServer
    model: str | None
    timeout_s: float | None = None
    retries: int = 3
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.model is None and self.server.is_openai:
            self.model = _DEFAULT_MODEL
        #: How long the first word may take, in seconds.
        self.first_s = self.timeout_s or _FIRST_S
        #: Whether the model was seen to think before it answers.
        self.thinks = False
        self._client: AsyncOpenAI | None = None
        self._addresses = list(self.server.addresses)
        self._between_s = self.timeout_s or _BETWEEN_S
        self._refused: set[str] = set()
        self._alternates = False

    def open(self) -> None:
        """Import the SDK and create the client; a server for which no model is named is asked for its models.

        Raises UsageError if it has several.
        """
        self._opened()
        if self.model is None:
            self.model = self._only_model()

    async def aclose(self) -> None:
        """Close the connections; may be called twice."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def pieces(
        self, messages: Sequence[dict[str, str]], tokens: int, options: Mapping[str, Any]
    ) -> AsyncIterator[str]:
        """Yield the answer in pieces of at most `tokens` tokens together, without thoughts.

        `options` are fields of the API. Raises BrokenReply for a stream that breaks, ServiceError if there is no
        answer, and UsageError if a model has to be named.
        """
        if self.model is None:
            await asyncio.to_thread(self.open)
        content = self._content(messages, tokens, options)
        starts_inside = bool(_THINKERS.search(self.model or "")) and not self.thinks
        async with aclosing(without_thoughts(content, self._note_thoughts, starts_inside=starts_inside)) as pieces:
            async for piece in pieces:
                yield piece

    async def _content(
        self, messages: Sequence[dict[str, str]], tokens: int, options: Mapping[str, Any]
    ) -> AsyncGenerator[str, None]:
        said, finish = False, None
        async with aclosing(self._events(messages, tokens, options)) as events:
            async for event in events:
                # Usage and content-filter chunks come with no choices at all.
                for choice in (event.get("choices") or ())[:1]:
                    delta = choice.get("delta") or choice.get("message") or {}
                    finish = choice.get("finish_reason") or finish
                    self.thinks = self.thinks or any(delta.get(name) for name in _THOUGHTS)
                    if text := _text_of(delta.get("content")) or _text_of(choice.get("text")):
                        said = True
                        yield text
        if not said and finish == "content_filter":
            raise ServiceError(f"the content filter of {self.server.shown_url} kept the reply back; say it differently")
        # Thoughts that a server keeps to itself show in that nothing was left for the reply.
        self.thinks = self.thinks or (not said and finish == "length")

    async def _events(
        self, messages: Sequence[dict[str, str]], tokens: int, options: Mapping[str, Any]
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the events of an answer: what the server refuses is left out, and what passes is waited for."""
        patience = _Patience(time.monotonic() + self.first_s, self.retries)
        while True:
            begun = False
            fields = self._fields(tokens, options)
            notice = asyncio.get_running_loop().call_later(_NOTICE_S, self._tell, patience, "has not answered yet")
            try:
                async with aclosing(self._exchange(self._arranged(messages), fields)) as events:
                    async for event in events:
                        notice.cancel()
                        begun = True
                        yield event
                return
            except Refusal as refusal:
                if begun:
                    raise BrokenReply(self.server.sentence(refusal, str(self.model))) from None
                if not (self._adapt(refusal, fields) or await self._wait(refusal, patience)):
                    raise await asyncio.to_thread(self._final, refusal) from None
            finally:
                notice.cancel()

    async def _exchange(
        self, messages: list[dict[str, str]], fields: dict[str, Any]
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Ask once and yield the events of the answer; raises Refusal for an error, whatever its HTTP status."""
        completions: Any = self._opened().chat.completions.with_streaming_response
        limit = self.server.time_limit(self.first_s)
        async with AsyncExitStack() as exits:
            with self.server.refusals(self.first_s):
                request = completions.create(model=self.model, messages=messages, extra_body=fields, timeout=limit)
                response = await exits.enter_async_context(request)
            # The end of a body without a length is told from a lost connection by its last event only.
            whole = bool({"transfer-encoding", "content-length"} & set(response.headers))
            async for event in self._in_time(_parsed(self._lines(response))):
                if event is None:
                    return
                whole = whole or any(choice.get("finish_reason") for choice in event.get("choices") or ())
                yield event
        if not whole:
            raise BrokenReply(f"{self.server.shown_url} broke off in the middle of a reply; ask again")

    async def _lines(self, response: Any) -> AsyncIterator[str]:
        with self.server.errors(str(self.model), BrokenReply):
            if "event-stream" in response.headers.get("content-type", ""):
                async for line in response.iter_lines():
                    yield line
            else:
                for line in (await response.text()).splitlines():
                    yield line

    async def _in_time(self, events: AsyncGenerator[_Event, None]) -> AsyncGenerator[_Event, None]:
        """Yield `events`; raises BrokenReply for a silence, which comments do not break."""
        silence_s = self.first_s
        async with aclosing(events):
            while True:
                try:
                    async with asyncio.timeout(silence_s):
                        event = await anext(events)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    raise BrokenReply(self.server.silence(silence_s)) from None
                yield event
                silence_s = self._between_s

    def _fields(self, tokens: int, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a request beside model and messages, without those that the server refused."""
        fields: dict[str, Any] = {"stream": True, **options}
        # OpenAI's newer models refuse `max_tokens`; most other servers know nothing else.
        limits = reversed(_TOKEN_LIMITS) if self.server.is_openai else _TOKEN_LIMITS
        if limit := next((name for name in limits if name not in self._refused), None):
            fields[limit] = tokens + _ROOM_FOR_THOUGHTS * self.thinks
        if not self.server.is_openai:
            fields |= _NO_THOUGHTS
        return {name: value for name, value in fields.items() if name not in self._refused} | dict(self.extra_body)

    def _arranged(self, messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
        """Return the messages, for a model that knows no system messages as turns of user and assistant."""
        if not self._alternates:
            return list(messages)
        turns: list[dict[str, str]] = []
        for message in messages:
            role = "assistant" if message["role"] == "assistant" else "user"
            if turns and turns[-1]["role"] == role:
                turns[-1] = {"role": role, "content": f"{turns[-1]['content']}\n\n{message['content']}"}
            else:
                turns.append({"role": role, "content": message["content"]})
        return turns

    def _adapt(self, refusal: Refusal, fields: Mapping[str, Any]) -> bool:
        """Change what is sent, or where to, after what the server said; return whether there was anything to change."""
        if refusal.is_wrong_address:
            return self._take_next_address()
        if refusal.status not in (200, 400, 422, 500) or _TOO_LONG.search(refusal.body):
            return False
        own = set(fields) - set(self.extra_body)
        if named := {name for name in own if refusal.mentions(name)}:
            self._refused |= named
            return True
        if not self._alternates and _ROLES.search(refusal.body):
            self._alternates = True
            return True
        return False

    def _take_next_address(self) -> bool:
        if len(self._addresses) < 2:
            return False
        del self._addresses[0]
        self._opened().base_url = self._addresses[0]
        return True

    async def _wait(self, refusal: Refusal, patience: _Patience) -> bool:
        """Wait until it is time to ask again; return False if that leads nowhere or takes too long."""
        if refusal.status in (200, 400, 404, 500, 503) and _LOADING.search(refusal.body):
            self._tell(patience, "is loading its model")
            pause = refusal.retry_after_s or _LOADING_POLL_S
        elif refusal.status in _PASSING and patience.failures < patience.retries and not refusal.is_final:
            pause = refusal.retry_after_s or min(0.5 * 2**patience.failures, _LONGEST_BACKOFF_S)
            patience.failures += 1
        else:
            return False
        if time.monotonic() + pause > patience.deadline:
            return False
        await asyncio.sleep(pause)
        return True

    def _tell(self, patience: _Patience, what: str) -> None:
        if not patience.has_told:
            patience.has_told = True
            url, option = self.server.shown_url, self.server.timeout_option
            _log.warning("%s %s; waiting up to %g s (%s)", url, what, self.first_s, option)

    def _final(self, refusal: Refusal) -> ServiceError:
        """Return the error of a refusal that nothing helps against; of an unknown model with those that there are."""
        sentence = self.server.sentence(refusal, str(self.model))
        if refusal.status in (200, 400, 404, 422) and _NO_MODEL.search(refusal.body) and not refusal.is_wrong_address:
            names = [name for name in self.server.models() if name != self.model]
            if names:
                return ServiceError(f"{sentence}; it has {_listed(names)}: {self._how_to_name(names[0])}")
        return (BrokenReply if refusal.status == 200 else ServiceError)(sentence)

    def _only_model(self) -> str:
        names = [name for name in self.server.models() if not _NO_CHAT.search(name)]
        if len(names) > 1 and _DEFAULT_MODEL not in names:
            raise UsageError(f"{self.server.shown_url} has {_listed(names)}; {self._how_to_name(names[0])}")
        # A server that lists none has one, and takes any name for it.
        return (names[0] if len(names) == 1 else _DEFAULT_MODEL) if names else "default"

    def _how_to_name(self, example: str) -> str:
        return f"name one behind the address, as in {self.server.shown_url}#{example}"

    def _note_thoughts(self) -> None:
        self.thinks = True

    def _opened(self) -> AsyncOpenAI:
        if self._client is None:
            self._client = self.server.async_client()
            self._client.base_url = self._addresses[0]
        return self._client


def _event(data: str, *, whole: bool = False) -> dict[str, Any]:
    """Return the event that `data` holds in JSON; Refusal for an error, and for what is none. `whole`: a whole body."""
    try:
        event = json.loads(data)
    except ValueError:
        raise Refusal(200, data) from None
    if not isinstance(event, dict) or event.get("error") or event.get("object") == "error":
        raise Refusal(200, data)
    if whole and not event.get("choices"):
        raise Refusal(200, data)
    return event


async def _parsed(lines: AsyncIterator[str]) -> AsyncGenerator[_Event, None]:
    """Yield the events of `lines`, None for [DONE], and a body that is no stream as one event."""
    rest: list[str] = []
    async for line in lines:
        name, _, data = line.partition(":")
        if name == "data" or (name == "error" and data.strip().startswith("{")):
            yield None if data.strip() == "[DONE]" else _event(data)
        elif name not in ("", "event", "id", "retry"):
            rest.append(line)
    if rest:
        yield _event("\n".join(rest), whole=True)


def _text_of(content: Any) -> str:
    """Return the text of a content, which is a string or a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_MODELS} more" if len(names) > _SHOWN_MODELS else ""
    return f"the models {', '.join(names[:_SHOWN_MODELS])}{more}" if len(names) > 1 else f"the model {names[0]}"
