"""The features of a text for the learned score.

Families, each scaled to the same length, so that a long text does not drown what few hints it has:

    words     words and pairs of them, next to each other or one apart; of Chinese, 1 to 4 characters
    letters   4 and 5 letters of an English word; of Chinese, 2 and 3 syllables
    concepts  what a word stands for, such as "rope" or "goodbye" (`concepts.json`): English and Chinese alike
    pairs     any two concepts of the text, and those that follow each other
    frames    sequences of 2 to 4 words in which concepts take the place of their words: "on the <height>"
    signs     what the rules hint at, alone and in pairs
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np

from emolib.dialogue.distress.normalise import HAN, normalise, sounds
from emolib.dialogue.distress.rules import hide_lookalikes, says_self_harm, signs

__all__ = ["FAMILIES", "features", "hashed"]

FAMILIES = ("words", "letters", "concepts", "pairs", "frames", "signs")

_CONCEPTS = Path(__file__).parent / "concepts.json"
_TOKEN = re.compile(rf"[a-z0-9']+|[{HAN}]|[?!~]|[\U0001f300-\U0001faff]")
_LETTERS = (4, 5)
# Words whose concept says less than the word itself.
_KEPT_IN_FRAMES = {"self", "not", "you", "they", "cannot", "again"}


@dataclass(frozen=True)
class _Phrase:
    """One or more tokens that have concepts together; a token without one stands for itself."""

    tokens: Sequence[str]
    concepts: Sequence[str]


def hashed(text: str) -> list[np.ndarray]:
    """Return the features of normalised `text`, one array of 32-bit hashes per family."""
    return [
        np.array([zlib.crc32(f"{name}:{feature}".encode()) for feature in found], dtype=np.uint32)
        for name, found in zip(FAMILIES, features(text), strict=True)
    ]


def features(text: str) -> tuple[set[str], ...]:
    """Return the features of normalised `text`, a set per family of FAMILIES."""
    text = hide_lookalikes(text)
    tokens = _TOKEN.findall(text)
    chinese = any(token >= "\u3400" and len(token) == 1 for token in tokens)
    phrases = list(_phrases(tokens))
    concepts = [concept for phrase in phrases for concept in _all_concepts(phrase)]
    hints = signs(text) + ["certain"] * says_self_harm(text)
    return (
        set(_words(tokens, chinese)),
        set(_letters(tokens, chinese)),
        set(concepts),
        set(_pairs(concepts)),
        set(_frames(phrases)),
        {*hints, *(f"{first} & {second}" for first, second in combinations(sorted(hints), 2))},
    )


def _words(tokens: Sequence[str], chinese: bool) -> Iterator[str]:
    for length in range(1, 5 if chinese else 3):
        yield from _runs(tokens, length)
    yield from (f"{first} _ {second}" for first, second in zip(tokens, tokens[2:], strict=False))


def _letters(tokens: Sequence[str], chinese: bool) -> Iterator[str]:
    if chinese:
        heard = sounds("".join(tokens))
        for length in (2, 3):
            yield from _runs(heard, length)
    for token in tokens:
        if len(token) > 3:
            framed = f"<{token}>"
            for length in _LETTERS:
                yield from (framed[start : start + length] for start in range(len(framed) - length + 1))


def _pairs(concepts: Sequence[str]) -> Iterator[str]:
    yield from (f"{first} & {second}" for first, second in combinations(sorted(set(concepts)), 2))
    for length in (2, 3):
        yield from _runs(concepts, length)


def _frames(phrases: Sequence[_Phrase]) -> Iterator[str]:
    slots = []
    for phrase in phrases:
        named = phrase.concepts and not (len(phrase.tokens) == 1 and phrase.concepts[0] in _KEPT_IN_FRAMES)
        slots += [f"<{phrase.concepts[0]}>"] if named else phrase.tokens
    runs = [*_runs(slots, 2), *_runs(slots, 3)]
    runs += [f"{first} _ {last}" for first, last in zip(slots, slots[2:], strict=False)]
    runs += [f"{first} __ {last}" for first, last in zip(slots, slots[3:], strict=False)]
    yield from (run for run in runs if "<" in run)


def _runs(items: Sequence[str], length: int) -> Iterator[str]:
    yield from (" ".join(items[start : start + length]) for start in range(len(items) - length + 1))


def _phrases(tokens: Sequence[str]) -> Iterator[_Phrase]:
    """The tokens in phrases: at each place the longest that has a concept."""
    place = 0
    while place < len(tokens):
        length, concepts = _longest(tokens, place)
        yield _Phrase(tokens[place : place + length], concepts)
        place += length


def _longest(tokens: Sequence[str], place: int) -> tuple[int, Sequence[str]]:
    table, most_words, most_characters = _table()
    english = tokens[place].isascii()
    for length in range(most_words if english else most_characters, 0, -1):
        found = table.get((" " if english else "").join(tokens[place : place + length]))
        if found:
            return min(length, len(tokens) - place), found
    return 1, ()


def _all_concepts(phrase: _Phrase) -> Iterator[str]:
    """The concepts of a phrase, and of the English words in it."""
    yield from phrase.concepts
    if len(phrase.tokens) > 1 and phrase.tokens[0].isascii():
        yield from (concept for token in phrase.tokens for concept in _table()[0].get(token, ()))


@cache
def _table() -> tuple[Mapping[str, Sequence[str]], int, int]:
    """The concepts of each word or phrase, and the longest: of English in words, of Chinese in characters."""
    table: dict[str, list[str]] = {}
    for concept, words in json.loads(_CONCEPTS.read_text(encoding="utf-8")).items():
        for word in words:
            table.setdefault(normalise(word), []).append(concept)
    most_words = max(len(word.split()) for word in table if word.isascii())
    return table, most_words, max(len(word) for word in table if not word.isascii())
