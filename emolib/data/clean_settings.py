"""What cleaning does: which rules, and what becomes of contradictions and of sources without a split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from emolib.data.labels import LabelRules
from emolib.data.repair import REPAIRS
from emolib.errors import UsageError

__all__ = ["RULES", "CleanSettings"]

_DROPS = ("empty", "too_long", "conflicts", "duplicates", "near_duplicates", "leakage")
RULES = (*REPAIRS, *_DROPS)
_CONFLICT_POLICIES = ("drop", "majority", "soft")


def _help(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class CleanSettings:
    """What cleaning does.

    `rules` are those that are applied (all by default). `conflicts` says what becomes of equal texts with
    different labels: `drop` them all, keep the `majority` label (dropped where there is none), or keep one
    text with a `soft` label, the share of each label. `max_tokens` counts with the tokenizer of `tokenizer`.
    The shares divide sources that name no split. `text_column` and `label_column` are found if they are None, and so
    is all that `label_rules` says of the labels.
    """

    rules: tuple[str, ...] = _help(RULES, "rules to apply")
    conflicts: str = _help("drop", f"equal texts with different labels: {', '.join(_CONFLICT_POLICIES)}")
    near_threshold: float = _help(0.9, "similarity from which texts are near-duplicates")
    max_tokens: int = _help(1900, "longest text in tokens")
    tokenizer: str = _help("smollm2-135m", "model whose tokens are counted")
    validation_share: float = _help(0.1, "share of undivided sources that becomes validation")
    test_share: float = _help(0.1, "share of undivided sources that becomes test")
    seed: int = _help(3407, "seed of the division into splits")
    text_column: str | None = _help(None, "column of the texts (default: found by its name)")
    label_column: str | None = _help(None, "column of the labels (default: found by its name)")
    label_rules: LabelRules = field(default_factory=LabelRules)
    arrow: bool = _help(False, "write a datasets folder (Arrow) too")

    def __post_init__(self) -> None:
        unknown = [rule for rule in self.rules if rule not in RULES]
        if unknown:
            raise UsageError(f"unknown cleaning rule {unknown[0]!r}; known: {', '.join(RULES)}")
        if self.conflicts not in _CONFLICT_POLICIES:
            raise UsageError(f"unknown policy {self.conflicts!r} for conflicts; known: {', '.join(_CONFLICT_POLICIES)}")
        if not 0.5 <= self.near_threshold <= 1:
            raise UsageError(f"near_threshold is a similarity from 0.5 to 1, not {self.near_threshold}")
        if min(self.validation_share, self.test_share) < 0 or self.validation_share + self.test_share >= 1:
            raise UsageError("the shares of validation and test must be at least 0 and together below 1")
