"""Suspicious labels are found where some are wrong, worst first, and too small a corpus is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from emolib.data import Corpus, find_label_issues
from emolib.errors import InputError

CUES = {"joy": ["puppy", "party", "sunshine", "prize"], "fear": ["cellar", "footsteps", "dark", "scream"]}


def corpus(wrong: int) -> Corpus:
    texts, labels = [], []
    for label, words in CUES.items():
        for number in range(60):
            texts.append(f"{words[number % 4]} and {words[(number + 1) % 4]} number {number}")
            labels.append(label)
    for place in range(wrong):
        labels[place] = "fear"
    return Corpus("made", texts, labels)


def test_labels_that_were_swapped_come_first(tmp_path: Path) -> None:
    found = find_label_issues(corpus(wrong=6))
    swapped = set(corpus(wrong=6).texts[:6])
    assert {issue.text for issue in found.issues[:6]} == swapped
    assert all((issue.given, issue.suggested) == ("fear", "joy") for issue in found.issues[:6])
    assert found.accuracy == pytest.approx(114 / 120, abs=0.02)
    found.write(tmp_path / "issues.csv")
    assert (tmp_path / "issues.csv").read_text().startswith("quality,given,suggested,text\n")


def test_a_label_with_too_few_texts_is_named() -> None:
    small = Corpus("small", ["a b", "c d", "e f"], ["joy", "joy", "fear"])
    with pytest.raises(InputError, match="fear has 1 in small"):
        find_label_issues(small)
