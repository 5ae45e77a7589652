"""Text as it should reach a voice: no markup, no emoji, no runs of white space."""

from __future__ import annotations

import re
import unicodedata

from emolib.spoken_text import spoken_text

__all__ = ["speakable"]

_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_CODE_FENCE = re.compile(r"```\w*")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<\|[^<>]*\|>")
_MARKUP = re.compile(r"[*_`#~|\\]+|^\s*(?:[-+>]\s+)+", re.MULTILINE)
_SPACE = re.compile(r"\s+")
# Symbols and pictures, the joiners and skin tones between them, and control characters.
_UNSPOKEN = {"So", "Sk", "Cs", "Co", "Cn", "Cc", "Cf"}


def speakable(text: str) -> str:
    """`text` without markup and pictures; empty where nothing in it can be spoken."""
    text = spoken_text(text)
    for pattern, replacement in ((_LINK, r"\1"), (_CODE_FENCE, " "), (_TAG, " "), (_MARKUP, " ")):
        text = pattern.sub(replacement, text)
    text = "".join(" " if unicodedata.category(c) in _UNSPOKEN else c for c in text if not "\ufe00" <= c <= "\ufe0f")
    text = _SPACE.sub(" ", text).strip()
    return text if any(character.isalnum() for character in text) else ""
