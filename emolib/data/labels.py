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
from emolib.emotions import EMOTIONS, GOEMOTIONS, NEUTRAL
from emolib.errors import InputError, UsageError

__all__ = ["is_label", "is_numeric_label", "label_map", "parse_label_names", "why_unknown"]

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
#: The share of numbers beyond the order from which they are no typing errors but another numbering.
_ANOTHER_NUMBERING = 0.01
#: One number or several: 3, 3.0 (as pandas writes whole numbers beside gaps), 2,14 (as GoEmotions writes two labels).
_NUMBERS = re.compile(r"\s*\d{1,4}(?:\.0+)?(?:\s*,\s*\d{1,4})*\s*")
#: GoEmotions' numbers stand for its labels in alphabetical order, and neutral at the end.
_GOEMOTIONS_ORDER = tuple(GOEMOTIONS[name] for name in (*sorted(set(GOEMOTIONS) - {NEUTRAL}), NEUTRAL))


def parse_label_names(text: str) -> tuple[str, ...]:
    """Return the names in "anger,fear,…", in the order of the numbers 0, 1, …; UsageError for an unknown one.

    "goemotions" stands for GoEmotions' 28 numbers, each read as the emotion that `emolib.emotions.GOEMOTIONS` gives it.
    """
    if text.strip().lower() == "goemotions":
        return _GOEMOTIONS_ORDER
    names = tuple(name.strip().lower() for name in text.split(","))
    unknown = [name for name in names if name not in EMOTIONS]
    if unknown or len(set(names)) != len(names):
        raise UsageError(f"label names are some of {', '.join(EMOTIONS)}, each once, or goemotions; not {text!r}")
    return names


def label_map(table: Table, names: Sequence[str] | None = None) -> tuple[dict[str, str | None], str]:
    """What each label of `table` means (None: nothing known), and a sentence that says how that was found.

    `names` gives the order of numeric labels; without it the order is that of the source, or CARER's, and is
    checked. Raises InputError where the known examples contradict the order.
    """
    written = set(table.labels.unique())
    found: dict[str, str | None] = {label: _named(label) for label in written}
    numeric = {label: _numbers(label) for label in written if is_numeric_label(label)}
    if not numeric:
        return found, "named labels"
    order = tuple(names or table.label_names or EMOTIONS)
    if not names:
        _refuse_another_numbering(table, order, numeric)
    found |= {label: _at(order, numbers) for label, numbers in numeric.items()}
    if names:
        return found, "numbers in the order given"
    evidence = _evidence(table, {label: found[label] for label in numeric})
    _refuse_wrong_order(table, order, evidence)
    checked = [emotion for emotion in order if sum(evidence.get(emotion, {}).values()) >= _ENOUGH]
    if len(checked) == len({numbers[0] for numbers in numeric.values()}):
        return found, f"numbers, {order[0]} = 0 onwards; checked against known examples"
    return found, f"numbers, {order[0]} = 0 onwards; too few known examples to check more than {len(checked)} of them"


def why_unknown(label: str) -> str:
    """Return why a row with the label `label`, which `label_map` knows nothing of, cannot be used."""
    known = f"known: {', '.join(EMOTIONS)}, or 0 to 5"
    if is_numeric_label(label) and len(_numbers(label)) > 1:
        return f"the row has the labels {label.strip()}, which are not one emotion; {known}"
    if label.strip().lower() == NEUTRAL:
        return f"{NEUTRAL} is none of the six emotions; {known}"
    return f"unknown label {label!r}; {known}"


def is_numeric_label(label: str) -> bool:
    """Whether `label` is a number, or several: 3, 3.0 or 2,14."""
    return bool(_NUMBERS.fullmatch(label))


def is_label(label: str) -> bool:
    """Whether `label` is a number or the name of an emotion in CARER or GoEmotions."""
    return is_numeric_label(label) or label.strip().lower() in GOEMOTIONS


def _numbers(label: str) -> tuple[int, ...]:
    return tuple(int(float(part)) for part in label.split(","))


def _named(label: str) -> str | None:
    name = label.strip().lower()
    return name if name in EMOTIONS else None


def _at(order: Sequence[str], numbers: Sequence[int]) -> str | None:
    """Return the one emotion that `numbers` mean in `order`, or None."""
    meant = {order[number] if number < len(order) else None for number in numbers}
    emotion = meant.pop() if len(meant) == 1 else None
    return emotion if emotion in EMOTIONS else None


def _refuse_another_numbering(table: Table, order: Sequence[str], numeric: Mapping[str, Sequence[int]]) -> None:
    """InputError if many numbers are beyond `order`, or stand in twos: they count something else."""
    foreign = [label for label, numbers in numeric.items() if len(numbers) > 1 or numbers[0] >= len(order)]
    rows = table.labels.is_in(foreign).sum() if foreign else 0
    if rows <= _ANOTHER_NUMBERING * table.labels.is_in(list(numeric)).sum():
        return
    shown = " and ".join(sorted(foreign, key=lambda label: -max(numeric[label]))[:2])
    raise InputError(
        f"{table.name}: {rows} rows have numbers such as {shown}, so the numeric labels are not {', '.join(order)} from"
        " 0 on; say what they mean with --label-names: goemotions for GoEmotions' numbers, or the names in order"
    )


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
