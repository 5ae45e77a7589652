"""Text as a voice can say it: no markup, no emoji, no runs of white space."""

from __future__ import annotations

import re
import unicodedata

from emolib.spoken_text import spoken_text

__all__ = ["speakable"]

_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_CODE_FENCE = re.compile(r"```\w*")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<\|[^<>]*\|>")
_MARKUP = re.compile(r"[*_`#~|<>\\]+")
_BULLET = re.compile(r"^\s*(?:[-+]\s+)+", re.MULTILINE)
_VARIATION_SELECTOR = re.compile("[\ufe00-\ufe0f]")
#: Symbols such as emoji, the joiners and skin tones between them, and control characters.
_UNSPOKEN = {"So", "Sk", "Cs", "Co", "Cn", "Cc", "Cf"}
_KEYCAP = "\u20e3"


#: What one pass takes out may bring together what the next one rewrites; few texts need more than two.
_PASSES = 6


def speakable(text: str) -> str:
    """Return `text` without markup, emoji and control characters; empty if nothing in it can be spoken."""
    for _ in range(_PASSES):
        before, text = text, _without_markup(text)
        if text == before:
            break
    return text if any(character.isalnum() for character in text) else ""


def _without_markup(text: str) -> str:
    text = _LINK.sub(r"\1", spoken_text(text))
    for pattern in (_CODE_FENCE, _TAG):
        text = pattern.sub(" ", text)
    text = "".join(map(_spoken, _VARIATION_SELECTOR.sub("", text)))
    # A list mark may stand behind other markup, as in "> - first".
    text = _BULLET.sub(" ", _MARKUP.sub(" ", text))
    return unicodedata.normalize("NFC", " ".join(text.split()))


def _spoken(character: str) -> str:
    unspoken = character == _KEYCAP or (unicodedata.category(character) in _UNSPOKEN and character != "\n")
    return " " if unspoken else character
