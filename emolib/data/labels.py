"""From labels as written to the labels of a label set.

Which set that is, is given, or found in the corpus: the paper's six emotions if its labels are they, else the names
that stand there. Named labels speak for themselves. Numbers do not: the order of the six is checked against texts that
say plainly which emotion they are about, and a corpus whose numbers mean something else is refused.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import permutations
from pathlib import Path

from emolib.data.table import Table
from emolib.emotions import EMOTIONS, NEUTRAL, VOCABULARIES, Vocabulary, emotion_of, neutral_among
from emolib.errors import InputError, UsageError
from emolib.labels import CARER, LabelSet, split_labels

__all__ = ["LabelReader", "LabelRules", "is_label", "is_numeric_label", "parse_label_rules"]

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
#: The share of rows with other names from which a corpus has another label set than the six, and how often each stands.
_ANOTHER_SET, _NO_TYPO = 0.2, 5
#: The share of rows with several labels from which they are a multi-label corpus.
_SEVERAL = 0.01
#: One number or several: 3, 3.0 (as pandas writes whole numbers beside gaps), 2,14 (as GoEmotions writes two labels).
_NUMBERS = re.compile(r"\s*\d{1,4}(?:\.0+)?(?:\s*,\s*\d{1,4})*\s*")


@dataclass(frozen=True)
class LabelRules:
    """What is known of a corpus's labels beforehand; everything that is None is found.

    Args:
        labels: The label set.
        vocabulary: What names and numbers of the source are; its labels are the label set if none is given, else those
            that `labels` lacks are read as the emotion that they mean.
        mapping: Names by which labels as written are read: {"happy": "joy"}.
        names: The names of numeric labels from 0 on.
        multi_label: Whether a text can have several labels.
    """

    labels: LabelSet | None = None
    vocabulary: Vocabulary | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] | None = None
    multi_label: bool | None = None


def parse_label_rules(
    labels: str | None = None,
    *,
    vocabulary: str | None = None,
    mapping: str | None = None,
    label_names: str | None = None,
    multi_label: bool | None = None,
) -> LabelRules:
    """Return the rules that are written as on the command line.

    Args:
        labels: "urgent,calm", or "carer" for the six emotions.
        vocabulary: The name of a known vocabulary.
        mapping: "happy=joy,sad=sadness", or a file with one such pair per line, or a JSON file {"happy": "joy"}.
        label_names: The names of numeric labels from 0 on, "anger,fear,…".
        multi_label: Whether a text can have several labels.

    Raises:
        UsageError: A name is unknown, or the mapping makes no sense.
        InputError: The labels are no label set.
    """
    return LabelRules(
        labels=None if labels is None else _parse_labels(labels, bool(multi_label)),
        vocabulary=None if vocabulary is None else _parse_vocabulary(vocabulary),
        mapping={} if mapping is None else _parse_map(mapping),
        names=None if label_names is None else _parse_names(label_names),
        multi_label=multi_label,
    )


def _parse_labels(text: str, multi_label: bool) -> LabelSet:
    if text.strip().lower() == "carer":
        return _with_multi_label(CARER, multi_label)
    names = split_labels(text)
    return LabelSet(names, neutral_among(names), multi_label)


def _parse_names(text: str) -> tuple[str, ...]:
    names = split_labels(text)
    if len(names) < 2 or len({_fold(name) for name in names}) < len(names):
        raise UsageError(f"--label-names takes the names of 0, 1, …, each once, not {text!r}; see --vocabulary too")
    return names


def _parse_vocabulary(name: str) -> Vocabulary:
    found = VOCABULARIES.get(name.strip().lower())
    if found is None:
        raise UsageError(f"unknown vocabulary {name!r}; known: {', '.join(VOCABULARIES)}")
    return found


def _parse_map(text: str) -> dict[str, str]:
    """Return the mapping; a label may be sent on to another one."""
    mapping: dict[str, str] = {}
    for source, target in _pairs_of(text):
        if not (source and target):
            raise UsageError(f"--map sends {source or target!r} nowhere; write WRITTEN=LABEL, as in happy=joy")
        if mapping.get(source, target) != target:
            raise UsageError(f"--map sends {source!r} to {mapping[source]!r} and to {target!r}; choose one")
        mapping[source] = target
    for source in mapping:
        way = [source]
        while (target := mapping.get(way[-1])) is not None and target != way[-1]:
            if target in way:
                raise UsageError(f"--map goes in a circle: {' = '.join([*way, target])}")
            way.append(target)
    return mapping


def _pairs_of(text: str) -> list[tuple[str, str]]:
    path = Path(text)
    if "=" in text or not path.is_file():
        return [_pair(part) for part in split_labels(text)]
    content = path.read_text(encoding="utf-8")
    if path.suffix.lower() != ".json":
        return [_pair(line) for line in content.splitlines() if line.strip()]
    try:
        found = json.loads(content)
    except ValueError as error:
        raise UsageError(f"--map: {path} is not valid JSON ({error})") from error
    if not isinstance(found, dict):
        raise UsageError(f'--map: {path} holds no object such as {{"happy": "joy"}}')
    return [(str(source).strip(), str(target or "").strip()) for source, target in found.items()]


def _pair(text: str) -> tuple[str, str]:
    source, _, target = text.partition("=")
    return source.strip(), target.strip()


class LabelReader:
    """Reads the labels of the tables of one corpus: finds their label set, then what each label as written means.

    Raises:
        InputError: The numbers mean something else than the six emotions, or than the vocabulary says; or the names
            found are no label set.
        UsageError: The mapping sends a label to one that the label set lacks.
    """

    def __init__(self, tables: Sequence[Table], rules: LabelRules | None = None) -> None:
        self.rules = rules or LabelRules()
        self._tables = tables
        self._mapping = {_fold(source): target for source, target in self.rules.mapping.items()}
        if self.rules.vocabulary:
            for table in tables:
                self._refuse_other_numbers(table, self.rules.vocabulary)
        self.labels: LabelSet = self._find_labels()
        self._refuse_lost_targets()

    def meanings(self, table: Table) -> tuple[dict[str, str | None], str]:
        """Return what each label of `table` means (None: nothing known), and a sentence that says how that was found.

        Raises InputError if the texts contradict the order of numeric labels.
        """
        written = [str(label) for label in table.labels.unique()]
        numeric = [label for label in written if is_numeric_label(label)]
        order = self._order(table)
        if numeric and self._order_is_a_guess(table):
            _refuse_another_numbering(table, order, {label: _numbers(label) for label in numeric})
        found = {label: self._read(label, order) for label in written}
        if not numeric:
            return found, "named labels"
        if not self._order_is_a_guess(table):
            return found, "numbers in the order given"
        evidence = _evidence(table, {label: found[label] for label in numeric})
        _refuse_wrong_order(table, order, evidence)
        checked = [emotion for emotion in order if sum(evidence.get(emotion, {}).values()) >= _ENOUGH]
        numbers = f"numbers, {order[0]} = 0 onwards"
        if len(checked) == len({_numbers(label)[0] for label in numeric}):
            return found, f"{numbers}; checked against known examples"
        return found, f"{numbers}; too few known examples to check more than {len(checked)} of them"

    def why_unknown(self, written: str, table: Table) -> str:
        """Return why a row with the label `written`, which means nothing, cannot be used."""
        known = f"known: {self.labels.shown()}" + (", or 0 to 5" if self.labels is CARER else "")
        names = self._names(written, self._order(table))
        meant = {name: self._label(name) for name in names if name}
        if len(meant) > 1 and None not in meant.values():
            return f"the row has the labels {', '.join(meant)}, which are not one label; {known}"
        if is_numeric_label(written) and len(_numbers(written)) > 1:
            return f"the row has the labels {written.strip()}, which are not one emotion; {known}"
        if len(names) == 1 and _fold(written) == NEUTRAL:
            return f"{NEUTRAL} is none of the labels; {known}"
        unknown = next((name for name in names if name and meant[name] is None), written)
        return f"unknown label {unknown!r}; {known}"

    # --- which label set ------------------------------------------------------------------------

    def _find_labels(self) -> LabelSet:
        rules = self.rules
        if rules.labels:
            several = rules.labels.multi_label
            if rules.multi_label is not None or rules.labels.names != EMOTIONS:
                several = several or self._has_several()
            return _with_multi_label(rules.labels, several)
        if rules.vocabulary:
            vocabulary = rules.vocabulary
            several = vocabulary.multi_label if rules.multi_label is None else rules.multi_label
            return self._set_of(vocabulary.names, several, vocabulary.neutral)
        names = rules.names or next((table.label_names for table in self._tables if table.label_names), None)
        if names and not {_fold(name) for name in names} <= set(EMOTIONS):
            return self._set_of(names, self._has_several())
        return self._found()

    def _found(self) -> LabelSet:
        """Return the six emotions, or the names that stand in the corpus if they are others."""
        counts = self._counts
        others = {name: rows for name, rows in counts.items() if _fold(name) not in EMOTIONS}
        rows, foreign = sum(counts.values()), sum(n for n in others.values() if n >= _NO_TYPO)
        carer = len(others) < len(counts) and foreign < _ANOTHER_SET * rows
        if not counts or carer:
            return _with_multi_label(CARER, bool(counts) and self._has_several())
        return self._set_of(sorted(counts), self._has_several())

    def _set_of(self, names: Sequence[str], several: bool, neutral: str | None = None) -> LabelSet:
        mapped = {name: self._mapped(name) for name in names}
        distinct = tuple(dict.fromkeys(mapped.values()))
        neutral = mapped[neutral] if neutral else neutral_among(distinct)
        table = self.rules.vocabulary.emotions if self.rules.vocabulary else {}
        emotions = tuple(None if name == neutral else _emotion(name, table) for name in distinct)
        labels = LabelSet(distinct, neutral, several, emotions=emotions)
        return CARER if labels == CARER else labels

    @cached_property
    def _counts(self) -> Counter[str]:
        """How many rows have each name, of labels that are no numbers."""
        counts: Counter[str] = Counter()
        for table in self._tables:
            for written, rows in table.labels.value_counts().iter_rows():
                if written is None or is_numeric_label(written):
                    continue
                for name in self._parts(written):
                    counts[self._mapped(name)] += rows
        return counts

    def _has_several(self) -> bool:
        if self.rules.multi_label is not None:
            return self.rules.multi_label
        several = rows = 0
        for table in self._tables:
            for written, count in table.labels.value_counts().iter_rows():
                rows += count
                several += count * (len({self._mapped(name) for name in self._parts(written)}) > 1)
        return several > _SEVERAL * rows

    def _refuse_lost_targets(self) -> None:
        for source, target in self.rules.mapping.items():
            if self._label(self._mapped(target)) is None:
                raise UsageError(
                    f"--map sends {source!r} to {target!r}, which is none of the labels {self.labels.shown()}"
                )

    def _refuse_other_numbers(self, table: Table, vocabulary: Vocabulary) -> None:
        numbers = {n for label in table.labels.unique() if is_numeric_label(label) for n in _numbers(label)}
        if not numbers:
            return
        first = _first_number(vocabulary, numbers)
        beyond = sorted(n for n in numbers if not first <= n < first + len(vocabulary.names))
        if beyond:
            raise InputError(
                f"{table.name}: the number {beyond[-1]} is none of {vocabulary.name}'s, which are {first} to"
                f" {first + len(vocabulary.names) - 1}; say what the numbers mean with --label-names"
            )

    # --- what a label means ---------------------------------------------------------------------

    def _order(self, table: Table) -> tuple[str | None, ...]:
        """Return the names of the numbers 0, 1, …."""
        vocabulary = self.rules.vocabulary
        if self.rules.names:
            return self.rules.names
        if vocabulary:
            numbers = {n for label in table.labels.unique() if is_numeric_label(label) for n in _numbers(label)}
            return (None,) * _first_number(vocabulary, numbers) + vocabulary.names
        return tuple(table.label_names or self.labels.names)

    def _order_is_a_guess(self, table: Table) -> bool:
        """Whether nobody says what the numbers are, so that they can only be the six emotions in CARER's order."""
        given = self.rules.names or self.rules.vocabulary or (self.rules.labels and self.labels.names != EMOTIONS)
        order = set(self._order(table))
        return not given and order <= set(EMOTIONS)

    def _read(self, written: str, order: Sequence[str | None]) -> str | None:
        meant = {self._label(name) if name else None for name in self._names(written, order)}
        if not meant or None in meant:
            return None
        if self.labels.multi_label:
            return self.labels.joined(label for label in meant if label)
        return meant.pop() if len(meant) == 1 else None

    def _names(self, written: str, order: Sequence[str | None]) -> list[str | None]:
        if is_numeric_label(written) and self.labels.find(written) is None:
            return [order[number] if number < len(order) else None for number in _numbers(written)]
        return list(self._parts(written))

    def _parts(self, written: str) -> tuple[str, ...]:
        """Return the names in a label as written; one that is mapped as a whole is one name, commas or not."""
        return (written.strip(),) if _fold(written) in self._mapping else _parts(written)

    def _label(self, name: str) -> str | None:
        """Return the label that a name means, by the mapping, by itself, or by the vocabulary."""
        mapped = self._mapped(name)
        label = self.labels.find(mapped)
        if label is None and self.rules.vocabulary:
            label = self.labels.find(_emotion(mapped, self.rules.vocabulary.emotions) or NEUTRAL)
        return label

    def _mapped(self, name: str) -> str:
        name = name.strip()
        while (target := self._mapping.get(_fold(name))) is not None and target != name:
            name = target
        return name


def is_numeric_label(label: str) -> bool:
    """Return whether `label` is a number, or several: 3, 3.0 or 2,14."""
    return bool(_NUMBERS.fullmatch(label))


def is_label(label: str) -> bool:
    """Return whether `label` is a number or the name of a label in a known vocabulary."""
    return is_numeric_label(label) or any(_fold(name) in _KNOWN or emotion_of(name) for name in _parts(label))


_KNOWN = frozenset(name for vocabulary in VOCABULARIES.values() for name in vocabulary.names)


def _fold(name: str) -> str:
    return name.strip().casefold()


def _parts(written: str) -> tuple[str, ...]:
    """Return the names in "joy", "joy, love" or '["joy", "love"]'."""
    if written.lstrip().startswith("["):
        try:
            listed = json.loads(written.replace("'", '"'))
        except ValueError:
            return (written.strip(),)
        if isinstance(listed, list) and listed and all(isinstance(name, str | int) for name in listed):
            return tuple(str(name).strip() for name in listed)
    return split_labels(written) or (written.strip(),)


def _emotion(name: str, table: Mapping[str, str]) -> str | None:
    emotion = table.get(_fold(name)) or emotion_of(name)
    return None if emotion == NEUTRAL else emotion


def _with_multi_label(labels: LabelSet, several: bool) -> LabelSet:
    if several == labels.multi_label:
        return labels
    return LabelSet(labels.names, labels.neutral, several, labels.colours, labels.emotions)


def _first_number(vocabulary: Vocabulary, numbers: set[int]) -> int:
    """Return the number of the first label: that of the authors, or 0 if a 0 stands there, as in copies of the data."""
    return 0 if 0 in numbers else vocabulary.first


def _numbers(label: str) -> tuple[int, ...]:
    return tuple(int(float(part)) for part in label.split(","))


def _refuse_another_numbering(table: Table, order: Sequence[str], numeric: Mapping[str, Sequence[int]]) -> None:
    """InputError if many numbers are beyond `order`, or stand in twos: they count something else."""
    foreign = [label for label, numbers in numeric.items() if len(numbers) > 1 or numbers[0] >= len(order)]
    rows = table.labels.is_in(foreign).sum() if foreign else 0
    if rows <= _ANOTHER_NUMBERING * table.labels.is_in(list(numeric)).sum():
        return
    shown = " and ".join(sorted(foreign, key=lambda label: -max(numeric[label]))[:2])
    raise InputError(
        f"{table.name}: {rows} rows have numbers such as {shown}, so the numeric labels are not {', '.join(order)} from"
        " 0 on; say what they mean: --vocabulary goemotions for GoEmotions' numbers, or --label-names with the names"
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
