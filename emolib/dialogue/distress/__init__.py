"""Whether a text speaks of distress: rules for what is certain, and a learned score for the rest, in a millisecond."""

from __future__ import annotations

from collections.abc import Iterator

from emolib.dialogue.distress.normalise import language_of, normalise
from emolib.dialogue.distress.rules import hide_lookalikes, says_self_harm
from emolib.dialogue.distress.score import DistressScore, score

__all__ = ["DistressScore", "assess", "language_of"]

# A message is scored in parts of so many words or Chinese characters, because one sentence of a long one is enough.
_PART_WORDS, _PART_CHARACTERS = 80, 120

# Chinese has fewer everyday sentences to learn from; with this, as many chat messages are false alarms as in English.
_CHINESE_SHIFT = -0.85


def assess(text: str) -> DistressScore:
    """Return the score of `text`, English or Chinese: 1 for what the rules are certain of, else the learned one.

    Of a long text its most distressed part counts.
    """
    text = normalise(text)
    if not text:
        return DistressScore(0.0, 0.0)
    if says_self_harm(hide_lookalikes(text)):
        return DistressScore(1.0, 1.0)
    shift = _CHINESE_SHIFT if language_of(text) == "zh" else 0.0
    scores = [score(part, shift) for part in _parts(text)]
    return DistressScore(max(part.urgent for part in scores), max(part.distress for part in scores))


def _parts(text: str) -> Iterator[str]:
    """The text in parts that overlap by half; a short text is one part."""
    chinese = language_of(text) == "zh"
    units, joint, size = (list(text), "", _PART_CHARACTERS) if chinese else (text.split(), " ", _PART_WORDS)
    for start in range(0, max(1, len(units) - size // 2), size // 2):
        yield joint.join(units[start : start + size])
