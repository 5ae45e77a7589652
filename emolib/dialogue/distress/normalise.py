"""One spelling for the many in which people type and dictate: Unicode, text speech, misspellings, spaced letters.

Tables: `spelling.json` has the words of text speech and common misspellings. `han.json` has the simplified form and
the sound of common Chinese characters (`benchmarks._distress_tables` writes it).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

__all__ = ["HAN", "HAN_TABLE", "language_of", "normalise", "sounds"]

_FOLDER = Path(__file__).parent

HAN_TABLE = _FOLDER / "han.json"
_SPELLING = _FOLDER / "spelling.json"

#: A Chinese character, as part of a regular expression's class.
HAN = "\u3400-\u4dbf\u4e00-\u9fff"

_APOSTROPHES = str.maketrans(dict.fromkeys("‘’‛ʼ＇´`′", "'") | dict.fromkeys("“”„«»", '"'))
# Japanese first: it writes with Chinese characters too.
_SCRIPTS = {
    "ja": re.compile(r"[\u3040-\u30ff]"),
    "ko": re.compile(r"[\uac00-\ud7af]"),
    "zh": re.compile(rf"[{HAN}]"),
}
_LONE_HAN = re.compile(rf"(?<![{HAN}])[{HAN}](?: [{HAN}])+(?![{HAN}])")
_MARK_IN_HAN = re.compile(rf"(?<=[{HAN}])[.*\-_·~/|+@#]+(?=[{HAN}])")
_SPACE_IN_HAN = re.compile(rf"(?<=[{HAN}]) (?=[{HAN}])")
_LONE_LETTERS = re.compile(r"(?<![\w'])[a-z](?:[ .\-_*]+[a-z]){2,}(?![\w'])")
_NO_LETTER = re.compile(r"[ .\-_*]+")
_REPEATED = re.compile(r"([^\W\d_])\1{2,}")
_DISGUISED = re.compile(r"[a-z]+(?:[013457@$!*]+[a-z]+)+")
_DIGITS = str.maketrans("013457@$!", "oieastasi")
_NOT = re.compile(r"\b(do|does|did|is|are|was|were|have|has|had|would|could|should|must|need)n'?t\b")
_KILOMETRES = re.compile(r"(?<=\d)\s*kms\b|(?<=\b(?:two|few|six|ten) )kms\b|(?<=\b(?:five|many|four|nine) )kms\b")
_WORD = re.compile(r"[a-z0-9']*[a-z][a-z0-9']*|[0-9]+")
_VOWEL = re.compile(r"[aeiouy]")
_ENDINGS = {"m": " am", "re": " are", "ve": " have", "ll": " will", "d": " would"}
_SHORTEST_CORRECTED = 5


def language_of(text: str) -> str:
    """Return "ja", "ko" or "zh" if at least a third of the letters of `text` are of that script, else "en"."""
    letters = sum(map(str.isalpha, text))
    for language, script in _SCRIPTS.items():
        if letters and 3 * len(script.findall(text)) >= letters:
            return language
    return "en"


def normalise(text: str) -> str:
    """Return `text` in one spelling: lower case, NFKC, contractions written out, simplified characters.

    "I don’t wanna liveeee" becomes "i do not want to live", "我 不 想 活" becomes "我不想活".
    """
    text = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES))
    text = "".join(character for character in text if unicodedata.category(character) not in ("Cf", "Mn"))
    text = _REPEATED.sub(_shortened, " ".join(text.split()).lower())
    if text.isascii():
        return _spelt(text)
    text = _MARK_IN_HAN.sub("", text.translate(_simplified()))
    text = _LONE_HAN.sub(lambda match: match[0].replace(" ", ""), text)
    return _spelt(_as_meant(_SPACE_IN_HAN.sub(",", text)))


def sounds(text: str) -> list[str]:
    """Return the syllable of each common Chinese character in `text`, without tone, zh/z and -ng/-n folded."""
    known = _sound_of()
    return [known[character] for character in text if character in known]


def _shortened(match: re.Match[str]) -> str:
    """A letter repeated three times or more stands once; a Chinese character keeps two, as in 好好."""
    return match[1] if match[1].isascii() else 2 * match[1]


def _spelt(text: str) -> str:
    text = _LONE_LETTERS.sub(_joined, text)
    text = _DISGUISED.sub(lambda match: match[0].translate(_DIGITS).replace("*", ""), text)
    text = _KILOMETRES.sub(" km", _NOT.sub(r"\1 not", text))
    spelling, phrases = _spelling()
    text = _WORD.sub(lambda match: spelling.get(match[0]) or _corrected(match[0]), text)
    return phrases.sub(lambda match: spelling[match[0]], text)


def _joined(match: re.Match[str]) -> str:
    """Letters typed apart as one word; the I at the start stays alone, as in "i w a n t"."""
    word = _NO_LETTER.sub("", match[0])
    return "i " + word[1:] if word.startswith("i") and len(word) > 3 else word


def _as_meant(text: str) -> str:
    """Replace Chinese slang, and what sounds like a key word and shares characters with it, by the word."""
    slang, pattern, by_sound, longest = _chinese_words()
    text = pattern.sub(lambda match: slang[match[0]], text)
    heard = [_sound_of().get(character, "") for character in text]
    for start in range(len(text)):
        for length in range(longest, 1, -1):
            word = by_sound.get(" ".join(heard[start : start + length]))
            if word and _is_slip_of_sound(text[start : start + length], word):
                text = text[:start] + word + text[start + length :]
                break
    return text


def _is_slip_of_sound(typed: str, word: str) -> bool:
    same = sum(first == second for first, second in zip(typed, word, strict=False))
    return len(word) - 1 == same and typed not in _misspelt()[1]


@cache
def _simplified() -> Mapping[int, str]:
    pairs = json.loads(HAN_TABLE.read_text(encoding="utf-8"))["simplified"]
    return dict(zip(map(ord, pairs[::2]), pairs[1::2], strict=True))


@cache
def _sound_of() -> Mapping[str, str]:
    table = json.loads(HAN_TABLE.read_text(encoding="utf-8"))["sounds"]
    return {character: sound for sound, characters in table.items() for character in characters}


@cache
def _chinese_words() -> tuple[Mapping[str, str], re.Pattern[str], Mapping[str, str], int]:
    """The slang with its pattern, the key words by their sound, and the number of characters of the longest."""
    table = json.loads(_SPELLING.read_text(encoding="utf-8"))
    slang = table["chinese_slang"]
    pattern = re.compile("|".join(map(re.escape, sorted(slang, key=len, reverse=True))))
    by_sound = {" ".join(sounds(word)): word for word in table["chinese_key_words"]}
    return slang, pattern, by_sound, max(map(len, table["chinese_key_words"]))


@cache
def _spelling() -> tuple[Mapping[str, str], re.Pattern[str]]:
    """The words with another spelling, and a pattern for those of more than one word."""
    spelling = json.loads(_SPELLING.read_text(encoding="utf-8"))["spelling"]
    phrases = [re.escape(variant) for variant in spelling if " " in variant or "-" in variant]
    return spelling, re.compile(rf"(?<![\w-])(?:{'|'.join(phrases)})(?![\w-])")


@cache
def _misspelt() -> tuple[Mapping[str, str], frozenset[str]]:
    """From a key word with or without one of its letters to the key word, and the real words that look misspelt."""
    table = json.loads(_SPELLING.read_text(encoding="utf-8"))
    shorter = {short: word for word in table["key_words"] for short in _without_a_letter(word)}
    return shorter | {word: word for word in table["key_words"]}, frozenset(table["no_misspellings"])


def _without_a_letter(word: str) -> list[str]:
    """All ways to leave out one letter, but not the first: "changing" is not a misspelt "hanging"."""
    return [word[:place] + word[place + 1 :] for place in range(1, len(word))]


@lru_cache(maxsize=4096)
def _corrected(word: str) -> str:
    """The key word that `word` is one letter, one swap or one vowel away from; else `word` without its ending."""
    stem, mark, ending = word.strip("'").partition("'")
    if mark:
        return stem + _ENDINGS.get(ending, "")
    shorter, real = _misspelt()
    if len(stem) < _SHORTEST_CORRECTED or stem in real or shorter.get(stem) == stem:
        return stem
    candidates = {shorter[form] for form in (stem, *_without_a_letter(stem)) if form in shorter}
    return next((word for word in sorted(candidates) if _is_slip(stem, word)), stem)


def _is_slip(typed: str, word: str) -> bool:
    """Whether `typed` has one letter more or less than `word`, the same letters, or another vowel."""
    if len(typed) != len(word):
        return abs(len(typed) - len(word)) == 1
    return sorted(typed) == sorted(word) or _VOWEL.sub("a", typed) == _VOWEL.sub("a", word)
