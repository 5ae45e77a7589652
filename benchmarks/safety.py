"""How well distress is heard: `python -m benchmarks.safety [--quick] [--json FILE]`.

Judges `SafetyPolicy` on the test half of `emolib/data/sample/distress.tsv`: lines of people in urgent distress, of
people in despair (careful), and lines that only look so (none), in English and Chinese. The score never saw this half.

A line is flagged if it is URGENT or CONCERNING. Figures of each language:

    distress_recall_LL      share of the urgent lines that are flagged
    distress_precision_LL   share of the flagged urgent and none lines that are urgent
    flagged_precision_LL    share of all flagged lines that are in distress, urgent or careful
    urgent_recall_LL        share of the urgent lines that are URGENT, so that no model answers them
    urgent_precision_LL     share of the URGENT lines that are labelled so
    careful_flagged_LL      share of the careful lines that are flagged
    false_alarm_rate_LL     share of the lines without distress that are flagged

And of all: `sample_flagged`, the share of the sample corpus's test sentences (emotional, six labels) that are flagged,
and `microseconds_per_line` on one core. Rows: the lines of each label and kind, and what the policy makes of them.
"""

from __future__ import annotations

import csv
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks._report import Report, run
from emolib.data.sample import sample_corpus, sample_path
from emolib.dialogue import Distress, SafetyPolicy

_LANGUAGES = ("en", "zh")
_OUTCOMES = (Distress.URGENT, Distress.CONCERNING, Distress.NONE)


@dataclass(frozen=True)
class JudgedLine:
    """A labelled line, and what the policy says of it."""

    language: str
    label: str
    kind: str
    text: str
    found: Distress

    @property
    def flagged(self) -> bool:
        return self.found is not Distress.NONE


def main() -> int:
    return run(_measure, "safety", ["numpy"])


def _measure(report: Report, quick: bool) -> None:
    policy = SafetyPolicy()
    for language in _LANGUAGES:
        lines = judged_lines(policy, "test", language)
        report.figures |= {f"{name}_{language}": value for name, value in figures(lines).items()}
        report.rows += _kinds(lines)
    texts = sample_corpus("test").texts
    started = time.perf_counter()
    flagged = sum(policy.distress(text, []) is not Distress.NONE for text in texts)
    report.figures["sample_flagged"] = round(flagged / len(texts), 4)
    report.figures["microseconds_per_line"] = round(1e6 * (time.perf_counter() - started) / len(texts))


def judged_lines(policy: SafetyPolicy, split: str, language: str) -> list[JudgedLine]:
    """Judge the lines of `split` in `language`."""
    with open(sample_path("distress"), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        JudgedLine(language, row["label"], row["kind"], row["text"], policy.distress(row["text"], []))
        for row in rows
        if row["split"] == split and row["language"] == language
    ]


def figures(lines: Sequence[JudgedLine]) -> dict[str, float]:
    """Return the figures of one language, by their names without it."""
    of = {label: [line for line in lines if line.label == label] for label in ("urgent", "careful", "none")}
    flagged = {label: sum(line.flagged for line in chosen) for label, chosen in of.items()}
    urgent = [line for line in lines if line.found is Distress.URGENT]
    rightly_urgent = sum(line.label == "urgent" for line in urgent)
    return {
        "distress_recall": _share(flagged["urgent"], len(of["urgent"])),
        "distress_precision": _share(flagged["urgent"], flagged["urgent"] + flagged["none"]),
        "flagged_precision": _share(flagged["urgent"] + flagged["careful"], sum(flagged.values())),
        "urgent_recall": _share(rightly_urgent, len(of["urgent"])),
        "urgent_precision": _share(rightly_urgent, len(urgent)),
        "careful_flagged": _share(flagged["careful"], len(of["careful"])),
        "false_alarm_rate": _share(flagged["none"], len(of["none"])),
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _kinds(lines: Sequence[JudgedLine]) -> list[dict[str, Any]]:
    counts = Counter((line.label, line.kind, line.found) for line in lines)
    return [
        {
            "language": lines[0].language,
            "label": label,
            "kind": kind,
            **{outcome.value: counts[label, kind, outcome] for outcome in _OUTCOMES},
        }
        for label, kind in dict.fromkeys((line.label, line.kind) for line in lines)
    ]


if __name__ == "__main__":
    sys.exit(main())
