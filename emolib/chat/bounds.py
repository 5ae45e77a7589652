"""Keeping a reply short enough to be spoken, and whole at its end."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

__all__ = ["bounded", "count_words"]

# A run of letters and digits is a word; a Han character, which no space sets apart, is one by itself.
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+(?:['’][^\W\u3400-\u9fff]+)*")
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)]*\s*$|[。！？]\s*$")
_CLAUSE_END = re.compile(r"[,;:，；：、]")

# Of the first sentence, this share of the limit passes piece by piece; later sentences pass whole.
_FREE_SHARE = 0.5


def count_words(text: str) -> int:
    """The number of words of `text`; a Han character counts as one."""
    return len(_WORD.findall(text))


async def bounded(pieces: AsyncGenerator[str, None], max_words: int) -> AsyncIterator[str]:
    """The pieces of a reply up to the last sentence that ends within `max_words`.

    Nothing is yielded before the first letter or digit, and nothing at all if there is none.
    A sentence that is longer than the limit is cut at its last clause, or at the limit, and closed
    with an ellipsis. `pieces` is closed as soon as the limit is reached, which stops the model.
    """
    said = ""
    held: list[str] = []
    async with aclosing(pieces):
        async for piece in pieces:
            text = said + "".join(held) + piece
            words = count_words(text)
            if words > max_words:
                if not _SENTENCE_END.search(said):
                    yield _closed(_first_words(text, max_words)[len(said) :])
                return
            starts_another = not held and _SENTENCE_END.search(said)
            if starts_another and (space := piece[: len(piece) - len(piece.lstrip())]):
                # Whoever speaks the sentence before waits for no more than this to know that it is over.
                yield space
                said, piece = said + space, piece[len(space) :]
            held.append(piece)
            in_first_sentence = not _SENTENCE_END.search(said)
            if words and (_SENTENCE_END.search(text) or (in_first_sentence and words <= max_words * _FREE_SHARE)):
                for one in _without_leading_space(held, said):
                    yield one
                said, held = text, []
    rest = "".join(held)
    if count_words(rest):
        yield rest if said else rest.lstrip()


def _without_leading_space(pieces: list[str], said: str) -> list[str]:
    if said:
        return pieces
    joined = "".join(pieces).lstrip()
    return [joined] if joined else []


def _first_words(text: str, count: int) -> str:
    return text[: list(_WORD.finditer(text))[count - 1].end()]


def _closed(rest: str) -> str:
    clauses = list(_CLAUSE_END.finditer(rest))
    return (rest[: clauses[-1].start()] if clauses else rest.rstrip()) + "…"
