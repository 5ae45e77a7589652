"""When the speaker talks over the answer: what is an interruption, and what is not."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

__all__ = ["BACKCHANNELS", "heard_words", "is_backchannel", "is_echo", "repeats", "usual_seconds"]

#: Words and sounds with which a listener says that he is listening. They do not ask for the floor.
BACKCHANNELS = frozenset(
    "ah aha ahh alright hm hmm huh mhm mm mmhm mmm oh ok okay really right sure uh uhhuh uhm um wow yeah yep yes yup"
    " absolutely exactly indeed totally true"
    " 嗯 嗯嗯 啊 哦 噢 对 好 是".split()
)

#: The same in more than one word.
BACKCHANNEL_PHRASES = (
    "thank you so much", "thank you very much", "thank you", "thanks a lot", "thanks", "of course", "all right",
    "i see", "i know", "i understand", "i hear you", "got it", "got you", "go on", "go ahead", "carry on", "keep going",
    "fair enough", "good point", "makes sense", "that makes sense", "that's right", "that's true", "you're right",
    "no problem", "not bad",
)  # fmt: skip

#: Longest first: "thank you very much" is one back-channel, not "thank you" with more to say.
_PHRASES = sorted((tuple(phrase.split()) for phrase in BACKCHANNEL_PHRASES), key=len, reverse=True)
_WORD = re.compile(r"[\w'-]+")
_CHINESE = re.compile(r"[\u3400-\u9fff]")
#: Characters that a slow voice speaks in a second: of Chinese, and of anything else.
_SLOW_CHINESE, _SLOW = 3.5, 12.0
#: Backchannels come one or a few at a time: "mhm, right, okay".
_MOST_UNITS = 3


def is_backchannel(text: str) -> bool:
    """Whether `text` says no more than that somebody is listening; an empty one does."""
    words = [word.replace("-", "") for word in _WORD.findall(text.lower().replace("’", "'"))]
    units = 0
    while words:
        length = _opening_backchannel(words)
        units += 1
        if not length or units > _MOST_UNITS:
            return False
        words = words[length:]
    return True


def _opening_backchannel(words: Sequence[str]) -> int:
    """Return how many of the first `words` are one back-channel; 0 if they are none."""
    for phrase in _PHRASES:
        if tuple(words[: len(phrase)]) == phrase:
            return len(phrase)
    return int(words[0] in BACKCHANNELS)


def is_echo(heard: np.ndarray, played: np.ndarray, *, least: float = 0.5) -> bool:
    """Whether `heard` is what the loudspeaker plays: its correlation with `played` is at least `least` at some delay.

    Both are float32 at the same rate; `played` reaches further back than `heard` by the longest delay.
    """
    if len(played) < len(heard) or not len(heard):
        return False
    size = 1 << (len(played) + len(heard)).bit_length()
    heard, played = heard - heard.mean(), played - played.mean()
    spectrum = np.fft.rfft(played, size) * np.conj(np.fft.rfft(heard, size))
    products = np.fft.irfft(spectrum, size)[: len(played) - len(heard) + 1]
    energy = np.cumsum(np.concatenate([[0.0], played.astype(np.float64) ** 2]))
    windows = energy[len(heard) :] - energy[: len(energy) - len(heard)]
    scale = np.sqrt(np.maximum(windows, 1e-12) * max(float((heard.astype(np.float64) ** 2).sum()), 1e-12))
    return bool((np.abs(products) / scale).max() >= least)


def repeats(text: str, spoken: str, *, least: float = 0.8) -> bool:
    """Whether `text` is mostly made of words of `spoken`: a partial transcript of the loudspeaker's own sound."""
    words, said = _WORD.findall(text.lower()), set(_WORD.findall(spoken.lower()))
    return len(words) > 1 and sum(word in said for word in words) >= least * len(words)


def heard_words(clauses: Sequence[str], shares: Sequence[float | None]) -> str:
    """What was heard of `clauses`: of each the share in [0, 1], cut after a whole word (or character of Chinese).

    None stands for a clause that could not be spoken, and that silence took the place of.
    """
    kept = []
    for clause, share in zip(clauses, shares, strict=False):
        if share is None:
            continue
        units = list(re.finditer(r"[\u3400-\u9fff]|\S+?(?=[\u3400-\u9fff]|\s|$)", clause))
        count = len(units) if share >= 1 else int(share * len(units))
        if count:
            kept.append(clause[: units[count - 1].end()])
    return " ".join(kept)


def usual_seconds(text: str) -> float:
    """How long `text` takes at most as a rule, where its sound is not known whole yet."""
    chinese = len(_CHINESE.findall(text))
    return chinese / _SLOW_CHINESE + (len(text) - chinese) / _SLOW
