"""Guards of a reply while it streams: no thoughts aloud, and nothing that was said before."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from functools import lru_cache

__all__ = ["nearly_equal", "without_repeats", "without_said_sentences", "without_thoughts"]

#: Tags around thoughts: most models, Gemma and others, Magistral.
_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "[THINK]": "[/THINK]",
}
#: Between a sentence and what follows it.
_SENTENCE_END = re.compile(r"(?<=[.!?…])(?=\s)|(?<=[。！？])(?=[^\s。！？”’」])")
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+(?:['’][^\W\u3400-\u9fff]+)*")
#: Two texts are nearly equal if this share of their words is the same, word for word.
_SAME = 0.75
#: A text of fewer words ("Of course.") may be said again.
_LEAST_WORDS = 4


async def without_thoughts(
    pieces: AsyncGenerator[str, None], on_thought: Callable[[], None] | None = None, *, starts_inside: bool = False
) -> AsyncGenerator[str, None]:
    """Yield `pieces` without thoughts: what stands between <think> and </think>, or tags like these (`_TAGS`).

    The tags may be cut anywhere. Thoughts that are never closed end the reply. `starts_inside`: the reply may begin
    inside thoughts, without the first tag, so it is held back until a closing one, or its end. `on_thought` is
    called at the end of thoughts.
    """
    waiting, closing, after_thought = "", None, False
    async with aclosing(pieces):
        async for piece in pieces:
            waiting += piece
            while found := _first_tag(waiting, closing, starts_inside):
                before, waiting, opened = found
                if closing is None and opened and before:
                    yield before
                starts_inside, after_thought = False, not opened
                closing = opened
                if after_thought and on_thought:
                    on_thought()
            if after_thought:
                # The white space around thoughts belongs to them.
                waiting = waiting.lstrip()
                after_thought = not waiting
            if starts_inside:
                continue
            held = max(_tail_of(waiting, tag) for tag in ((closing,) if closing else _TAGS))
            if closing is None and len(waiting) > held:
                yield waiting[: len(waiting) - held]
            waiting = waiting[len(waiting) - held :]
    if closing is not None:
        if on_thought:
            on_thought()
    elif waiting:
        yield waiting


def _first_tag(text: str, closing: str | None, starts_inside: bool) -> tuple[str, str, str | None] | None:
    """Return what stands before and after the first tag, and what closes it if it opens thoughts; None without one."""
    if closing is not None:
        ends: dict[str, str | None] = {closing: None}
    else:
        ends = dict(_TAGS) | (dict.fromkeys(_TAGS.values()) if starts_inside else {})
    found = [(text.index(tag), tag) for tag in ends if tag in text]
    if not found:
        return None
    at, tag = min(found)
    return text[:at], text[at + len(tag) :], ends[tag]


async def without_repeats(
    draw: Callable[[int], AsyncGenerator[str, None]], earlier: Sequence[str], *, attempts: int = 3
) -> AsyncGenerator[str, None]:
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


async def without_said_sentences(
    pieces: AsyncGenerator[str, None], earlier: Sequence[str]
) -> AsyncGenerator[str, None]:
    """Yield `pieces` without the sentences that the reply itself or one of `earlier` has said, word for word.

    The first sentence always stays. A later one is held back only while it may become one that was said.
    """
    known = {tuple(_words(sentence)) for text in earlier for sentence in _SENTENCE_END.split(text)}
    known = {words for words in known if len(words) >= _LEAST_WORDS}
    sentence, shown, first = "", 0, True
    async with aclosing(pieces):
        async for piece in pieces:
            sentence += piece
            while end := _SENTENCE_END.search(sentence):
                whole, sentence = sentence[: end.start()], sentence[end.start() :]
                words = tuple(_words(whole))
                if first or shown or words not in known:
                    yield whole[shown:]
                if len(words) >= _LEAST_WORDS:
                    known.add(words)
                shown, first = 0, False
            if first or shown or not _begins(sentence, known):
                yield sentence[shown:]
                shown = len(sentence)
    if shown < len(sentence) and tuple(_words(sentence)) not in known:
        yield sentence[shown:]


def _begins(sentence: str, known: Collection[tuple[str, ...]]) -> bool:
    """Whether `sentence`, whose last word may be half written, may become one of `known`."""
    said = tuple(_words(sentence)[:-1])
    return any(words[: len(said)] == said for words in known)


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
