"""Text as it is spoken: what no voice can say taken out, sentences told apart."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

__all__ = ["LONGEST_SENTENCE", "sentences", "speakable"]

LONGEST_SENTENCE = 300

_MARKUP = re.compile(r"[*_`#~|<>]+")
_SENTENCE = re.compile(r".+?(?:[.!?…][\"'”’)\]]*(?=\s)|[。！？][”’」』）]*|$)", re.DOTALL)


def speakable(text: str) -> str:
    """`text` without control characters, emoji and markup, white space collapsed; empty where nothing is left."""
    kept = (character if _has_sound(character) else " " for character in unicodedata.normalize("NFC", text))
    plain = " ".join(_MARKUP.sub(" ", "".join(kept)).split())
    return plain if any(character.isalnum() for character in plain) else ""


def _has_sound(character: str) -> bool:
    """True for letters, digits, punctuation, currency and mathematical signs; not for emoji and controls."""
    category = unicodedata.category(character)
    return (category[0] in "LMNPZ" and character not in "\ufe0e\ufe0f\u20e3") or category in ("Sc", "Sm")


def sentences(text: str) -> list[str]:
    """The sentences of `text`, with their punctuation; abbreviations may cut too early, which costs a pause.

    A sentence over LONGEST_SENTENCE characters is cut at a space, for an engine takes each in one piece.
    """
    return [part for sentence in _SENTENCE.findall(text) for part in _short_parts(sentence.strip())]


def _short_parts(sentence: str) -> Iterator[str]:
    while len(sentence) > LONGEST_SENTENCE:
        cut = sentence.rfind(" ", 1, LONGEST_SENTENCE)
        cut = LONGEST_SENTENCE if cut < 0 else cut
        yield sentence[:cut].strip()
        sentence = sentence[cut:].strip()
    if sentence:
        yield sentence
