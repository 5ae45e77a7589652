"""A stream of characters cut into clauses that can be spoken one by one.

The first clause is cut early, at the first comma after 10 characters, so that speech can begin while
the rest is still being written; after it whole sentences are cut. If there is no punctuation, modal
particles and discourse markers (`emolib.dialogue.particles`) stand in for it. A block of code stays in one
clause, because no part of it is spoken. Nothing is lost or moved: the clauses joined are the text, and how the
stream was chopped into pieces changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator

from emolib.dialogue.particles import LOOKAHEAD, PARTICLES, ends_with_particle, may_start_marker, starts_with_marker

__all__ = ["ClauseSplitter", "clause_moments", "segment", "segment_stream"]

#: Characters before which a comma is too early for the first clause.
FIRST_CLAUSE = 10

# Of an unpunctuated clause, so many characters are spoken together before a marker may begin another.
_LEAST_BEFORE_MARKER = 20

_WIDE_STOPS = "。！？；…"
_WIDE_COMMAS = "，、：；"
_STOPS = ".!?"
_COMMAS = ",;:"
_CLOSERS = "\"'”’)]》」』】"

_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'“‘])(?:(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Mt|vs|etc|approx|No|Nos|Fig|e\.g|i\.e|a\.m|p\.m)|[A-Za-z](?:\.[A-Za-z])*)\.$",
    re.IGNORECASE,
)
_SENTENCE_END_ANYWAY = re.compile(r"(?:etc|a\.m|p\.m|\bI)\.$", re.IGNORECASE)
_FENCE_BEFORE = re.compile(r"(?:^|\n)[ \t]*```$")
_LIST_NUMBER = re.compile(r"(?:^|\n)\s*\d{1,3}\.$")


class ClauseSplitter:
    """Cuts a text that arrives in pieces.

    `push` returns the clauses that the piece completed, with the white space that ends them;
    `finish` returns what is left. Joined, they are the text that was pushed.
    """

    def __init__(self, first_clause: int = FIRST_CLAUSE) -> None:
        self._first_clause = first_clause
        self._text = ""
        self._checked = 0
        self._cuts = 0
        self._in_code = False

    def push(self, piece: str) -> list[str]:
        self._text += piece
        return self._decide(at_end=False)

    def finish(self) -> list[str]:
        clauses = self._decide(at_end=True)
        rest, self._text, self._checked, self._cuts, self._in_code = self._text, "", 0, 0, False
        return [*clauses, rest] if rest else clauses

    def _decide(self, at_end: bool) -> list[str]:
        clauses = []
        while self._checked < len(self._text):
            end = self._checked + 1
            if self._is_in_code(end):
                self._checked = end
                continue
            cuts = self._cuts_at_space(end)
            if not cuts:
                if end == len(self._text) or (not at_end and self._needs_more(end)):
                    break
                cuts = self._cuts_at_punctuation(end) or self._cuts_without_punctuation(end)
            self._checked = end
            if cuts:
                clauses.append(self._text[:end])
                self._text = self._text[end:]
                self._checked = 0
                self._cuts += 1
        return clauses

    def _is_in_code(self, end: int) -> bool:
        """Whether `end` is inside a block of code; its fences begin a line."""
        if self._text[end - 3 : end] == "```" and _FENCE_BEFORE.search(self._text[max(0, end - 20) : end]):
            self._in_code = not self._in_code
            return True
        return self._in_code

    def _needs_more(self, end: int) -> bool:
        """Whether what follows `end` is still too short to judge a particle or a marker by."""
        if self._text[end - 1] in PARTICLES:
            return len(self._text) - end < LOOKAHEAD
        return self._may_be_before_marker(end) and may_start_marker(self._text[end:])

    def _may_be_before_marker(self, end: int) -> bool:
        return (
            end >= _LEAST_BEFORE_MARKER and self._text[end - 1].isspace() and self._text[:end].rstrip()[-1:].isalnum()
        )

    def _cuts_without_punctuation(self, end: int) -> bool:
        before, after = self._text[:end], self._text[end:]
        if after[0].isspace() or after[0] in _STOPS + _WIDE_STOPS + _COMMAS + _WIDE_COMMAS:
            return False
        if ends_with_particle(before, after):
            return True
        return self._may_be_before_marker(end) and starts_with_marker(before, after)

    def _cuts_at_space(self, end: int) -> bool:
        """Whether the text ends a sentence, or its first clause, with one space before `end`: no more need be seen."""
        before = self._text[:end]
        if not before[-1].isspace() or before[-1] == "\n" or before[-2:-1].isspace():
            return False
        mark = before[:-1].rstrip(_CLOSERS)
        if mark[-1:] in tuple(_STOPS):
            return _has_words(before) and not _is_abbreviation(mark)
        return self._cuts == 0 and mark[-1:] in tuple(_COMMAS) and len(mark) > self._first_clause

    def _cuts_at_punctuation(self, end: int) -> bool:
        """Whether punctuation cuts the text between its characters `end - 1` and `end`.

        A mark can be judged only with the character after it: 3.14, U.S., "Stop!" she said.
        """
        before, after = self._text[:end], self._text[end]
        if after.isspace() or after in _CLOSERS or after in _STOPS + _WIDE_STOPS:
            return False
        mark = before.rstrip().rstrip(_CLOSERS)
        if not mark:
            return False
        if "\n" in before[len(before.rstrip()) :] or mark[-1] in _WIDE_STOPS:
            return _has_words(before)
        return self._cuts == 0 and mark[-1] in _WIDE_COMMAS and len(mark) > self._first_clause


def segment(text: str) -> list[str]:
    """The clauses of a whole text."""
    splitter = ClauseSplitter()
    return [*splitter.push(text), *splitter.finish()]


def clause_moments(text: str) -> list[tuple[str, int]]:
    """Return each clause of `text` with the number of characters that had to be written before it was known.

    The text is taken as it is streamed, character by character; the last clause may be known at its end only.
    """
    splitter = ClauseSplitter()
    found = [(clause, end) for end, letter in enumerate(text, 1) for clause in splitter.push(letter)]
    return [*found, *((clause, len(text)) for clause in splitter.finish())]


async def segment_stream(pieces: AsyncIterable[str]) -> AsyncIterator[str]:
    """The clauses of a text that arrives in pieces, each as soon as it is known to be whole."""
    splitter = ClauseSplitter()
    async for piece in pieces:
        for clause in splitter.push(piece):
            yield clause
    for clause in splitter.finish():
        yield clause


def _has_words(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _is_abbreviation(mark: str) -> bool:
    if _LIST_NUMBER.search(mark):
        return True
    return bool(_ABBREVIATION.search(mark)) and not _SENTENCE_END_ANYWAY.search(mark)
