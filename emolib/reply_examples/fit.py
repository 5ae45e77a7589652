"""Whether a written reply suits another message as it is: a logistic regression (`benchmarks/_reply_fit.py` fits it).

Its features are what the messages share and do not, and above all what the reply says that the new message did not:
words of the other message (another country, another number), names, and persons.
"""

from __future__ import annotations

import json
import math
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from emolib.reply_examples.words import content_words, words_of

if TYPE_CHECKING:
    from emolib.reply_examples.index import MessageIndex

__all__ = ["features", "fit"]

_HE = frozenset("he he's him his himself".split())
_SHE = frozenset("she she's her hers herself".split())
_THEY = frozenset("they they're them their theirs themselves".split())
_MEN = _HE | frozenset("boy man husband father brother son grandfather uncle nephew boyfriend grandson".split())
_WOMEN = _SHE | frozenset("girl woman wife mother sister daughter grandmother aunt niece girlfriend".split())
_NEGATIONS = frozenset("not no never don't can't won't didn't isn't wasn't haven't nothing nobody without".split())
_QUESTION = re.compile(r"\?|^(?:what|who|when|where|why|how|can|could|do|does|is|are|should|will|which)\b", re.I)
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+|\d+")
#: Words with the same beginning are one word in another form.
_STEM = 5


def fit(index: MessageIndex, message: str, tone: str | None, place: int, reply: str) -> float:
    """The probability in [0, 1] that `reply`, to the message at `place` of `index`, suits `message`, said in `tone`."""
    weights = _weights()
    found = features(index, message, tone, place, reply)
    return 1.0 / (1.0 + math.exp(-weights["bias"] - sum(weights[name] * value for name, value in found.items())))


def features(index: MessageIndex, message: str, tone: str | None, place: int, reply: str) -> dict[str, float]:
    """What the regression looks at, by name."""
    other = index.exchanges[place].message
    here, there, said = words_of(message), words_of(other), words_of(reply)
    weights = index.weights(there)
    words_alike = sum(weight * weights.get(term, 0.0) for term, weight in index.weights(here).items())
    sense_alike = float(index.mean_vector(here) @ index.mean_vector(there))
    own, others, replied = content_words(here), content_words(there), content_words(said)
    stems, other_stems = ({word[:_STEM] for word in words} for words in (own, others))
    foreign = [word for word in replied if word[:_STEM] not in stems]
    missing = sum(index.rarity(word) * (1.0 - index.vectors.nearness(word, others)) for word in own)
    asked = float(bool(_QUESTION.search(message)))
    return {
        "words_alike": words_alike,
        "sense_alike": sense_alike,
        "leaked": sum(_strangeness(index, word, own) for word in foreign if word[:_STEM] in other_stems),
        "new": sum(_strangeness(index, word, own) for word in foreign if word[:_STEM] not in other_stems),
        "missing": missing,
        "missing_share": missing / max(sum(index.rarity(word) for word in own), 1e-6),
        "names": float(sum(name.lower() not in here for name in _NAME.findall(reply))),
        "persons": float(_unknown_persons(set(here), set(said))),
        "same_tone": float(tone == index.tones[place]),
        "asked": asked,
        "asked_alike": asked * (words_alike + sense_alike),
        "negated": float(bool(_NEGATIONS & set(here)) != bool(_NEGATIONS & set(there))),
        "reply_words": len(said) / 10,
        "message_words": len(here) / 10,
        "content_words": math.log(1 + len(own)),
    }


def _strangeness(index: MessageIndex, word: str, known: list[str]) -> float:
    return index.rarity(word) * (1.0 - index.vectors.nearness(word, known))


def _unknown_persons(message: set[str], reply: set[str]) -> int:
    """How many kinds of persons `reply` speaks of that `message` did not name."""
    he = bool(reply & _HE) and not message & _MEN
    she = bool(reply & _SHE) and not message & _WOMEN
    they = bool(reply & _THEY) and not message & _THEY and not any(word.endswith("s") for word in message)
    return he + she + they


@cache
def _weights() -> dict[str, float]:
    return json.loads(resources.files("emolib.reply_examples").joinpath("fit.json").read_text(encoding="utf-8"))
