"""Label sets, and scores over them.

A `LabelSet` says which labels a corpus and a model have, in their order. It travels with whatever is made of them:
`labels.json` in a cleaned folder, `config.json` of a run, the notes of an adapter, the manifest of an export and the
metadata of a GGUF file. `CARER` is the default: the paper's six emotions.
"""

from __future__ import annotations

import colorsys
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from emolib.emotions import EMOTIONS, emotion_of
from emolib.errors import InputError

__all__ = ["ABSTAIN_BELOW", "CARER", "MOST_LABELS", "SEPARATOR", "EmotionScores", "LabelSet", "split_labels"]

#: Below this probability of the best label, a dialogue treats the text as neutral.
ABSTAIN_BELOW = 0.5
#: The most labels of a set: all of them stand in the prompt.
MOST_LABELS = 64
#: What separates the labels of a text that has several, and so is part of no label.
SEPARATOR = ","

_MOST_CHARACTERS = 60
_WHITE = re.compile(r"\s+")
#: Okabe and Ito's palette, in which the colour-blind tell labels apart; more labels get colours around the wheel.
_PALETTE = ("#0072b2", "#e69f00", "#cc79a7", "#d55e00", "#6a4c93", "#009e73")
_GREY = "#8a8a8a"
_COLOUR = re.compile(r"#[0-9a-f]{6}")


def split_labels(text: str) -> tuple[str, ...]:
    """Return the labels in "joy, love", without white space around them; empty ones are left out."""
    return tuple(name for part in text.split(SEPARATOR) if (name := part.strip()))


@dataclass(frozen=True)
class LabelSet:
    """The labels that a text can have, in their order: 2 to 64 names in any language.

    Args:
        names: The labels. White space around them is ignored.
        neutral: The label that means "no emotion", if there is one.
        multi_label: Whether a text can have several labels.
        colours: A display colour ("#rrggbb") for each label; by default from a palette for the colour-blind.
        emotions: For each label one of the six emotions, or None; by default what the known vocabularies say of its
            name (`emolib.emotions`). A dialogue chooses tone and voice by it.

    Raises:
        InputError: There are too few or too many labels; two are the same but for case or white space; one is empty,
            too long, or holds a comma or a line break.
    """

    names: tuple[str, ...]
    neutral: str | None = None
    multi_label: bool = False
    colours: tuple[str, ...] = ()
    emotions: tuple[str | None, ...] = field(default=())

    def __post_init__(self) -> None:
        names = tuple(_checked_name(name) for name in self.names)
        object.__setattr__(self, "names", names)
        _refuse_count(names)
        _refuse_twins(names)
        if self.neutral is not None and self.neutral not in names:
            raise InputError(f"the neutral label {self.neutral!r} is none of the labels {self.shown()}")
        if not self.colours:
            object.__setattr__(self, "colours", _default_colours(names, self.neutral))
        if not self.emotions:
            object.__setattr__(self, "emotions", tuple(self._default_emotion(name) for name in names))
        if len(self.colours) != len(names) or not all(map(_COLOUR.fullmatch, self.colours)):
            raise InputError(f"{len(names)} labels need {len(names)} colours such as #0072b2, not {self.colours}")
        if len(self.emotions) != len(names) or not set(self.emotions) <= {*EMOTIONS, None}:
            raise InputError(
                f"the emotions of {len(names)} labels are each one of {', '.join(EMOTIONS)} or null,"
                f" not {self.emotions}"
            )

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, label: object) -> bool:
        return label in self._places

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    @cached_property
    def _folded(self) -> dict[str, str]:
        return {_fold(name): name for name in self.names}

    def index(self, label: str) -> int:
        """Return the place of `label` in the order; KeyError if it is none of the set."""
        return self._places[label]

    def find(self, written: str) -> str | None:
        """Return the label that `written` means, whatever its case and white space, or None."""
        return self._folded.get(_fold(written))

    def parse(self, text: str) -> str | None:
        """Return the label that `text` names under the paper's rule, strict exact match, or None.

        White space around the label is ignored and nothing else is: "Joy", "joy." and "joy, love" are format errors.
        """
        label = text.strip()
        return label if label in self else None

    def labels_of(self, label: str) -> tuple[str, ...]:
        """Return the labels of a row: one, or with `multi_label` those in "joy,love"."""
        return tuple(label.split(SEPARATOR)) if self.multi_label else (label,)

    def joined(self, labels: Iterable[str]) -> str:
        """Return several labels of one row as a string, in the order of the set."""
        return SEPARATOR.join(sorted(set(labels), key=self.index))

    def weights(self, label: str) -> dict[str, float]:
        """Return the target of a row with the label `label`: a probability for each of its labels."""
        labels = self.labels_of(label)
        return dict.fromkeys(labels, 1.0 / len(labels))

    def colour(self, label: str) -> str:
        """Return the display colour of `label`, "#rrggbb"."""
        return self.colours[self.index(label)]

    def emotion(self, label: str) -> str | None:
        """Return the emotion that `label` means to a dialogue, one of the six or None."""
        return self.emotions[self.index(label)]

    def shown(self, most: int = 12) -> str:
        """Return the names for a message, at most `most` of them."""
        more = f" and {len(self.names) - most} more" if len(self.names) > most else ""
        return ", ".join(self.names[:most]) + more

    def as_dict(self) -> dict[str, Any]:
        """Return the set ready for JSON; `from_dict` reads it back."""
        return {
            "names": list(self.names),
            "neutral": self.neutral,
            "multi_label": self.multi_label,
            "colours": list(self.colours),
            "emotions": dict(zip(self.names, self.emotions, strict=True)),
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any] | Sequence[str] | None) -> LabelSet:
        """Return the set that `as_dict` wrote. A list of names is a set too, and None the six emotions.

        InputError if it is none.
        """
        if found is None:
            return CARER
        if not isinstance(found, Mapping):
            found = {"names": found}
        names = found.get("names")
        emotions = found.get("emotions") or {}
        if not isinstance(names, Sequence) or isinstance(names, str) or not isinstance(emotions, Mapping):
            raise InputError('a label set needs {"names": ["…", "…"]}, and "emotions" as {label: emotion}')
        labels = cls(
            tuple(map(str, names)),
            found.get("neutral"),
            bool(found.get("multi_label", False)),
            tuple(found.get("colours") or ()),
            tuple(emotions.get(name) for name in names) if emotions else (),
        )
        return CARER if labels == CARER else labels

    def _default_emotion(self, name: str) -> str | None:
        return None if name == self.neutral else emotion_of(name)


def _fold(name: str) -> str:
    return _WHITE.sub(" ", unicodedata.normalize("NFKC", name)).strip().casefold()


def _checked_name(name: str) -> str:
    bare = unicodedata.normalize("NFC", name).strip()
    if not bare:
        raise InputError("a label is empty; give each label a name")
    if SEPARATOR in bare or "{}" in bare or len(bare.splitlines()) > 1:
        what = "a comma, which separates labels" if SEPARATOR in bare else "a slot {} or a line break"
        raise InputError(f"the label {bare!r} holds {what}; give it another name with --map (see --help)")
    if len(bare) > _MOST_CHARACTERS:
        raise InputError(
            f"the label {bare[:30]!r}… has {len(bare)} characters, and a label at most {_MOST_CHARACTERS};"
            " is that the column of the labels? See --label-column"
        )
    return bare


def _refuse_count(names: Sequence[str]) -> None:
    if len(names) < 2:
        raise InputError(f"a label set needs at least two labels; here is {', '.join(names) or 'none'} alone")
    if len(names) > MOST_LABELS:
        raise InputError(
            f"{len(names)} labels, such as {', '.join(names[:3])}; a label set has at most {MOST_LABELS}."
            " Is that the column of the labels? See --label-column, and --map to join labels"
        )


def _refuse_twins(names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        folded = _fold(name)
        if folded in seen:
            if seen[folded] == name:
                raise InputError(f"the label {name!r} stands twice in the label set")
            raise InputError(
                f"the labels {seen[folded]!r} and {name!r} differ in case or white space only; make them one with"
                f" --map '{name}={seen[folded]}'"
            )
        seen[folded] = name


def _default_colours(names: Sequence[str], neutral: str | None) -> tuple[str, ...]:
    colours, taken = [], 0
    coloured = len(names) - (neutral in names)
    for name in names:
        if name == neutral:
            colours.append(_GREY)
            continue
        colours.append(_PALETTE[taken] if coloured <= len(_PALETTE) else _around(taken, coloured))
        taken += 1
    return tuple(colours)


def _around(place: int, of: int) -> str:
    """Return a colour on the wheel; neighbours differ in lightness too."""
    parts = colorsys.hls_to_rgb(place / of, 0.35 + 0.2 * (place % 2), 0.65)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


#: The paper's six emotions in the order of CARER's numbers: 0 sadness … 5 surprise.
CARER = LabelSet(EMOTIONS)


@dataclass(frozen=True)
class EmotionScores:
    """A probability for each label of a label set.

    `probabilities` maps every label to a number in [0, 1]; they sum to 1 (within 1e-3). `abstain_below` is the
    confidence below which `.abstained` is true. `thresholds` are those of a multi-label model, one per label: the
    labels whose probability reaches theirs are `.predicted`.
    """

    probabilities: Mapping[str, float]
    abstain_below: float = ABSTAIN_BELOW
    labels: LabelSet = CARER
    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        missing = [label for label in self.labels if label not in self.probabilities]
        unknown = [label for label in self.probabilities if label not in self.labels]
        if missing or unknown:
            raise InputError(
                f"emotion scores need exactly the labels {self.labels.shown()} (missing: {missing}, unknown: {unknown})"
            )
        total = math.fsum(self.probabilities.values())
        if not math.isfinite(total) or abs(total - 1.0) > 1e-3 or min(self.probabilities.values()) < 0:
            raise InputError(f"emotion probabilities must be at least 0 and sum to 1, not to {total:.4f}")

    @classmethod
    def from_sequence(
        cls,
        values: Iterable[float],
        abstain_below: float = ABSTAIN_BELOW,
        labels: LabelSet = CARER,
        thresholds: tuple[float, ...] = (),
    ) -> EmotionScores:
        """Return the scores of probabilities in the order of `labels`."""
        probabilities = dict(zip(labels, (float(value) for value in values), strict=True))
        return cls(probabilities, abstain_below, labels, thresholds)

    @property
    def label(self) -> str:
        """The most probable label (the first of the set if two are equal)."""
        return max(self.labels, key=lambda label: self.probabilities[label])

    @property
    def confidence(self) -> float:
        """The probability of `.label`."""
        return self.probabilities[self.label]

    @property
    def abstained(self) -> bool:
        """True if the confidence is below `abstain_below`."""
        return self.confidence < self.abstain_below

    @property
    def predicted(self) -> tuple[str, ...]:
        """The labels of the text: `.label`, or of a multi-label set those that reach their threshold, at least one."""
        if not self.labels.multi_label:
            return (self.label,)
        thresholds = self.thresholds or (1.0 / 3,) * len(self.labels)
        reached = zip(self.labels, thresholds, strict=True)
        return tuple(label for label, least in reached if self.probabilities[label] >= least) or (self.label,)

    def top(self, count: int = 3) -> list[tuple[str, float]]:
        """Return the `count` most probable labels with their probabilities, the most probable first."""
        ranked = sorted(self.labels, key=lambda label: -self.probabilities[label])
        return [(label, self.probabilities[label]) for label in ranked[:count]]

    def as_dict(self, digits: int = 4) -> dict[str, float]:
        """Return the probabilities in the order of the labels, rounded for a report."""
        return {label: round(self.probabilities[label], digits) for label in self.labels}

    def as_emotions(self) -> EmotionScores:
        """Return what the scores mean to a dialogue: scores over the six emotions.

        The probabilities of the labels that mean the same emotion add up. Those of labels without an emotion are
        spread over all six, and if most of the probability is theirs the result has abstained, as it has if these
        scores have.
        """
        if self.labels.names == EMOTIONS:
            return self
        sums = dict.fromkeys(EMOTIONS, 0.0)
        for label, emotion in zip(self.labels, self.labels.emotions, strict=True):
            if emotion:
                sums[emotion] += self.probabilities[label]
        none = max(0.0, 1.0 - math.fsum(sums.values()))
        best = max(sums.values())
        spread = {emotion: share + none / len(EMOTIONS) for emotion, share in sums.items()}
        confidence = max(spread.values())
        if none >= best or best < self.abstain_below:
            least = max(self.abstain_below, math.nextafter(confidence, 2))
        else:
            least = min(self.abstain_below, confidence)
        return EmotionScores(spread, least)
