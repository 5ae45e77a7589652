"""The sample corpus is large enough, varied, and its test sentences are no copies of its training sentences."""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations, product

import pytest

from emolib.data import neutral_sentences, sample_corpus
from emolib.emotions import EMOTIONS


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


TRAIN, TEST, MORE, NEUTRAL = *map(sample_corpus, ("train", "test", "more")), neutral_sentences()
ALL = [*TRAIN.texts, *TEST.texts, *NEUTRAL]


def test_every_emotion_has_enough_sentences() -> None:
    assert min(Counter(TRAIN.labels)[label] for label in EMOTIONS) >= 150
    assert min(Counter(TEST.labels)[label] for label in EMOTIONS) >= 40
    assert min(Counter(MORE.labels)[label] for label in EMOTIONS) >= 500
    assert len(NEUTRAL) >= 60


def test_sentences_are_three_to_forty_words_long_and_of_every_length_between() -> None:
    lengths = [len(words(text)) for text in [*ALL, *MORE.texts]]
    assert min(lengths) == 3
    assert 35 <= max(lengths) <= 40
    assert len(set(lengths)) > 25


@pytest.mark.parametrize("label", EMOTIONS)
def test_most_sentences_do_without_the_name_of_an_emotion(label: str) -> None:
    named = re.compile(r"\b(sad|happy|joy|love|loved|loves|angry|anger|afraid|fear|scared|surpris\w+|feel\w*|felt)\b")
    rows = [*zip(TRAIN.texts, TRAIN.labels, strict=True), *zip(MORE.texts, MORE.labels, strict=True)]
    texts = [text for text, found in rows if found == label]
    assert sum(bool(named.search(text.lower())) for text in texts) < len(texts) / 2


def test_no_sentence_stands_twice_and_none_is_a_near_copy() -> None:
    sets = {text: frozenset(words(text)) for text in [*ALL, *MORE.texts]}
    pairs = [*combinations(ALL, 2), *product(TEST.texts, MORE.texts)]
    near = [(a, b) for a, b in pairs if len(sets[a] & sets[b]) * 2 >= len(sets[a] | sets[b])]
    assert near == []


def test_no_two_sentences_share_a_run_of_six_words() -> None:
    owner: dict[tuple[str, ...], int] = {}
    shared = []
    everything = [*ALL, *MORE.texts]
    for index, text in enumerate(everything):
        spelt = words(text)
        for run in zip(*(spelt[start:] for start in range(6)), strict=False):
            if owner.setdefault(run, index) != index:
                shared.append((everything[owner[run]], text))
    assert shared == []
