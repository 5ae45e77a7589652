"""Phonemes for a Piper voice whose text is not all in its own language."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["MixedPhonemizer"]

_HAN = re.compile(r"([\u3400-\u9fff][\u3400-\u9fff，、；：。！？]*)")
#: Mandarin sounds that an English voice was not trained on, by the nearest that it was; tones are dropped.
_NEAREST = str.maketrans({"χ": "h", "ɕ": "ʃ", "ʂ": "ʃ", "ʐ": "ɹ", "y": "i", "ɤ": "ʌ", **dict.fromkeys("12345.")})


class MixedPhonemizer:
    """Phonemes of a sentence, in one list or more; Chinese in it is spoken as Chinese, with the accent of the voice.

    Without it espeak-ng's English reads each character as "Chinese letter".
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
            if not _HAN.search(text):
                return self._own(text)
            return [self._mixed(text)]

    def _mixed(self, text: str) -> list[str]:
        phonemes: list[str] = []
        for part in _HAN.split(text):
            if not part.strip():
                continue
            found = self._mandarin(part) if _HAN.match(part) else self._own(part)
            phonemes += [" ", *(phoneme for clause in found for phoneme in clause)]
        return phonemes[1:]

    def _mandarin(self, text: str) -> list[list[str]]:
        clauses = self._espeak.phonemize("cmn", text)
        return [[near for near in "".join(clause).translate(_NEAREST) if near in self._known] for clause in clauses]
