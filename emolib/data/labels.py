"""From labels as written to the six emotions.

Named labels speak for themselves. Numbers do not: an order of labels is checked against texts that say
plainly which emotion they are about, and a corpus whose numbers mean something else is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations

from emolib.data.table import Table
from emolib.emotions import EMOTIONS
from emolib.errors import InputError, UsageError

__all__ = ["label_map", "parse_label_names"]

# Words that name an emotion outright; a text with words of one emotion alone is a known example of it.
_CUES: dict[str, frozenset[str]] = {
    "sadness": frozenset("sad miserable unhappy gloomy heartbroken depressed hopeless lonely grief mournful".split()),
    "joy": frozenset("happy joyful cheerful delighted glad jolly thrilled pleased ecstatic excited".split()),
    "love": frozenset("loving romantic adore affectionate affection tender caring fond longing beloved".split()),
    "anger": frozenset("angry furious mad outraged irritated enraged resentful annoyed hateful livid".split()),
    "fear": frozenset("afraid scared terrified frightened anxious nervous fearful panicked worried".split()),
    "surprise": frozenset("surprised amazed astonished stunned shocked astounded startled dazed".split()),
}
_EMOTION_OF = {word: emotion for emotion, words in _CUES.items() for word in words}
#: Known examples that a pair of emotions needs before its order counts as checked.
_ENOUGH = 5


def parse_label_names(text: str) -> tuple[str, ...]:
    """The names in "anger,fear,…", in the order of the numbers 0, 1, …; UsageError for an unknown one."""
    names = tuple(name.strip().lower() for name in text.split(","))
    unknown = [name for name in names if name not in EMOTIONS]
    if unknown or len(set(names)) != len(names):
        raise UsageError(f"label names are some of {', '.join(EMOTIONS)}, each once; not {text!r}")
    return names


def label_map(table: Table, names: Sequence[str] | None = None) -> tuple[dict[str, str | None], str]:
    """What each label of `table` means (None: nothing known), and a sentence that says how that was found.

    `names` gives the order of numeric labels; without it the order is that of the source, or CARER's, and is
    checked. Raises InputError where the known examples contradict the order.
    """
    written = set(table.labels.unique())
    found: dict[str, str | None] = {label: _named(label) for label in written}
    numbers = sorted({int(label) for label in written if _is_number(label)})
    if not numbers:
        return found, "named labels"
    order = tuple(names or table.label_names or EMOTIONS)
    found |= {label: _at(order, int(label)) for label in written if _is_number(label)}
    if names:
        return found, "numbers in the order given"
    evidence = _evidence(table, {label: found[label] for label in written if _is_number(label)})
    _refuse_wrong_order(table, order, evidence)
    checked = [emotion for emotion in order if sum(evidence.get(emotion, {}).values()) >= _ENOUGH]
    if len(checked) == len(numbers):
        return found, f"numbers, {order[0]} = 0 onwards; checked against known examples"
    return found, f"numbers, {order[0]} = 0 onwards; too few known examples to check more than {len(checked)} of them"


def _named(label: str) -> str | None:
    name = label.strip().lower()
    return name if name in EMOTIONS else None


def _is_number(label: str) -> bool:
    return bool(re.fullmatch(r"\s*\d{1,4}\s*", label))


def _at(order: Sequence[str], number: int) -> str | None:
    return order[number] if number < len(order) and order[number] in EMOTIONS else None


def _evidence(table: Table, meaning: Mapping[str, str | None]) -> dict[str, Counter[str]]:
    """How many known examples of each emotion stand under each label, by the label's supposed meaning."""
    evidence: dict[str, Counter[str]] = {}
    for text, label in zip(table.texts.to_list(), table.labels.to_list(), strict=True):
        supposed = meaning.get(label)
        if supposed is None:
            continue
        cues = {_EMOTION_OF[word] for word in text.lower().split() if word in _EMOTION_OF}
        if len(cues) == 1:
            evidence.setdefault(supposed, Counter())[cues.pop()] += 1
    return evidence


def _refuse_wrong_order(table: Table, order: Sequence[str], evidence: Mapping[str, Counter[str]]) -> None:
    """Compare the order with every other one of the same emotions by the known examples it explains."""
    known = [emotion for emotion in order if sum(evidence.get(emotion, {}).values()) >= _ENOUGH]
    if len(known) < 2:
        return

    def explained(meanings: Sequence[str]) -> int:
        return sum(evidence[label][meaning] for label, meaning in zip(known, meanings, strict=True))

    best = max(permutations(known), key=explained)
    if explained(best) > 1.5 * explained(known):
        meant = dict(zip(known, best, strict=True))
        shown = ",".join(meant.get(emotion, emotion) for emotion in order)
        raise InputError(
            f"{table.name}: the numeric labels are not in the order {', '.join(order)}; the texts suggest {shown}."
            f" If that is right, say so with --label-names {shown}"
        )
