"""Phonemes for a Piper voice whose text is not all in its own language."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable
from itertools import groupby
from typing import Any

__all__ = ["MixedPhonemizer"]

#: Scripts that espeak-ng's English spells letter by letter, by the first word of a letter's Unicode name, and the
#: language of espeak-ng that reads them.
_LANGUAGES = {
    "CJK": "cmn", "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CYRILLIC": "ru", "GREEK": "el", "HEBREW": "he",
    "ARABIC": "ar", "THAI": "th", "DEVANAGARI": "hi", "BENGALI": "bn", "TAMIL": "ta", "GEORGIAN": "ka",
    "ARMENIAN": "hy", "ETHIOPIC": "am",
}  # fmt: skip
#: Sounds that an English voice was not trained on, by the nearest that it was; tones are dropped.
_NEAREST = str.maketrans({"χ": "h", "ɕ": "ʃ", "ʂ": "ʃ", "ʐ": "ɹ", "y": "i", "ɤ": "ʌ", **dict.fromkeys("0123456789.")})


class MixedPhonemizer:
    """Phonemes of a sentence, in one list or more; what is in another script is spoken with the accent of the voice.

    Without it espeak-ng's English spells each letter: "Chinese letter, Chinese letter".
    """

    def __init__(self, voice: Any) -> None:
        from piper.phonemize_espeak import EspeakPhonemizer

        self._own: Callable[[str], list[list[str]]] = voice.phonemize
        self._known = voice.config.phoneme_id_map
        self._espeak = EspeakPhonemizer()
        # espeak-ng holds the language in a global variable.
        self._lock = threading.Lock()

    def __call__(self, text: str) -> list[list[str]]:
        with self._lock:
            parts = _by_language(text)
            if all(language is None for language, _ in parts):
                return self._own(text)
            return [self._mixed(parts)]

    def _mixed(self, parts: list[tuple[str | None, str]]) -> list[str]:
        phonemes: list[str] = []
        for language, part in parts:
            if part.strip():
                found = self._foreign(language, part) if language else self._own(part)
                phonemes += [" ", *(phoneme for clause in found for phoneme in clause)]
        return phonemes[1:]

    def _foreign(self, language: str, text: str) -> list[list[str]]:
        clauses = self._espeak.phonemize(language, text)
        return [[near for near in "".join(clause).translate(_NEAREST) if near in self._known] for clause in clauses]


def _by_language(text: str) -> list[tuple[str | None, str]]:
    """The parts of `text` by language, None for the voice's own; marks and spaces go with the letter before."""
    languages: list[str | None] = []
    for character in text:
        if character.isalpha() or not languages:
            languages.append(_LANGUAGES.get(unicodedata.name(character, "").partition(" ")[0]))
        else:
            languages.append(languages[-1])
    runs = groupby(zip(languages, text, strict=True), key=lambda pair: pair[0])
    return [(language, "".join(character for _, character in run)) for language, run in runs]
