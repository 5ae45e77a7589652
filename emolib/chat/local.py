"""Replies from a GGUF file through the llama.cpp server of xllamacpp, inside this process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emolib.chat.compatible import OpenAIReplyModel
from emolib.chat.embedded import EMBEDDED_NAME, embedded_chat_gguf
from emolib.chat.messages import Message
from emolib.chat.tone import NEUTRAL, TONES, PromptStyle, companion_prompt, short_prompt, tone_for
from emolib.emotions import EMOTIONS
from emolib.errors import ModelError
from emolib.labels import EmotionScores
from emolib.llama.server import CHAT_TASK, LlamaServerOptions, start_server, thread_budget
from emolib.reply_examples import ReplyExamples

__all__ = ["COMPANION_TEMPERATURE", "LlamaReplyModel", "ServerAdapters", "server_adapters"]

#: What is remembered of prompts: the two openings, and the present conversation after either.
_REMEMBERED_MIB = 256
_LONGEST_OPENING_S = 30
#: A reply that the server did not write is read so long after it was given: its sound comes first.
_READ_AFTER_S = 1.0
#: Of the context, what the messages may take; the rest is for the opening and the reply.
_SHARE_OF_HISTORY = 0.7
_TOKENS_PER_WORD = 1.6
#: How freely a companion model chooses its words.
COMPANION_TEMPERATURE = 0.2

# A model this small falls into repeating a phrase. llama.cpp's DRY sampler stops that, and unlike a
# plain repetition penalty leaves the words of the question free. Its four usual breakers, each looked for in all of the
# vocabulary, cost every request 20 ms, one of them 5.
_NO_LOOPS = {"dry_multiplier": 0.8, "dry_allowed_length": 4, "dry_sequence_breakers": ["\n"]}


@dataclass
class LlamaReplyModel:
    """Replies from a GGUF file (a `ReplyModel`).

    `gguf` defaults to the embedded SmolLM2-135M-Instruct; the chat template is the file's own. `adapter` is one for
    the task chat on that model: "companion", a run folder, an adapter folder or a LoRA GGUF; without one (None) the
    model answers by examples (`short_prompt`). `examples` are shown to a model that was trained with them, each before
    the message that it resembles; the reply of one that suits the message with a probability of `least_fit` is given as
    it is. The server listens on a free port of 127.0.0.1, is loaded at the first
    reply (or by `start`, which also has it read what stands before every history) and is freed by `aclose`. `threads`
    bounds the cores that it computes on, `timeout` its silences in seconds as in `OpenAIReplyModel`.
    """

    gguf: Path | None = None
    adapter: str | Path | None = None
    examples: ReplyExamples | None = None
    least_fit: float = 0.4
    threads: int | None = None
    context: int = 2048
    max_words: int = 40
    temperature: float = 0.2
    seed: int = 0
    timeout: float | None = None

    def __post_init__(self) -> None:
        self._base: LlamaReplyModel | None = None
        self._lock = threading.Lock()
        self._server: Any = None
        self._model: OpenAIReplyModel | None = None
        self._has_read = False
        self._later: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        adapter = f" with {Path(self.adapter).stem}" if self.adapter else ""
        return f"{Path(self.gguf).stem if self.gguf else EMBEDDED_NAME}{adapter} on llama.cpp"

    @property
    def url(self) -> str | None:
        """The address of its server, None while it is not loaded."""
        return self._server.listening_address if self._server else None

    @property
    def patience_s(self) -> float:
        """The seconds after which nobody has to wait for a word any more; 0 if no `timeout` is given."""
        return self._model.patience_s if self._model and self.timeout else 0.0

    def start(self) -> None:
        """Load the file and have what stands before every history read, if that has not been done."""
        if self.examples:
            self.examples.start()
        self._started()
        with self._lock:
            if not self._has_read:
                self._has_read = True
                _read_openings(self._server.listening_address, self._prompt)

    @property
    def _prompt(self) -> PromptStyle:
        return companion_prompt if self.adapter else short_prompt

    def _started(self) -> OpenAIReplyModel:
        with self._lock:
            if self._model is None:
                path = self._path()
                adapters = [_lora_file(self.adapter)] if self.adapter else []
                self._server = _serve(path, adapters, self.threads or thread_budget(), self.context)
                self._model = OpenAIReplyModel(
                    model=path.stem,
                    base_url=self._server.listening_address + "/v1",
                    api_key="local",
                    max_words=self.max_words,
                    timeout=self.timeout,
                    temperature=self.temperature,
                    seed=self.seed,
                    prompt=self._prompt,
                    # The scale is said in each request: what a server takes for granted has changed before.
                    extra_body=_NO_LOOPS | ({"lora": [{"id": 0, "scale": 1.0}]} if adapters else {}),
                    retries=1,
                )
                self._model.start()
            return self._model

    async def stream(
        self, history: Sequence[Message], emotion: EmotionScores | None, tone: str | None = None
    ) -> AsyncIterator[str]:
        """Yield the reply in pieces of a token; ModelError if the file cannot be loaded.

        Of a history that does not fit into `context` the beginning is left out, and of a message that does not fit by
        itself its beginning too.
        """
        model = await asyncio.to_thread(self._started)
        if self._later:
            self._later.cancel()
        if self.examples and history and history[0].role != "system":
            history = self.examples.attached(history, tone or tone_for(emotion))
            example = history[-1].example
            if example and example.fit >= self.least_fit and (tone is None or tone in TONES):
                self._later = asyncio.create_task(self._read_later(history, example.reply))
                yield example.reply
                return
        async with aclosing(model.stream(_fitting(history, self.context), emotion, tone)) as pieces:
            async for piece in pieces:
                yield piece

    async def _read_later(self, history: Sequence[Message], reply: str) -> None:
        """Have the server read a reply that it did not write, while it is heard: the next one comes sooner."""
        await asyncio.sleep(_READ_AFTER_S)
        said = _fitting([*history, Message("assistant", reply), Message("user", ".")], self.context)
        with self._lock:
            url = self._server.listening_address if self._server else None
        if url:
            await asyncio.to_thread(_read, url, self._prompt(said, None, NEUTRAL))

    async def complete(self, messages: Sequence[dict[str, str]], tokens: int, **options: Any) -> str:
        """Return an answer of at most `tokens` tokens by the base model, with `options` such as `response_format`.

        An adapter answers replies alone: the base model has a server of its own then, so that nothing that one has
        evaluated is taken up by the other.
        """
        if self.adapter:
            self._base = self._base or LlamaReplyModel(
                self.gguf, threads=self.threads, context=self.context, timeout=self.timeout
            )
            return await self._base.complete(messages, tokens, **options)
        model = await asyncio.to_thread(self._started)
        return await model.complete(messages, tokens, **options)

    async def aclose(self) -> None:
        """Stop the server and free the weights."""
        with self._lock:
            model, self._model = self._model, None
            server, self._server = self._server, None
            self._has_read = False
            base, self._base = self._base, None
        if self._later:
            self._later.cancel()
        # Not under the lock: a second call in the same event loop would wait for it for ever.
        for each in (model, base):
            if each is not None:
                await each.aclose()
        # llama.cpp stops its threads when the last reference to the server goes.
        del server

    def _path(self) -> Path:
        return embedded_chat_gguf() if self.gguf is None else Path(self.gguf)


@dataclass(frozen=True)
class ServerAdapters:
    """What a chat request to a llama-server has to carry: a scale for each adapter that is loaded there.

    An adapter for chat that emolib exported gets scale 1 (`replies`: there is one), every other scale 0, whatever an
    earlier request asked for.
    """

    scales: tuple[float, ...] = ()

    @property
    def replies(self) -> bool:
        """Whether an adapter of the server replies, rather than its base model."""
        return 1.0 in self.scales

    @property
    def body(self) -> dict[str, Any]:
        """The field for `extra_body`; empty if no adapter is loaded."""
        return (
            {"lora": [{"id": number, "scale": scale} for number, scale in enumerate(self.scales)]}
            if self.scales
            else {}
        )


def server_adapters(url: str, api_key: str | None = None) -> ServerAdapters:
    """Ask the llama-server at `url` (with or without /v1) for its adapters.

    None for a server of another kind, and for one that does not answer within two seconds.
    """
    import requests

    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{url.rstrip('/').removesuffix('/v1')}/lora-adapters", headers=headers, timeout=2)
            loaded = answer.json() if answer.ok else []
    except (requests.RequestException, ValueError):
        return ServerAdapters()
    if not isinstance(loaded, list):
        return ServerAdapters()
    tasks = [entry.get("task_name", "") for entry in loaded if isinstance(entry, dict)]
    companion = tasks.index(CHAT_TASK) if CHAT_TASK in tasks else None
    return ServerAdapters(tuple(float(number == companion) for number in range(len(tasks))))


def _fitting(history: Sequence[Message], context: int) -> list[Message]:
    """Return the end of `history` that fits into `context` tokens (estimated), always with the last message."""
    left = context * _SHARE_OF_HISTORY / _TOKENS_PER_WORD
    opening = [history[0]] if len(history) > 1 and history[0].role == "system" else []
    kept: list[Message] = []
    for message in reversed(history[len(opening) :]):
        words = message.content.split()
        shown = len(" ".join(message.example[:2]).split()) if message.example else 0
        if kept and len(words) + shown > left:
            break
        kept.append(message if len(words) <= left else replace(message, content=" ".join(words[-int(left) :])))
        left -= len(words) + shown
    return [*opening, *reversed(kept)]


def _serve(gguf: Path, adapters: Sequence[Path], threads: int, context: int) -> Any:
    if not gguf.is_file():
        raise ModelError(f"there is no GGUF file {gguf}; `emolib doctor` shows where models are looked for")
    options = LlamaServerOptions(
        threads=threads,
        slot_tokens=context,
        remembered_mib=_REMEMBERED_MIB,
        adapter_scale=1.0 if adapters else 0.0,
    )
    return start_server(gguf, options, adapters)


def _lora_file(adapter: str | Path) -> Path:
    from emolib.adapter_files import lora_file

    return lora_file(adapter, task="chat")


def _read_openings(url: str, prompt: PromptStyle) -> None:
    """Have the server evaluate the messages before the history, for any tone, so that no reply waits for it.

    What goes wrong here goes wrong at the first reply as well, and is told there.
    """
    for tone in (NEUTRAL, EMOTIONS[0]):
        _read(url, prompt([Message("user", "Hi.")], None, tone))


def _read(url: str, messages: Sequence[Message]) -> None:
    import requests

    with requests.Session() as session, contextlib.suppress(requests.RequestException):
        session.trust_env = False
        body = {"messages": [message.as_dict() for message in messages], "max_tokens": 1}
        session.post(f"{url}/v1/chat/completions", json=body, timeout=_LONGEST_OPENING_S)
