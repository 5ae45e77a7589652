"""Label scores from llama.cpp: a GGUF file on a server inside this process, or a llama-server elsewhere.

Each text is one request for one token. A bias lifts the first tokens of the labels above all others, so the
probabilities that come back are those of the labels among themselves. Labels that begin alike take one more request for
each place at which they part (`emolib.prompting.label_trie`). The server keeps the keys and values of the
prompt's constant part in each of its slots.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emolib.errors import MissingDependency, ModelError, ServiceError, UsageError
from emolib.labels import CARER, LabelSet
from emolib.llama.gguf import check_fits, read_header
from emolib.llama.server import CHAT_TASK, EmotionTask, LlamaServerOptions, start_server
from emolib.prompting.label_trie import LabelTrie
from emolib.prompting.templates import PAPER, Prompt, get_prompt

if TYPE_CHECKING:
    import requests

__all__ = ["LlamaScorer", "open_gguf", "open_server"]

_BIAS = 100.0
_SLOTS = 4
#: The most tokens of a prompt with its label, as on torch (`PromptEncoder`).
_MAX_TOKENS = 2048
_TEXTS_A_REQUEST = 32
_LOWEST = 1e-12


@dataclass(frozen=True)
class LlamaScorer:
    """Scores from a llama-server at `url`.

    `scales` is the scale of each adapter that the server has loaded, by number; every request carries them, so
    that nothing depends on what was asked before. `server` keeps a server inside this process alive.
    """

    url: str
    prompt: Prompt = PAPER
    scales: Sequence[float] = ()
    api_key: str | None = None
    server: Any = None
    seconds: float = 120.0
    labels: LabelSet = CARER

    def label_logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return the log-probabilities [N, K] of the labels among themselves, in their order.

        A text that does not fit into the context is cut at its end, where torch would cut it.
        """
        prompts = [self._prompt_tokens(text.strip()) for text in texts]
        first = self._among(prompts, self.trie.first_ids)
        forks = [self._among([[*ids, *fork.path] for ids in prompts], fork.tokens) for fork in self.trie.forks]
        return self.trie.scores(first, forks)

    def _among(self, prompts: Sequence[Sequence[int]], tokens: Sequence[int]) -> np.ndarray:
        """Return the log-probabilities [N, T] of `tokens` among themselves, after each prompt."""
        rows = []
        for start in range(0, len(prompts), _TEXTS_A_REQUEST):
            rows += self._complete(prompts[start : start + _TEXTS_A_REQUEST], tokens)
        return np.array(rows)

    @cached_property
    def trie(self) -> LabelTrie:
        """The decisions that lead to a label; ModelError if two labels are the same tokens."""
        ways = [tuple(tokens) for tokens in self._label_tokens]
        if len(set(ways)) < len(ways):
            raise ModelError(f"under the tokenizer of {self.url} two labels are the same tokens; use another model")
        return LabelTrie.of(ways, self._end_id)

    @cached_property
    def _end_id(self) -> int:
        """The token that ends a label; asked for only if one label begins another."""
        ways = [tuple(tokens) for tokens in self._label_tokens]
        if not any(a != b and b[: len(a)] == a for a in ways for b in ways):
            return -1
        found = self._post("/tokenize", {"content": self._end_of_text, "add_special": False, "parse_special": True})
        return found["tokens"][-1]

    @property
    def _end_of_text(self) -> str:
        return self._ask("GET", "/props").get("eos_token") or "</s>"

    @cached_property
    def _label_tokens(self) -> list[list[int]]:
        before = self._tokens(self.prompt.render("a"))
        found = []
        for label in self.labels:
            after = self._tokens(self.prompt.render("a", label))
            if after[: len(before)] != before:
                raise ModelError(f"the tokenizer of {self.url} joins {label!r} to the prompt; use another model")
            found.append(after[len(before) :])
        return found

    @cached_property
    def prompt_limit(self) -> int:
        """The most tokens of a prompt: what a slot of the server holds, less the longest label and its end."""
        slot = self._ask("GET", "/props").get("default_generation_settings", {}).get("n_ctx") or _MAX_TOKENS
        return min(slot, _MAX_TOKENS) - max(map(len, self._label_tokens)) - 1

    def _prompt_tokens(self, text: str) -> list[int]:
        ids = self._tokens(self.prompt.render(text))
        while len(ids) > self.prompt_limit and len(text) > 1:
            text = self._cut(text, len(ids) - self.prompt_limit)
            ids = self._tokens(self.prompt.render(text))
        return ids

    def _cut(self, text: str, excess: int) -> str:
        """Return `text` without its last `excess` tokens."""
        body = {"content": text, "add_special": False, "parse_special": False, "with_pieces": True}
        pieces = [token["piece"] for token in self._post("/tokenize", body)["tokens"]]
        kept = b"".join(map(_as_bytes, pieces[: max(len(pieces) - excess, 1)]))
        # Some tokenizers put a space before the first word.
        cut = kept.decode("utf-8", "ignore").strip()
        return cut if 0 < len(cut) < len(text) else text[:-1]

    def _tokens(self, text: str) -> list[int]:
        # parse_special off: a text that spells an end token is text.
        body = {"content": text, "add_special": True, "parse_special": False}
        return self._post("/tokenize", body)["tokens"]

    def _complete(self, prompts: Sequence[Sequence[int]], tokens: Sequence[int]) -> list[list[float]]:
        body: dict[str, Any] = {
            "prompt": [list(ids) for ids in prompts],
            "n_predict": 1,
            "logit_bias": [[token, _BIAS] for token in tokens],
            "samplers": ["temperature"],
            "temperature": 1.0,
            "n_probs": len(tokens),
            "post_sampling_probs": True,
            "cache_prompt": True,
            "lora": [{"id": number, "scale": scale} for number, scale in enumerate(self.scales)],
        }
        answer = self._post("/completion", body)
        answers = answer if isinstance(answer, list) else [answer]
        ordered = sorted(answers, key=lambda entry: entry.get("index", 0))
        return [self._row(entry, tokens) for entry in ordered]

    def _row(self, answer: Mapping[str, Any], tokens: Sequence[int]) -> list[float]:
        try:
            found = answer["completion_probabilities"][0]["top_probs"]
            by_token = {entry["id"]: entry["prob"] for entry in found}
            return [math.log(max(by_token.get(token, 0.0), _LOWEST)) for token in tokens]
        except (KeyError, IndexError, TypeError) as error:
            raise ServiceError(
                f"{self.url} gave no token probabilities: it is not a llama-server of this year"
            ) from error

    @cached_property
    def _session(self) -> requests.Session:
        try:
            import requests
        except ImportError:
            raise MissingDependency("requests", extra="tts") from None
        session = requests.Session()
        session.trust_env = False
        if self.api_key:
            session.headers["Authorization"] = f"Bearer {self.api_key}"
        return session

    def adapters(self) -> list[Mapping[str, Any]]:
        """The adapters that the server has loaded."""
        return self._ask("GET", "/lora-adapters")

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        import requests

        try:
            answer = self._session.request(method, self.url + path, json=body, timeout=(5, self.seconds))
        except requests.RequestException as error:
            raise ServiceError(
                f"no llama.cpp server answers at {self.url} ({type(error).__name__}); start it, or check the URL"
            ) from error
        if answer.status_code in (401, 403):
            raise ServiceError(f"{self.url} wants another API key; set EMOLIB_LLAMA_KEY")
        if not answer.ok:
            raise ServiceError(f"{self.url}{path} answered {answer.status_code}: {answer.text[:200]}")
        try:
            return answer.json()
        except ValueError as error:
            raise ServiceError(f"{self.url}{path} did not answer in JSON: it is not a llama-server") from error


def _as_bytes(piece: str | list[int]) -> bytes:
    """The server writes a piece that is not UTF-8 by itself as a list of bytes."""
    return piece.encode() if isinstance(piece, str) else bytes(piece)


def open_gguf(model: Path, adapter: Path | None = None) -> tuple[LlamaScorer, Mapping[str, Any]]:
    """A scorer of the GGUF file `model`, with the LoRA GGUF `adapter` on it, and the metadata that emolib wrote.

    ModelError where a file is missing, truncated, of a kind that llama.cpp does not load, or where the adapter is
    of another architecture.
    """
    header = read_header(model)
    if header.is_adapter:
        raise UsageError(f"{model} is an adapter; name the base GGUF and give this one as its adapter")
    notes = header.metadata
    if adapter is not None:
        adapter_header = read_header(adapter)
        check_fits(adapter_header, header)
        notes = adapter_header.metadata
    prompt = Prompt.from_template(notes.get("emolib.prompt", PAPER.name), notes.get("emolib.template", PAPER.template))
    tokens = int(header.metadata.get(f"{header.architecture}.context_length", _MAX_TOKENS))
    server = _serve(model, adapter, min(tokens, _MAX_TOKENS))
    scales = () if adapter is None else (1.0,)
    labels = _labels_of(notes.get("emolib.labels"))
    return LlamaScorer(server.listening_address, prompt, scales, server=server, labels=labels), notes


def _labels_of(written: str | None) -> LabelSet:
    """Return the label set in the metadata of a file; files of before there were others list the six emotions."""
    return LabelSet.from_dict(json.loads(written)) if written and written.startswith("{") else CARER


def open_server(url: str, api_key: str | None = None, adapter: str | None = None) -> tuple[LlamaScorer, EmotionTask]:
    """A scorer on the llama-server at `url`, and what the adapter there says of itself.

    `adapter` is the name of its file without the ending; it may be left out where one adapter is loaded, or none
    because the model has its adapter merged. ServiceError where nothing answers, or something else does; UsageError
    where it is not clear which adapter is meant.
    """
    scorer = LlamaScorer(url.rstrip("/").removesuffix("/v1"), api_key=api_key)
    loaded = scorer.adapters()
    names = [Path(str(entry["path"]).replace("\\", "/")).stem for entry in loaded]
    if not names and adapter is None:
        return scorer, EmotionTask()
    classifying = [n for n, entry in zip(names, loaded, strict=True) if entry.get("task_name") != CHAT_TASK]
    if adapter is None and len(classifying) == 1:
        adapter = classifying[0]
    if adapter not in names:
        there = ", ".join(names) or "none"
        asked = f"no adapter {adapter!r}" if adapter else "more than one adapter"
        raise UsageError(f"{url} has {asked}; name one of those that are loaded there with --adapter: {there}")
    task = EmotionTask.parse(loaded[names.index(adapter)].get("task_name", "")) or EmotionTask()
    scales = [float(name == adapter) for name in names]
    return replace(scorer, scales=scales, prompt=get_prompt(task.prompt, task.labels), labels=task.labels), task


def _serve(model: Path, adapter: Path | None, slot_tokens: int) -> Any:
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    options = LlamaServerOptions(slots=_SLOTS, slot_tokens=slot_tokens, threads=threads)
    return start_server(model, options, [adapter] if adapter else [])
