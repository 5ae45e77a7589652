"""What cleaning found and did, in numbers that add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

from emolib.data.table import SPLITS, Reject
from emolib.emotions import emotion_of
from emolib.labels import CARER, LabelSet

if TYPE_CHECKING:
    import polars as pl

    from emolib.data.clean_settings import CleanSettings

__all__ = ["CleanReport", "Findings", "RuleCount", "find_conflicts"]

#: Unknown labels that the table shows.
_UNKNOWN_SHOWN = 5
#: White space that is no single space between two words.
_ODD_SPACE = r"\s\s|^\s|\s$|[^\S ]|^$"
_DESCRIPTIONS = {
    "unicode": "one form for each character, plain quotes, nothing invisible",
    "html": "tags, entities and the leftovers of links (href, http)",
    "whitespace": "single spaces, none at the ends",
    "empty": "texts of no or one character",
    "too_long": "texts longer than the model takes",
    "conflicts": "equal texts with different labels",
    "duplicates": "equal texts with one label",
    "near_duplicates": "texts with one label that share almost all words",
    "leakage": "texts that stand in the test or validation split too",
}


@dataclass(frozen=True)
class RuleCount:
    """What one rule did: texts it changed, rows it dropped, and how up to three of them read."""

    name: str
    changed: int = 0
    dropped: int = 0
    examples: tuple[str, ...] = ()
    on: bool = True

    @property
    def description(self) -> str:
        """What the rule is for."""
        return _DESCRIPTIONS[self.name]


@dataclass(frozen=True)
class Findings:
    """What stands in the sources, before any rule.

    `duplicate_rows` are rows whose text has come before in its split, `conflicting_texts` texts with two labels or
    more, `conflict_pairs` how many of them a pair of labels shares, `leaked_texts` texts of one split that stand in
    another ("train/test"), `leaked_with_other_label` those of them whose labels differ. `ceiling` is the best
    accuracy that any classifier of the text alone can reach on the rows of a split: always the majority's label.
    """

    rows: Mapping[str, int]
    distinct_texts: Mapping[str, int]
    duplicate_rows: Mapping[str, int]
    conflicting_texts: Mapping[str, int]
    conflict_pairs: Mapping[str, int]
    leaked_texts: Mapping[str, int]
    leaked_with_other_label: Mapping[str, int]
    ceiling: Mapping[str, float]


@dataclass(frozen=True)
class CleanReport:
    """One cleaning: `read = kept + dropped + rejected`, always."""

    read: int
    kept: int
    dropped: int
    rejected: int
    rules: tuple[RuleCount, ...]
    findings: Findings
    balance: Mapping[str, Mapping[str, int]]
    lengths: Mapping[str, Any]
    reject_reasons: Mapping[str, int]
    label_order: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    unknown_labels: Mapping[str, int] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        read: int,
        rejects: Sequence[Reject],
        kept: pl.DataFrame,
        rules: Sequence[RuleCount],
        findings: Findings,
        label_order: Mapping[str, str],
        settings: CleanSettings,
        labels: LabelSet = CARER,
        unknown_labels: Mapping[str, int] | None = None,
    ) -> CleanReport:
        """The report of a finished cleaning; raises AssertionError where the counts do not add up."""
        dropped = sum(rule.dropped for rule in rules)
        assert read == kept.height + dropped + len(rejects), (read, kept.height, dropped, len(rejects))
        reasons: dict[str, int] = {}
        for reject in rejects:
            reasons[reject.reason] = reasons.get(reject.reason, 0) + 1
        return cls(
            read,
            kept.height,
            dropped,
            len(rejects),
            tuple(rules),
            findings,
            _balance(kept, labels),
            _lengths(kept["text"]),
            reasons,
            dict(label_order),
            _plain(settings),
            labels.as_dict(),
            dict(unknown_labels or {}),
            {split: rows for split in SPLITS if (rows := kept.filter(split=split).height)},
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        rules = [{**asdict(rule), "description": rule.description} for rule in self.rules]
        return {**asdict(self), "rules": rules, "adds_up": self.read == self.kept + self.dropped + self.rejected}

    def _unknown_labels(self) -> str:
        """Return the line that counts the unknown labels and says how to map them."""
        labels = LabelSet.from_dict(self.labels)
        ranked = sorted(self.unknown_labels, key=lambda label: -self.unknown_labels[label])[:_UNKNOWN_SHOWN]
        counts = ", ".join(f"{label} {self.unknown_labels[label]:,}" for label in ranked)
        mapping = ",".join(f"{label}={_meaning(label, labels)}" for label in ranked)
        rows = sum(self.unknown_labels.values())
        return f"{'unknown labels':<16}{rows:>9,}  {counts}; to keep them: --map '{mapping}', or --labels"

    def table(self) -> str:
        """Ten lines or so for people."""
        done = [rule for rule in self.rules if rule.dropped or rule.changed]
        lines = [f"{'read':<16}{self.read:>9,}"]
        lines += [f"{_verb(rule):<16}{rule.dropped or rule.changed:>9,}  {rule.description}" for rule in done]
        if self.rejected:
            reason = max(self.reject_reasons, key=self.reject_reasons.get)
            lines.append(f"{'rejected':<16}{self.rejected:>9,}  see rejects.jsonl; most often: {reason}")
        if self.unknown_labels:
            lines.append(self._unknown_labels())
        for split, labels in self.balance.items():
            shares = ", ".join(f"{label} {count:,}" for label, count in labels.items())
            lines.append(f"{split:<16}{self.splits[split]:>9,}  {shares}")
        worst = min(self.findings.ceiling.values())
        lines.append(f"{'ceiling':<16}{worst:>9.2%}  the best accuracy that the labels allowed before cleaning")
        return "\n".join(lines)


def _meaning(written: str, labels: LabelSet) -> str:
    """Return the label that `written` may mean, or a place to fill in."""
    emotion = emotion_of(written)
    return emotion if emotion in labels else "LABEL"


def _verb(rule: RuleCount) -> str:
    return f"{'- ' if rule.dropped else '~ '}{rule.name}"


def _plain(settings: CleanSettings) -> dict[str, Any]:
    """Return the settings ready for JSON; of the labels what was given."""
    found = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(settings).items()}
    rules = found.pop("label_rules")
    return {
        **found,
        "labels": rules.labels and list(rules.labels),
        "vocabulary": rules.vocabulary and rules.vocabulary.name,
        "map": dict(rules.mapping),
        "label_names": rules.names and list(rules.names),
        "multi_label": rules.multi_label,
    }


def find_conflicts(frame: pl.DataFrame, label_set: LabelSet = CARER) -> Findings:
    """What is wrong in a frame with split (null: none), text and label, by text as it stands."""
    import polars as pl

    frame = frame.select("text", "label", split=pl.col("split").fill_null("all"))
    shared = frame["text"].is_duplicated()
    # A text that stands there once is in no conflict and no other split: only the others have to be grouped.
    texts = frame.filter(shared).group_by("split", "text", "label").len("rows")
    texts = texts.group_by("split", "text").agg(
        pl.col("rows").sum(), pl.col("rows").max().alias("majority"), pl.col("label").sort().alias("labels")
    )
    contested = texts.filter(pl.col("labels").list.len() > 1)
    rows = _by_split(frame, pl.len())
    single = _by_split(frame.filter(~shared), pl.len(), rows)
    distinct = {split: single[split] + count for split, count in _by_split(texts, pl.len(), rows).items()}
    right = {split: single[split] + count for split, count in _by_split(texts, pl.col("majority").sum(), rows).items()}
    leaks = _leaks(texts, list(rows))
    return Findings(
        rows,
        distinct,
        {split: rows[split] - distinct[split] for split in rows},
        {split: contested.filter(split=split).height for split in rows},
        _pairs(contested, label_set),
        {pair: found.height for pair, found in leaks.items()},
        {pair: found.filter(pl.col("labels") != pl.col("labels_right")).height for pair, found in leaks.items()},
        {split: round(right[split] / rows[split], 6) for split in rows},
    )


def _by_split(texts: pl.DataFrame, what: pl.Expr, splits: Iterable[str] = ()) -> dict[str, int]:
    """`what` of each split, 0 for those of `splits` that `texts` lacks."""
    counts = texts.group_by("split").agg(what.alias("value")).sort("split").rows()
    return dict.fromkeys(splits, 0) | {split: int(value) for split, value in counts}


def _pairs(contested: pl.DataFrame, label_set: LabelSet) -> dict[str, int]:
    counts: dict[str, int] = {}
    for labels, texts in contested.group_by("labels").len().rows():
        ordered = sorted(labels, key=lambda label: [label_set.index(name) for name in label_set.labels_of(label)])
        for left, right in combinations(ordered, 2):
            counts[f"{left}/{right}"] = counts.get(f"{left}/{right}", 0) + texts
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _leaks(texts: pl.DataFrame, present: Collection[str]) -> dict[str, pl.DataFrame]:
    splits = [split for split in (*SPLITS, "all") if split in present]
    found = {}
    for place, left in enumerate(splits):
        for right in splits[place + 1 :]:
            found[f"{left}/{right}"] = texts.filter(split=left).join(texts.filter(split=right), on="text")
    return found


def _balance(kept: pl.DataFrame, label_set: LabelSet) -> dict[str, dict[str, int]]:
    """Return how many texts of each split have each label."""
    counts: Counter[tuple[str, str]] = Counter()
    for split, written, count in kept.group_by("split", "label").len().rows():
        for label in label_set.labels_of(written):
            counts[split, label] += count
    splits = [split for split in SPLITS if any(found == split for found, _ in counts)]
    return {split: {label: counts[split, label] for label in label_set if (split, label) in counts} for split in splits}


def _lengths(texts: pl.Series) -> dict[str, Any]:
    """Words a text: the extremes, the quartiles, and how many texts have 1, 2, 3 … words (60 stands for more too)."""
    if texts.str.contains(_ODD_SPACE).any():
        words = texts.str.count_matches(r"\S+")
    else:
        words = texts.str.count_matches(" ", literal=True) + 1
    histogram = words.clip(0, 60).value_counts().sort(words.name).rows()
    return {
        "unit": "words",
        "min": words.min(),
        "quartiles": [words.quantile(share) for share in (0.25, 0.5, 0.75)],
        "max": words.max(),
        "histogram": {str(length): count for length, count in histogram},
    }
