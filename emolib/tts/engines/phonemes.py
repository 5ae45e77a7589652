"""Phonemes for a Piper voice, in runs of bounded length; Chinese in an English text is spoken as Chinese."""

from __future__ import annotations

import ctypes
import re
import sys
import threading
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["LONGEST_RUN", "Phonemizer", "runs"]

#: Phonemes that the voice speaks in one go, stress marks and spaces counted: about 6 s of sound. The memory
#: that a voice needs grows with its longest run, and so does the wait for the first sound of a sentence.
LONGEST_RUN = 120

_CLAUSE_MARKS = ",;:"
#: espeak-ng marks words that it reads as another language, as in "(fr)".
_LANGUAGE = re.compile(r"\([\w-]+\)")
_HAN = re.compile(r"([\u3400-\u9fff][\u3400-\u9fff，、；：。！？]*)")
#: Mandarin sounds that an English voice was not trained on, by the nearest that it was; tones are dropped.
_NEAREST = str.maketrans({"χ": "h", "ɕ": "ʃ", "ʂ": "ʃ", "ʐ": "ɹ", "y": "i", "ɤ": "ʌ", **dict.fromkeys("12345.")})


class Phonemizer:
    """Phonemes of a text in the language of a Piper voice (its configuration `config`), a list a sentence.

    Works on piper-tts' bridge to espeak-ng, with two differences to piper-tts' own phonemizer: a service that runs
    for days must not lose memory with every sentence, and Chinese characters are read in Mandarin, with the accent
    of the voice, where espeak-ng's English reads each of them as "Chinese letter".
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
            found = [self._mixed(text)] if _HAN.search(text) else self._read(text)
        return [sentence for sentence in found if sentence]

    def _mixed(self, text: str) -> list[str]:
        phonemes: list[str] = []
        for part in _HAN.split(text):
            if not part.strip():
                continue
            found = self._mandarin(part) if _HAN.match(part) else self._read(part)
            phonemes += [" ", *(phoneme for sentence in found for phoneme in sentence)]
        return phonemes[1:]

    def _mandarin(self, text: str) -> list[list[str]]:
        self._bridge.set_voice("cmn")
        try:
            sentences = self._read(text)
        finally:
            self._bridge.set_voice(self._language)
        return [[near for near in "".join(found).translate(_NEAREST) if near in self._known] for found in sentences]

    def _read(self, text: str) -> list[list[str]]:
        sentences: list[list[str]] = [[]]
        for sounds, mark, ends in _released(self._bridge.get_phonemes(text)):
            spoken = _LANGUAGE.sub("", sounds) + mark + (" " if mark and mark in _CLAUSE_MARKS else "")
            sentences[-1] += unicodedata.normalize("NFD", spoken)
            if ends:
                sentences.append([])
        return sentences


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


def _released(clauses: list[tuple[str, str, bool]]) -> Iterable[tuple[str, str, bool]]:
    """`clauses`, each without the reference that the bridge of piper-tts 1.8.0 keeps to it for ever.

    Only what is held more often than a list holds its elements is let go, so a bridge without that fault loses nothing.
    """
    for clause, count in zip(clauses, _reference_counts(clauses), strict=True):
        if count > _HELD_ONCE:
            ctypes.pythonapi.Py_DecRef(ctypes.py_object(clause))
    return clauses


def _reference_counts(clauses: list[Any]) -> list[int]:
    return [sys.getrefcount(clause) for clause in clauses]


#: The count of what nothing but its list holds, in this version of Python.
_HELD_ONCE = _reference_counts([object()])[0]
