"""The messages of written exchanges, found by their words and by the sense of them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from emolib.prompting.chat import Message, ReplyExample
from emolib.reply_examples.words import WordVectors, content_words, terms_of, words_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MessageIndex"]

#: A longer message or reply is no example: it would take more of the prompt than it gives.
_LONGEST_WORDS = 30
#: A word that so many replies to messages without a word of their own have presumes nothing.
_SEVERAL = 4
#: Fewer of such exchanges tell nothing.
_ENOUGH = 100
#: Words that refer to somebody who was named before.
_REFERRING = frozenset("he him his she her hers they them their it one there then that those this".split())


class MessageIndex:
    """Exchanges by the words of their messages.

    `exchanges`, and for each of them `numbers` (of its conversation) and `tones`.
    """

    def __init__(self, conversations: Iterable[Sequence[Message]], vectors: WordVectors) -> None:
        self.vectors = vectors
        found = [
            (exchange, tone, number)
            for number, messages in enumerate(conversations)
            for exchange, tone in _standing_alone(messages)
        ]
        found = _without_presumptions(found)
        self.exchanges = [exchange for exchange, _, _ in found]
        self.tones = np.array([tone for _, tone, _ in found], object)
        self.numbers = [number for _, _, number in found]
        words = [words_of(exchange.message) for exchange in self.exchanges]
        seen = Counter(term for message in words for term in set(terms_of(message)))
        self._inverse = {term: math.log((1 + len(words)) / (1 + times)) + 1.0 for term, times in seen.items()}
        self._unseen = math.log(1.0 + len(words)) + 1.0
        postings: dict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
        for place, message in enumerate(words):
            for term, weight in self.weights(message).items():
                places, weights = postings[term]
                places.append(place)
                weights.append(weight)
        self._postings = {
            term: (np.array(at), np.array(weights, np.float32)) for term, (at, weights) in postings.items()
        }
        self._means = np.zeros((len(words), vectors.table.shape[1]), np.float32)
        for row, message in zip(self._means, words, strict=True):
            row[:] = self.mean_vector(message)

    def resemblance(self, message: str) -> NDArray[np.float32]:
        """The mean of the two cosines of `message` and each known one, shape (exchanges,)."""
        said = words_of(message)
        cosines = self._means @ self.mean_vector(said)
        for term, weight in self.weights(said).items():
            if term in self._postings:
                places, weights = self._postings[term]
                cosines[places] += weight * weights
        return cosines / 2

    def rarity(self, word: str) -> float:
        """How rare `word` is among the messages: the logarithm of its inverse frequency, at least 0.1."""
        return max(self._inverse.get(word, self._unseen) - 1.0, 0.1)

    def weights(self, words: Sequence[str]) -> dict[str, float]:
        """The TF-IDF of the words and word pairs, as a vector of length 1."""
        weights = {
            term: (1.0 + math.log(times)) * self._inverse.get(term, self._unseen)
            for term, times in Counter(terms_of(words)).items()
        }
        length = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
        return {term: weight / length for term, weight in weights.items()}

    def mean_vector(self, words: Sequence[str]) -> NDArray[np.float32]:
        """The mean of the vectors of `words` by their rarity, of length 1 (0 if none is known)."""
        known = [word for word in dict.fromkeys(words) if word in self.vectors.rows]
        rarity = np.array([self.rarity(word) for word in known], np.float32)
        mean = rarity @ self.vectors.table[[self.vectors.rows[word] for word in known]]
        return mean / max(float(np.linalg.norm(mean)), 1e-6)


def _without_presumptions(
    found: list[tuple[ReplyExample, str | None, int]],
) -> list[tuple[ReplyExample, str | None, int]]:
    """Leave out the replies to messages without a word of their own ("hi", "thanks") that speak of something special.

    Their authors knew who was speaking; what several authors say to such messages presumes nothing.
    """
    replied = {
        place: set(content_words(words_of(exchange.reply)))
        for place, (exchange, _, _) in enumerate(found)
        if not content_words(words_of(exchange.message))
    }
    if len(replied) < _ENOUGH:
        return found
    times = Counter(word for words in replied.values() for word in words)
    return [each for place, each in enumerate(found) if all(times[word] >= _SEVERAL for word in replied.get(place, ()))]


def _standing_alone(messages: Sequence[Message]) -> Iterator[tuple[ReplyExample, str | None]]:
    """The exchanges of a conversation whose reply needs nothing that was said before, each with its tone."""
    before: set[str] = set()
    turns = [message for message in messages if message.role != "system"]
    for at in range(0, len(turns) - 1, 2):
        asked, answered = (words_of(message.content) for message in turns[at : at + 2])
        added = set(answered) - set(asked)
        alone = not at or not added & (before | _REFERRING)
        if alone and max(len(asked), len(answered)) <= _LONGEST_WORDS:
            yield ReplyExample(turns[at].content, turns[at + 1].content), turns[at].emotion
        before.update(content_words([*asked, *answered]))
