"""Guards of a reply while it streams: no thoughts aloud, and nothing that was said before."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import lru_cache

__all__ = ["nearly_equal", "without_repeats", "without_thoughts"]

_OPEN, _CLOSE = "<think>", "</think>"
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+(?:['’][^\W\u3400-\u9fff]+)*")
#: Two texts are nearly equal if this share of their words is the same, word for word.
_SAME = 0.75
#: A text of fewer words ("Of course.") may be said again.
_LEAST_WORDS = 4


async def without_thoughts(pieces: AsyncGenerator[str, None]) -> AsyncIterator[str]:
    """Yield `pieces` without what stands between <think> and </think>, wherever the tags are cut.

    Thoughts that are never closed end the reply.
    """
    waiting, thinking, closed = "", False, False
    async with aclosing(pieces):
        async for piece in pieces:
            waiting += piece
            while True:
                before, found, after = waiting.partition(_CLOSE if thinking else _OPEN)
                if not found:
                    break
                if not thinking and before:
                    yield before
                waiting, thinking, closed = after, not thinking, thinking
            if closed:
                # The white space around thoughts belongs to them.
                waiting = waiting.lstrip()
                closed = not waiting
            held = _tail_of(waiting, _CLOSE if thinking else _OPEN)
            if not thinking and len(waiting) > held:
                yield waiting[: len(waiting) - held]
            waiting = waiting[len(waiting) - held :]
    if waiting and not thinking:
        yield waiting


async def without_repeats(
    draw: Callable[[int], AsyncGenerator[str, None]], earlier: Sequence[str], *, attempts: int = 3
) -> AsyncIterator[str]:
    """Yield the pieces of a reply that does not nearly repeat one of `earlier`.

    `draw(attempt)` begins a reply. Its pieces are held back while it says what an earlier reply says, which is a word
    or two as a rule; if that goes on to the end of a sentence, another one is drawn. The last attempt is yielded
    whatever it says.
    """
    known = [words for text in earlier if len(words := _words(text)) >= _LEAST_WORDS]
    for attempt in range(attempts):
        held: list[str] = []
        free = not known or attempt == attempts - 1
        repeated = False
        async with aclosing(draw(attempt)) as pieces:
            async for piece in pieces:
                if free:
                    yield piece
                    continue
                held.append(piece)
                text = "".join(held)
                said = _words(text)
                if not _follows(said, known):
                    free = True
                    for one in held:
                        yield one
                elif len(said) >= _LEAST_WORDS and re.search(r"[.!?…。！？]\s*$", text):
                    repeated = True
                    break
        if free:
            return
        text = "".join(held)
        if not repeated and not _is_known(_words(text), known):
            for one in held:
                yield one
            return


def nearly_equal(left: str, right: str) -> bool:
    """Whether two texts of some length say the same, but for a word or two."""
    a, b = _words(left), _words(right)
    return min(len(a), len(b)) >= _LEAST_WORDS and _is_known(a, [b])


@lru_cache(maxsize=512)
def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower().replace("’", "'"))


def _follows(said: list[str], known: Sequence[list[str]]) -> bool:
    """Whether `said` may become one of `known`: most of its words stand at the same places."""
    # The last word may be half written.
    said = said[:-1]
    return any(_agreement(said, words[: len(said)]) >= _SAME for words in known)


def _is_known(said: list[str], known: Sequence[list[str]]) -> bool:
    return any(_agreement(said, words) >= _SAME for words in known)


def _agreement(left: list[str], right: list[str]) -> float:
    longer = max(len(left), len(right))
    return sum(a == b for a, b in zip(left, right, strict=False)) / longer if longer else 1.0


def _tail_of(text: str, tag: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of `tag`."""
    return next((length for length in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:length])), 0)
