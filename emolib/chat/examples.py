"""Written exchanges that resemble a message: what a small model is shown before it replies.

A model of 135 million parameters knows little of people, but it can adapt a reply that somebody wrote. So each message
of the user is preceded by the exchange of the corpus whose message resembles it most, if one does ("retrieve and
refine", Weston et al. 2018, arXiv:1808.04776); the adapter was trained with such examples, the exchanges of other
conversations. Resemblance is the mean of two cosines: of the words and word pairs by their TF-IDF, and of the mean word
vectors by their inverse frequency (Arora et al. 2017, "A simple but tough-to-beat baseline"). The word vectors are the
input embeddings of SmolLM2-135M in 96 dimensions (`benchmarks/_word_vectors.py`).
"""

from __future__ import annotations

import json
import math
import random
import re
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emolib.errors import ModelError
from emolib.prompting.chat import Message, ReplyExample

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ReplyExamples", "WordVectors"]

_BUNDLED = Path(__file__).parent.parent / "data" / "sample"
_WORD = re.compile(r"[\w']+")
#: An exchange is an example from this resemblance on.
_LEAST = 0.42
#: Exchanges that resemble a message as much as the best one, but for this, are as good.
_CLOSE = 0.04
#: Of the nearest exchanges so many are looked at.
_LOOKED_AT = 32
#: What an exchange gains whose message was said in the same tone.
_SAME_TONE = 0.05
#: A longer message or reply is no example: it would take more of the prompt than it gives.
_LONGEST_WORDS = 30
_REMEMBERED = 256
#: Words that the vectors hold apart though people mean the same.
_SAME = {
    "mum": "mother", "mom": "mother", "mam": "mother", "mummy": "mother", "mommy": "mother", "dad": "father",
    "daddy": "father", "grandma": "grandmother", "gran": "grandmother", "granny": "grandmother", "nan": "grandmother",
    "grandpa": "grandfather", "grandad": "grandfather", "granddad": "grandfather", "flat": "apartment",
    "flatmate": "roommate", "mobile": "phone", "telly": "television", "tv": "television", "pal": "friend",
    "mate": "friend", "bike": "bicycle", "fridge": "refrigerator", "uni": "university",
}  # fmt: skip
#: Words that refer to somebody who was named before.
_REFERRING = frozenset("he him his she her hers they them their it one there then that those this".split())
#: Words of a reply that need no earlier turn, though one had them.
_COMMON = frozenset(
    "about again always another anything back because been before better come could does doing done down even every"
    " feel feeling first from gone good great happy hard have hear help here hope just keep kind know last less like"
    " little long made make many maybe more morning much need never nice night nothing once only other over really"
    " right same should some something sorry still take talk tell than thank thanks that's them then there these"
    " they thing things think this time today tomorrow tonight very want week well went were what what's when where"
    " which while will with without won't would years you'd you'll you're you've your yours".split()
)


@dataclass(frozen=True)
class WordVectors:
    """Vectors of words: `rows` maps a word to its row of `table` (words, dimensions), float32, rows of length 1."""

    rows: dict[str, int]
    table: NDArray[np.float32]

    @classmethod
    @cache
    def bundled(cls) -> WordVectors:
        """The vectors that emolib brings."""
        from safetensors.numpy import load

        data = load(resources.files("emolib.chat").joinpath("word_vectors.safetensors").read_bytes())
        words = data["words"].tobytes().decode().split("\n")
        table = data["vectors"].astype(np.float32)
        table /= np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-6)
        return cls({word: row for row, word in enumerate(words)}, table)


class ReplyExamples:
    """Exchanges of written conversations, found by their message.

    `conversations` are sequences of messages; of later turns those exchanges count whose reply stands by itself. They
    are read at the first use, or by `start`.
    """

    def __init__(
        self, conversations: Iterable[Sequence[Message]], vectors: WordVectors | None = None, *, seed: int | None = None
    ) -> None:
        self._conversations = conversations
        self._vectors = vectors
        self._chance = random.Random(seed)
        self._chosen: OrderedDict[tuple[str, ...], ReplyExample | None] = OrderedDict()
        self._lock = threading.Lock()
        self._known: _Index | None = None

    @classmethod
    def bundled(cls) -> ReplyExamples:
        """The exchanges that the adapter `companion` was trained on."""
        return cls.read(_BUNDLED / "replies.jsonl")

    @classmethod
    def shown_to(cls, adapter: str | Path) -> ReplyExamples | None:
        """The exchanges that an adapter was trained with, by `examples` in its emolib.json; None without.

        The file lies beside the adapter, or is one that emolib brings. ModelError if it is missing.
        """
        from emolib.emotion_model import find_adapter, read_adapter_notes

        if str(adapter).lower().endswith(".gguf"):
            return None
        folder = find_adapter(adapter, task="chat").adapter
        name = read_adapter_notes(folder).get("examples") if folder else None
        if not folder or not name:
            return None
        file = next((place / name for place in (folder, _BUNDLED) if (place / name).is_file()), None)
        if file is None:
            raise ModelError(f"the adapter {adapter} was trained with the examples {name}, which lie nowhere near it")
        return cls.read(file)

    @classmethod
    def read(cls, path: Path) -> ReplyExamples:
        """The exchanges of a file of conversations (`emolib.data.conversations` has the format)."""
        return cls(_conversations(path))

    def start(self) -> None:
        """Read the conversations, if that has not been done."""
        self._index()

    def __len__(self) -> int:
        return len(self._index().exchanges)

    def attached(self, history: Sequence[Message], tone: str | None = None) -> list[Message]:
        """Return `history` with an example for each message of the user that has none yet, where one is found.

        What was chosen for a message after the same messages is chosen again, so that a server finds the beginning of
        the conversation as it was. `tone` is that of the last message.
        """
        found: list[Message] = []
        for at, message in enumerate(history):
            if message.role == "user" and message.example is None:
                heard = tone if tone is not None and at == len(history) - 1 else message.emotion
                said = {other.content for other in history[:at] if other.role == "assistant"}
                key = (message.content, heard or "", *sorted(said))
                if key not in self._chosen:
                    self._chosen[key] = self.find(message.content, heard, besides=said)
                    while len(self._chosen) > _REMEMBERED:
                        self._chosen.popitem(last=False)
                message = replace(message, example=self._chosen[key])
            found.append(message)
        return found

    def find(
        self,
        message: str,
        tone: str | None = None,
        *,
        besides: Collection[str] = (),
        outside: int | None = None,
        nth: int = 1,
    ) -> ReplyExample | None:
        """Return an exchange whose message resembles `message`, None if none does.

        Among those that resemble it alike one is drawn. Replies in `besides` have been said; exchanges of the
        conversation number `outside` are not looked at. With `nth` 2 the nearest is passed over, and so on, as long as
        there is another.
        """
        index = self._index()
        scores = index.resemblance(message)
        scores[index.tones == tone] += _SAME_TONE
        near = [
            place
            for place in np.argsort(scores)[::-1][: _LOOKED_AT + len(besides)]
            if scores[place] >= _LEAST
            and index.exchanges[place].reply not in besides
            and index.numbers[place] != outside
        ]
        near = near[min(nth, len(near)) - 1 :]
        alike = [place for place in near if scores[place] >= scores[near[0]] - _CLOSE]
        return index.exchanges[self._chance.choice(alike)] if alike else None

    def _index(self) -> _Index:
        with self._lock:
            if self._known is None:
                self._known = _Index(self._conversations, self._vectors or WordVectors.bundled())
            return self._known


class _Index:
    """Exchanges by the words of their messages.

    `exchanges`, and for each of them: `numbers` (its conversation), `tones`, rows of `_means` (mean word vector).
    """

    def __init__(self, conversations: Iterable[Sequence[Message]], vectors: WordVectors) -> None:
        self._vectors = vectors
        found = [
            (exchange, tone, number)
            for number, messages in enumerate(conversations)
            for exchange, tone in _standing_alone(messages)
        ]
        self.exchanges = [exchange for exchange, _, _ in found]
        self.tones = np.array([tone for _, tone, _ in found], object)
        self.numbers = [number for _, _, number in found]
        words = [_words(exchange.message) for exchange in self.exchanges]
        seen = Counter(term for message in words for term in set(_terms(message)))
        self._rarity = {term: math.log((1 + len(words)) / (1 + times)) + 1.0 for term, times in seen.items()}
        self._unseen = math.log(1.0 + len(words)) + 1.0
        postings: dict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
        for place, message in enumerate(words):
            for term, weight in self._weights(message).items():
                places, weights = postings[term]
                places.append(place)
                weights.append(weight)
        self._postings = {
            term: (np.array(at), np.array(weights, np.float32)) for term, (at, weights) in postings.items()
        }
        self._means = np.zeros((len(words), vectors.table.shape[1]), np.float32)
        for row, message in zip(self._means, words, strict=True):
            row[:] = self._mean_vector(message)

    def resemblance(self, message: str) -> NDArray[np.float32]:
        """The mean of the two cosines of `message` and each known one, shape (exchanges,)."""
        said = _words(message)
        cosines = self._means @ self._mean_vector(said)
        for term, weight in self._weights(said).items():
            if term in self._postings:
                places, weights = self._postings[term]
                cosines[places] += weight * weights
        return cosines / 2

    def _weights(self, words: Sequence[str]) -> dict[str, float]:
        weights = {
            term: (1.0 + math.log(times)) * self._rarity.get(term, self._unseen)
            for term, times in Counter(_terms(words)).items()
        }
        length = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
        return {term: weight / length for term, weight in weights.items()}

    def _mean_vector(self, words: Sequence[str]) -> NDArray[np.float32]:
        known = [word for word in dict.fromkeys(words) if word in self._vectors.rows]
        rarity = np.array([max(self._rarity.get(word, self._unseen) - 1.0, 0.1) for word in known], np.float32)
        mean = rarity @ self._vectors.table[[self._vectors.rows[word] for word in known]]
        return mean / max(float(np.linalg.norm(mean)), 1e-6)


def _conversations(path: Path) -> Iterator[list[Message]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield [Message(m["role"], m["content"], m.get("emotion")) for m in json.loads(line)["messages"]]


def _standing_alone(messages: Sequence[Message]) -> Iterator[tuple[ReplyExample, str | None]]:
    """The exchanges of a conversation whose reply needs nothing that was said before, each with its tone."""
    before: set[str] = set()
    turns = [message for message in messages if message.role != "system"]
    for at in range(0, len(turns) - 1, 2):
        asked, answered = (_words(message.content) for message in turns[at : at + 2])
        added = set(answered) - set(asked)
        alone = not at or not added & (before | _REFERRING)
        if alone and max(len(asked), len(answered)) <= _LONGEST_WORDS:
            yield ReplyExample(turns[at].content, turns[at + 1].content), turns[at].emotion
        before |= {word for word in (*asked, *answered) if len(word) > 3 and word not in _COMMON}


def _terms(words: Sequence[str]) -> Iterator[str]:
    yield from words
    for left, right in pairwise(words):
        yield f"{left} {right}"


def _words(text: str) -> list[str]:
    plain = text.lower().replace("’", "'").replace("passed away", "died")
    return [_SAME.get(word, word) for word in _WORD.findall(plain)]
