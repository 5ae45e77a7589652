"""Written exchanges that suit a message: one is shown to the model, or its reply is given as it is."""

from __future__ import annotations

import json
import random
import re
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from emolib.prompting.chat import Message, ReplyExample
from emolib.reply_examples.fit import fit
from emolib.reply_examples.index import MessageIndex
from emolib.reply_examples.words import WordVectors, content_words, words_of

__all__ = ["BUNDLED", "ReplyExamples"]

#: The folder of the conversations that emolib brings.
BUNDLED = Path(__file__).parent.parent / "data" / "sample"
#: An exchange is an example from this resemblance on.
_LEAST = 0.42
#: Of the nearest exchanges so many are looked at.
_LOOKED_AT = 12
#: What an exchange gains whose message was said in the same tone.
_SAME_TONE = 0.05
#: Exchanges that suit a message as well as the best one, but for this, are as good.
_CLOSE = 0.05
_REMEMBERED = 256
#: The first of several sentences.
_SENTENCE = re.compile(r".+?[.!?…](?=\s)")
_LEAST_WORDS = 4
#: A part of a reply has to suit a message by so much better than the whole.
_WHOLE_IS_BETTER = 0.08


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
        self._known: MessageIndex | None = None

    @classmethod
    def bundled(cls) -> ReplyExamples:
        """The exchanges that the adapter `companion` was trained on."""
        return cls.read(BUNDLED / "replies.jsonl")

    @classmethod
    def read(cls, path: Path) -> ReplyExamples:
        """The exchanges of a file of conversations (`emolib.data.conversations` has the format)."""
        return cls(_conversations(path))

    def start(self) -> None:
        """Read the conversations, if that has not been done."""
        _ = self.index

    def __len__(self) -> int:
        return len(self.index.exchanges)

    def attached(self, history: Sequence[Message], tone: str | None = None) -> list[Message]:
        """Return `history` with an example for each message of the user that has none yet, where one is found.

        What was chosen for a message after the same messages is chosen again, so that a server finds the beginning of
        the conversation as it was. A message without a word of its own ("yes") gets none, unless it is the first.
        `tone` is that of the last message.
        """
        found: list[Message] = []
        said: set[str] = set()
        for at, message in enumerate(history):
            if message.role == "user" and message.example is None and (not said or _says_something(message.content)):
                heard = tone if tone is not None and at == len(history) - 1 else message.emotion
                key = (message.content, heard or "", *sorted(said))
                if key not in self._chosen:
                    self._chosen[key] = self.find(message.content, heard, besides=said)
                    while len(self._chosen) > _REMEMBERED:
                        self._chosen.popitem(last=False)
                message = replace(message, example=self._chosen[key])
            elif message.role == "assistant":
                said.add(message.content)
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
        """Return the exchange whose reply suits `message` best (`fit`), of those whose message resembles it; or None.

        Among those that suit it alike one is drawn. Replies in `besides` have been said; exchanges of the
        conversation number `outside` are not looked at. With `nth` 2 the best is passed over, and so on, as long as
        there is another.
        """
        index = self.index
        scores = index.resemblance(message)
        scores[index.tones == tone] += _SAME_TONE
        near = [
            place
            for place in np.argsort(scores)[::-1][: _LOOKED_AT + len(besides)]
            if scores[place] >= _LEAST
            and index.exchanges[place].reply not in besides
            and index.numbers[place] != outside
        ]
        suiting = sorted((self._suiting(message, tone, place) for place in near), key=_fit, reverse=True)
        suiting = suiting[min(nth, len(near)) - 1 :]
        alike = [example for example in suiting if example.fit >= suiting[0].fit - _CLOSE]
        return self._chance.choice(alike) if alike else None

    def _suiting(self, message: str, tone: str | None, place: int) -> ReplyExample:
        """The exchange at `place` with its fit; of its reply the first sentence alone if that suits better."""
        found = self.index.exchanges[place]
        whole = found._replace(fit=fit(self.index, message, tone, place, found.reply))
        first = _SENTENCE.match(found.reply)
        if first is None or len(words_of(first[0])) < _LEAST_WORDS:
            return whole
        part = found._replace(reply=first[0], fit=fit(self.index, message, tone, place, first[0]))
        return part if part.fit > whole.fit + _WHOLE_IS_BETTER else whole

    @property
    def index(self) -> MessageIndex:
        """The exchanges and their words, read at the first use."""
        with self._lock:
            if self._known is None:
                self._known = MessageIndex(self._conversations, self._vectors or WordVectors.bundled())
            return self._known


def _fit(example: ReplyExample) -> float:
    return example.fit


def _says_something(message: str) -> bool:
    """Whether `message` has a word of its own, so that it can be understood without what was said before."""
    return bool(content_words(words_of(message)))


def _conversations(path: Path) -> Iterator[list[Message]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield [Message(m["role"], m["content"], m.get("emotion")) for m in json.loads(line)["messages"]]
