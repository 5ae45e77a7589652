"""Freely generated answers: which label one names under strict exact match, and what is wrong with the others."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from emolib.labels import CARER, LabelSet

__all__ = ["ERROR_KINDS", "FormatError", "format_error"]

#: Kinds of format error, the first that applies is the one that counts.
ERROR_KINDS: dict[str, str] = {
    "empty": "nothing but white space",
    "case": "a label in other letters, as in 'Joy'",
    "punctuation": "a label with marks around it, as in 'joy.'",
    "several labels": "more than one label",
    "loop": "the same words over and over",
    "other script": "letters of another script than the labels'",
    "label in a sentence": "one label among other words",
    "other word": "a single word that is not one of the labels",
    "sentence": "several words, none of them a label",
}

_WORD = re.compile(r"[^\W\d_]+")
_MARKS = " .,;:!?\"'()[]*`。，！？"
_LOOP = re.compile(r"(\S.{0,40}?)(?:\s*\1){3,}", re.DOTALL)


@dataclass(frozen=True)
class FormatError:
    """One answer that names no label: its row in the corpus (from 0), what was generated, and the kind."""

    row: int
    generated: str
    kind: str

    def as_dict(self) -> dict[str, int | str]:
        """For metrics.json."""
        return {"row": self.row, "kind": self.kind, "generated": self.generated}


def format_error(generated: str, labels: LabelSet = CARER) -> str | None:
    """Return the kind of format error of `generated` (a key of ERROR_KINDS), or None if it is a label to the letter."""
    if labels.parse(generated):
        return None
    text = generated.strip()
    words = _WORD.findall(text)
    if not text:
        return "empty"
    if labels.find(text):
        return "case"
    named = [label for word in words if (label := labels.find(word))]
    if named and (len(words) == 1 or labels.find(text.strip(_MARKS))):
        return "punctuation"
    if _LOOP.search(text):
        return "loop"
    if len(set(named)) > 1:
        return "several labels"
    if _is_latin("".join(labels)) and not _is_latin(text):
        return "other script"
    if named:
        return "label in a sentence"
    return "other word" if len(words) <= 1 else "sentence"


def _is_latin(text: str) -> bool:
    return all("LATIN" in unicodedata.name(letter, "LATIN") for letter in text if letter.isalpha())
