"""The baselines: TF-IDF and a frozen sentence encoder with logistic regression, one or several labels per text."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_models import SENTENCES, tiny_tokenizer

from emolib.data import Corpus
from emolib.encoder import TransformersEncoder, load_encoder
from emolib.errors import ModelError
from emolib.evaluate.baselines import TFIDF, baseline_scores, encoder_baseline
from emolib.evaluate.run import _encoder_baseline
from emolib.labels import LabelSet

LABELS = ("urgent", "calm", "angry")
TEXTS = [f"{sentence} number {number}" for number in range(6) for sentence in SENTENCES[:3]]
GOLD = [LABELS[row % 3] for row in range(len(TEXTS))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder of two layers, saved as a hub's folder is."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    path = tmp_path_factory.mktemp("encoder") / "tiny-e5"
    BertModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TransformersEncoder:
    return load_encoder(str(folder))


def test_a_vector_is_the_same_alone_and_among_longer_texts(encoder: TransformersEncoder) -> None:
    together = encoder.encode(TEXTS)
    assert together.shape == (len(TEXTS), 32)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_vector_is_the_mean_over_tokens_with_the_prefix_of_e5(encoder: TransformersEncoder) -> None:
    import torch

    assert encoder.prefix == "query: "
    with torch.inference_mode():
        tokens = encoder.tokenizer("query: hello?", return_tensors="pt")
        hidden = encoder.model(tokens["input_ids"]).last_hidden_state[0].mean(dim=0).numpy()
    np.testing.assert_allclose(encoder.encode(["hello?"])[0], hidden / np.linalg.norm(hidden), atol=1e-5)


def test_no_text_has_no_vector(encoder: TransformersEncoder) -> None:
    assert encoder.encode([]).shape == (0, 32)


@pytest.mark.parametrize("kind", ["tfidf", "encoder"])
def test_texts_with_one_label_are_learned(encoder: TransformersEncoder, kind: str) -> None:
    baseline = TFIDF if kind == "tfidf" else encoder_baseline(encoder)
    train = Corpus("own", TEXTS[:12], GOLD[:12], label_set=LabelSet(LABELS))
    assert baseline_scores(baseline, train, TEXTS[12:], GOLD[12:]).accuracy == 1


@pytest.mark.parametrize("kind", ["tfidf", "encoder"])
def test_texts_with_several_labels_are_learned(encoder: TransformersEncoder, kind: str) -> None:
    labels = LabelSet(LABELS, multi_label=True)
    baseline = TFIDF if kind == "tfidf" else encoder_baseline(encoder)
    gold = [labels.joined(("urgent", "angry")) if label == "angry" else label for label in GOLD]
    train = Corpus("own", TEXTS, gold, label_set=labels)
    assert baseline_scores(baseline, train, TEXTS, gold, held_out=train).accuracy == 1


def test_a_label_that_training_lacks_never_wins(encoder: TransformersEncoder) -> None:
    train = Corpus("own", TEXTS, GOLD, label_set=LabelSet((*LABELS, "bored")))
    for baseline in (TFIDF, encoder_baseline(encoder)):
        assert "bored" not in baseline_scores(baseline, train, TEXTS, GOLD).generated


def test_each_text_is_encoded_once(encoder: TransformersEncoder) -> None:
    seen: list[str] = []

    class Counting:
        name = "counting"

        def encode(self, texts: list[str]) -> np.ndarray:
            seen.extend(texts)
            return encoder.encode(texts)

    baseline = encoder_baseline(Counting())
    train = Corpus("own", TEXTS, GOLD, label_set=LabelSet(LABELS))
    for _ in range(2):
        baseline_scores(baseline, train, [*TEXTS, TEXTS[0]], [*GOLD, GOLD[0]])
    assert sorted(seen) == sorted(TEXTS)


def test_an_encoder_that_cannot_be_had_is_named_and_the_default_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emolib.encoder.transformers_encoder.hub_problem", lambda: "no answer")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"no-such/encoder.*no answer"):
        _encoder_baseline("no-such/encoder")
    baseline, missing = _encoder_baseline("auto")
    assert baseline is None
    assert "multilingual-e5-small cannot be had from the model hub (no answer)" in str(missing)
    assert "make more" in str(missing)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_encoder(str(tmp_path))


def test_an_encoder_in_the_cache_serves_when_the_hub_does_not_answer(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = tmp_path / "models--somebody--tiny-e5"
    (stored / "refs").mkdir(parents=True)
    (stored / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, stored / "snapshots" / ("0" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("emolib.encoder.transformers_encoder.hub_problem", lambda: "no answer")
    assert load_encoder("somebody/tiny-e5").encode(["hello"]).shape == (1, 32)
