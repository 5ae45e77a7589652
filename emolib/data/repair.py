"""Repairing a text: Unicode form, leftovers of HTML and links, white space."""

from __future__ import annotations

import html
import re
import unicodedata

__all__ = ["REPAIRS", "SIMPLE", "repair"]

#: The rules that change a text, in their order; each can be switched off.
REPAIRS = ("unicode", "html", "whitespace")

#: A text (as a regular expression) that no rule changes: printable ASCII, single spaces, no trace of markup.
SIMPLE = r"^[!-%'-;=?-~]+( [!-%'-;=?-~]+)*$"

_INVISIBLE = re.compile(
    r"[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060\ufeff]"
)
_QUOTES = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "…": "...", "–": "-", "—": "-"})
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<!--.*?-->", re.DOTALL)
_LINK = re.compile(
    r"\b(?:https?://|www\.)\S+|\b(?:a )?href(?: https?)?(?: www)?\b|\bhttps?\b(?: www\b)?", re.IGNORECASE
)
_SPACE = re.compile(r"\s+")


def repair(text: str, rules: frozenset[str] = frozenset(REPAIRS)) -> tuple[str, frozenset[str]]:
    """`text` with the repairs of `rules`, and which of them changed it.

    Repairing the result again changes nothing: what one rule uncovers for another is repaired too.
    """
    changed = set()
    while True:
        before = text
        for name, apply in _APPLY:
            if name in rules and (after := apply(text)) != text:
                changed.add(name)
                text = after
        if text == before:
            return text, frozenset(changed)


def _unicode(text: str) -> str:
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", text).translate(_QUOTES))


def _html(text: str) -> str:
    return _LINK.sub(" ", _TAG.sub(" ", html.unescape(text)))


def _whitespace(text: str) -> str:
    return _SPACE.sub(" ", text).strip()


_APPLY = (("unicode", _unicode), ("html", _html), ("whitespace", _whitespace))
