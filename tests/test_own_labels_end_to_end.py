"""Labels of one's own from training to llama.cpp: one model after the other knows them and answers alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from runs import save_convertible_base

from emolib.classify import EmotionClassifier
from emolib.classify.classifier import softmax
from emolib.classify.llama_scorer import open_server
from emolib.cli import main
from emolib.data import Corpus
from emolib.emotion_model import find_adapter
from emolib.errors import InputError
from emolib.evaluate import evaluate_run
from emolib.export import Manifest, export_gguf, open_llm_server
from emolib.finetune import RunFolder, preset, train
from emolib.labels import LabelSet

TEXTS = ["今天真高兴", "别烦我", "it rained all day", "so what", "他走了,我很难过", "ok"]
#: The first labels begin alike, one with the whole of another.
LABELS = {
    "one": LabelSet(("happy", "happy-ish", "anger", "中性"), neutral="中性"),
    "several": LabelSet(("happy", "happy-ish", "anger", "中性"), neutral="中性", multi_label=True),
}


Trained = tuple[RunFolder, Corpus]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_convertible_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module", params=LABELS)
def trained(
    request: pytest.FixtureRequest, base: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunFolder, Corpus]:
    labels = LABELS[request.param]
    names = list(labels)
    rows = [names[n % 4] for n in range(len(TEXTS))]
    if labels.multi_label:
        rows = [labels.joined({name, names[(n + 1) % 4]}) for n, name in enumerate(rows)]
    corpus = Corpus("own", TEXTS, rows, label_set=labels)
    settings = preset(
        "cpu", base_model=str(base), max_steps=3, batch_size=2, tracking="off", eval_examples=2, max_length=256
    )
    return train(corpus, tmp_path_factory.mktemp("own") / "run", settings), corpus


def test_the_run_says_its_labels_and_the_shared_prefix_holds(trained: Trained) -> None:
    run, corpus = trained
    assert LabelSet.from_dict(run.config["labels"]) == corpus.label_set
    assert find_adapter(run.path).labels == corpus.label_set
    assert run.config["engine"] == "prefix"
    assert "happy-ish" in find_adapter(run.path).prompt.prefix


def test_it_classifies_and_is_evaluated_with_its_labels(trained: Trained) -> None:
    run, corpus = trained
    scores = EmotionClassifier.load(run.path).classify(TEXTS)
    assert [one.labels for one in scores] == [corpus.label_set] * len(TEXTS)
    metrics = evaluate_run(run.path, corpus, calibrate_on=corpus, baseline_on=corpus).as_dict()
    assert set(metrics["per_label"]) == set(corpus.label_set)
    assert metrics["baselines"]["TF-IDF"]["n"] == len(TEXTS)
    if corpus.label_set.multi_label:
        assert len(find_adapter(run.path).thresholds) == 4
        assert (run.figures / "label_scores.png").is_file()


def test_it_is_not_judged_on_other_labels(trained: Trained) -> None:
    with pytest.raises(InputError, match=r"has the labels sadness, joy.*and the model happy, happy-ish"):
        evaluate_run(trained[0].path, Corpus("six", ["a"], ["joy"]))


def test_a_gguf_file_knows_them_and_answers_as_torch_does(trained: Trained, tmp_path: Path) -> None:
    run, corpus = trained
    expected = probabilities(EmotionClassifier.load(run.path))
    for form in ("merged", "adapter"):
        out = tmp_path / form
        manifest = export_gguf(run.path, out, ["f16"], form=form)
        assert Manifest.read(out).model["labels"] == list(corpus.label_set)
        files = {entry.kind: out / entry.file for entry in manifest.files}
        loaded = EmotionClassifier.load(files.get("merged", files.get("base")), adapter=files.get("adapter"))
        assert loaded.labels == corpus.label_set
        assert loaded.thresholds == pytest.approx(find_adapter(run.path).thresholds)
        np.testing.assert_allclose(probabilities(loaded), expected, atol=0.02)
    server, names = open_llm_server(files["base"], [files["adapter"]])
    _, task = open_server(server.listening_address, adapter=names[0])
    assert task.labels == corpus.label_set


def test_the_command_line_lists_them(trained: Trained, tmp_path: Path) -> None:
    run, corpus = trained
    (tmp_path / "texts.txt").write_text("今天真高兴\n\n", encoding="utf-8")
    assert (
        main(
            ["classify", "--model", str(run.path), "--in", str(tmp_path / "texts.txt"), "--out", str(tmp_path / "out")]
        )
        == 0
    )
    row = json.loads((tmp_path / "out" / "part-00000.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert set(row["probabilities"]) == set(corpus.label_set)
    assert row["label"] in corpus.label_set
    assert ("labels" in row) == corpus.label_set.multi_label


def probabilities(classifier: EmotionClassifier) -> np.ndarray:
    return softmax(classifier.scorer.label_logits(TEXTS))
