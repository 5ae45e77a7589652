"""Words of a text, and their vectors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WordVectors", "content_words", "terms_of", "words_of"]

_WORD = re.compile(r"[\w']+")
#: Words that the vectors hold apart though people mean the same.
_ALIKE = {
    "mum": "mother", "mom": "mother", "mam": "mother", "mummy": "mother", "mommy": "mother", "dad": "father",
    "daddy": "father", "grandma": "grandmother", "gran": "grandmother", "granny": "grandmother", "nan": "grandmother",
    "grandpa": "grandfather", "grandad": "grandfather", "granddad": "grandfather", "flat": "apartment",
    "flatmate": "roommate", "mobile": "phone", "telly": "television", "tv": "television", "pal": "friend",
    "mate": "friend", "bike": "bicycle", "fridge": "refrigerator", "uni": "university",
}  # fmt: skip
#: Words that say nothing of what a text is about.
_EMPTY = frozenset(
    "a about again all always am an and another any anything anyhow anyway anyways are as at"
    " back be because been before being better"
    " both but by bye came can can't come could couldn't day did didn't do does doesn't doing don't done down even"
    " every feel feeling first for from go going gone good goodbye goodnight got great had hadn't happy hard has"
    " hasn't have haven't he he's hear hello help her here hers herself hey hi him himself his hiya hm hmm hope"
    " how i i'd i'll i'm i've if in into is isn't it it's its just keep kind know last less let let's like little"
    " long made make many may maybe me might mine more morning much must my myself need never nice night no nobody"
    " nope not nothing now of off oh ok okay on once one only or other our out over really right same shall she"
    " she's should shouldn't so some something sorry still take talk tell than thank thanks that that's the their"
    " them then there these they they're thing things think this those time to today tomorrow tonight too up us"
    " very want was wasn't we we're week welcome well went were weren't what what's when where which while who why"
    " will with without won't would wouldn't yeah years yep yes you you'd you'll you're you've your yours".split()
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

        data = load(resources.files("emolib.reply_examples").joinpath("word_vectors.safetensors").read_bytes())
        words = data["words"].tobytes().decode().split("\n")
        table = data["vectors"].astype(np.float32)
        table /= np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-6)
        return cls({word: row for row, word in enumerate(words)}, table)

    def nearness(self, word: str, others: Sequence[str]) -> float:
        """The largest cosine of `word` and one of `others`, in [0, 1]: 1 if it is among them, 0 if it is not known."""
        if word in others:
            return 1.0
        known = [self.rows[other] for other in others if other in self.rows]
        if word not in self.rows or not known:
            return 0.0
        return max(0.0, float((self.table[known] @ self.table[self.rows[word]]).max()))


def words_of(text: str) -> list[str]:
    """The words of `text` in lower case, those that mean the same as one."""
    plain = text.lower().replace("’", "'").replace("passed away", "died")
    return [_ALIKE.get(word, word) for word in _WORD.findall(plain)]


def content_words(words: Sequence[str]) -> list[str]:
    """Those of `words` that say what a text is about, each once."""
    return [word for word in dict.fromkeys(words) if word not in _EMPTY]


def terms_of(words: Sequence[str]) -> Iterator[str]:
    """The words and the pairs of neighbours."""
    yield from words
    for left, right in pairwise(words):
        yield f"{left} {right}"
