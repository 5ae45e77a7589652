"""The adapters that ship with the package: there at once, right on plain sentences, honest about themselves."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

import emolib
from emolib import EmotionClassifier
from emolib.data import neutral_sentences, sample_corpus
from emolib.emotion_model import find_adapter

ADAPTERS = Path(emolib.__file__).parent / "adapters"
NAMES = ("carer", "everyday")

PLAIN = {
    "i feel so lonely and hopeless since he left": "sadness",
    "i feel absolutely delighted and happy today": "joy",
    "i feel furious and bitter about how rude they were": "anger",
    "i feel terrified and anxious about the operation": "fear",
}


@cache
def bundled(name: str) -> EmotionClassifier:
    return EmotionClassifier.load(name)


@pytest.mark.parametrize("name", NAMES)
def test_it_names_the_emotion_of_a_plain_sentence(name: str) -> None:
    found = [scores.label for scores in bundled(name).classify(list(PLAIN))]
    assert found == list(PLAIN.values())


def test_everyday_is_what_is_loaded_without_a_name() -> None:
    texts = list(PLAIN)
    unnamed = EmotionClassifier.load().classify(texts)
    assert [scores.label for scores in unnamed] == [scores.label for scores in bundled("everyday").classify(texts)]


def test_everyday_is_right_on_most_of_our_test_sentences_and_abstains_on_most_neutral_ones() -> None:
    corpus = sample_corpus("test")
    texts, labels = corpus.texts[::5], corpus.labels[::5]
    scores = bundled("everyday").classify(texts)
    right = sum(score.label == label for score, label in zip(scores, labels, strict=True))
    plain = bundled("everyday").classify(neutral_sentences()[::4])
    assert right / len(texts) > 0.5
    assert sum(score.abstained for score in plain) / len(plain) > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small_and_says_what_it_was_made_of(name: str) -> None:
    folder = ADAPTERS / name
    notes = json.loads((folder / "emolib.json").read_text())
    card = (folder / "README.md").read_text()
    assert (folder / "adapter_model.safetensors").stat().st_size < 11e6
    assert find_adapter(name).adapter == folder
    assert notes["base_model"]["sha256"]
    assert 0 < notes["temperature"] < 10
    for word in ("Data and licence", "Limits", "Results", "GoEmotions" if name == "everyday" else "CARER"):
        assert word in card
