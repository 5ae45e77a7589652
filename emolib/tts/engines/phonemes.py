"""Phonemes for a Piper voice, in runs of bounded length; other scripts are spoken in the accent of the voice."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator
from itertools import groupby
from typing import Any

__all__ = ["LONGEST_RUN", "Phonemizer", "runs"]

#: Phonemes that the voice speaks in one go, stress marks and spaces counted: about 6 s of sound. The memory
#: that a voice needs grows with its longest run, and so does the wait for the first sound of a sentence.
LONGEST_RUN = 120

_CLAUSE_MARKS = ",;:"
#: espeak-ng marks words that it reads as another language, as in "(fr)".
_LANGUAGE = re.compile(r"\([\w-]+\)")
#: Scripts that espeak-ng's English spells letter by letter, by the first word of a letter's Unicode name, and the
#: language of espeak-ng that reads them.
_LANGUAGES = {
    "CJK": "cmn", "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CYRILLIC": "ru", "GREEK": "el", "HEBREW": "he",
    "ARABIC": "ar", "THAI": "th", "DEVANAGARI": "hi", "BENGALI": "bn", "TAMIL": "ta", "GEORGIAN": "ka",
    "ARMENIAN": "hy", "ETHIOPIC": "am",
}  # fmt: skip
#: Sounds that an English voice was not trained on, by the nearest that it was; tones are dropped.
_NEAREST = str.maketrans({"χ": "h", "ɕ": "ʃ", "ʂ": "ʃ", "ʐ": "ɹ", "y": "i", "ɤ": "ʌ", **dict.fromkeys("0123456789.")})


class Phonemizer:
    """Phonemes of a text in the language of a Piper voice (its configuration `config`), a list a sentence.

    Works on piper-tts' bridge to espeak-ng, with two differences to piper-tts' own phonemizer: a service that runs
    for days must not lose memory with every sentence, and what is in another script is read in its language, with the
    accent of the voice, where espeak-ng's English spells it: "Chinese letter, Chinese letter".
    """

    def __init__(self, config: Any) -> None:
        from piper import espeakbridge
        from piper.phonemize_espeak import ESPEAK_DATA_DIR

        self._bridge = espeakbridge
        self._bridge.initialize(str(ESPEAK_DATA_DIR))
        self._language: str = config.espeak_voice
        # Each change of the language costs espeak-ng 1.3 kB that it never gives back.
        self._bridge.set_voice(self._language)
        self._known = config.phoneme_id_map
        # espeak-ng holds the language in a global variable.
        self._lock = threading.Lock()

    def __call__(self, text: str) -> list[list[str]]:
        with self._lock:
            parts = _by_language(text, self._language)
            alone = all(language is None for language, _ in parts)
            found = self._read(text) if alone else [self._mixed(parts)]
        return [sentence for sentence in found if sentence]

    def _mixed(self, parts: list[tuple[str | None, str]]) -> list[str]:
        phonemes: list[str] = []
        for language, part in parts:
            if part.strip():
                found = self._foreign(language, part) if language else self._read(part)
                phonemes += [" ", *(phoneme for sentence in found for phoneme in sentence)]
        return phonemes[1:]

    def _foreign(self, language: str, text: str) -> list[list[str]]:
        self._bridge.set_voice(language)
        try:
            sentences = self._read(text)
        finally:
            self._bridge.set_voice(self._language)
        return [[near for near in "".join(found).translate(_NEAREST) if near in self._known] for found in sentences]

    def _read(self, text: str) -> list[list[str]]:
        sentences: list[list[str]] = [[]]
        for sounds, mark, ends in self._bridge.get_phonemes(text):
            spoken = _LANGUAGE.sub("", sounds) + mark + (" " if mark and mark in _CLAUSE_MARKS else "")
            sentences[-1] += unicodedata.normalize("NFD", spoken)
            if ends:
                sentences.append([])
        return sentences


def _by_language(text: str, own: str) -> list[tuple[str | None, str]]:
    """The parts of `text` by language, None for the voice's `own`; marks and spaces go with the letter before."""
    languages: list[str | None] = []
    for character in text:
        if character.isalpha() or not languages:
            found = _LANGUAGES.get(unicodedata.name(character, "").partition(" ")[0])
            languages.append(None if found == own else found)
        else:
            languages.append(languages[-1])
    same = groupby(zip(languages, text, strict=True), key=lambda pair: pair[0])
    return [(language, "".join(character for _, character in run)) for language, run in same]


def runs(phonemes: list[str]) -> Iterator[list[str]]:
    """`phonemes` in parts of at most LONGEST_RUN, cut behind the last clause mark or else the last space that fits."""
    while len(phonemes) > LONGEST_RUN:
        cut = _cut(phonemes[:LONGEST_RUN])
        yield phonemes[:cut]
        phonemes = phonemes[cut:]
    if phonemes:
        yield phonemes


def _cut(fitting: list[str]) -> int:
    """How many of the phonemes belong to the first part; a cut in the first third would leave a stub."""
    spaces = [place for place, phoneme in enumerate(fitting, 1) if phoneme == " " and 3 * place > len(fitting)]
    behind_marks = [place for place in spaces if fitting[place - 2] in _CLAUSE_MARKS]
    return max(behind_marks or spaces or [len(fitting)])
