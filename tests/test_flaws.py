"""Flaws that are planted in a corpus are the flaws that the cleaning finds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from emolib.data import Corpus, clean_corpus, plant_flaws, sample_corpus
from emolib.errors import InputError


@pytest.mark.parametrize(("twins", "contradictions", "leaks"), [(31, 30, 11), (0, 0, 0), (1, 200, 3)])
def test_what_is_planted_is_found(tmp_path: Path, twins: int, contradictions: int, leaks: int) -> None:
    train, test = sample_corpus("train"), sample_corpus("test")
    flawed = plant_flaws(train, test, twins=twins, contradictions=contradictions, leaks=leaks)
    assert len(flawed.train) == len(train) + twins + contradictions + leaks
    report = clean_corpus(flawed.frames(), tmp_path)
    rows = {name: (planted, found, dropped) for name, planted, found, dropped in flawed.compare(report).rows}
    assert rows == {
        "twins": (str(twins), str(twins), str(twins)),
        "contradictions": (str(contradictions), str(contradictions), str(2 * contradictions)),
        "leaks": (str(leaks), str(leaks), str(leaks)),
    }
    assert report.findings.ceiling["train"] == pytest.approx(1 - contradictions / len(flawed.train), abs=1e-6)


def test_the_seed_decides_and_no_text_gets_two_flaws() -> None:
    train, test = sample_corpus("train"), sample_corpus("test")
    assert plant_flaws(train, test, seed=1).train.texts == plant_flaws(train, test, seed=1).train.texts
    flawed = plant_flaws(train, test, seed=1)
    assert flawed.train.texts != plant_flaws(train, test, seed=2).train.texts
    assert max(Counter(flawed.train.texts).values()) == 2
    assert flawed.test is test


def test_a_corpus_that_is_too_small_is_refused() -> None:
    small = Corpus("small", ["a day", "a night"], ["joy", "fear"])
    with pytest.raises(InputError, match="there are 2 and 2"):
        plant_flaws(small, small, twins=2, contradictions=1, leaks=0)
