"""Judging a run: free answers to the letter, the base beside the adapter, and what an interruption leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import save_run, save_tiny_base
from tiny_models import SENTENCES

from emolib.cli import main
from emolib.data import Corpus
from emolib.emotion_model import EmotionModel, load_emotion_model, read_adapter_notes
from emolib.emotions import EMOTIONS
from emolib.errors import InputError, ModelError
from emolib.evaluate import calibrate_run, compare_runs, evaluate_run
from emolib.evaluate.decoding import answer_batch
from emolib.evaluate.run import evaluate_model
from emolib.evaluate.tables import metrics_table
from emolib.prompting.prefix import run_prefix
from emolib.prompting.templates import PAPER

TEXTS = [f"{first} {second}" for first in SENTENCES for second in ("", "hello?", *SENTENCES[:3])]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    return save_run(folder / "run", save_tiny_base(folder / "base"))


@pytest.fixture(scope="module")
def loaded(run: Path) -> EmotionModel:
    return load_emotion_model(run)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    labels = [EMOTIONS[number % 6] for number in range(len(TEXTS))]
    return Corpus("sentences", TEXTS, labels)


def generate(loaded: EmotionModel, text: str, tokens: int = 8) -> str:
    """The peer: transformers' own greedy generation on the whole prompt."""
    import torch

    ids = loaded.tokenizer(PAPER.render(text.strip()), return_tensors="pt")
    with torch.inference_mode():
        output = loaded.model.generate(**ids, max_new_tokens=tokens, do_sample=False)[0, ids["input_ids"].shape[1] :]
    kept = [token for token in output.tolist() if token != loaded.encoder.end_id]
    return loaded.tokenizer.decode(kept).split("\n")[0]


def test_free_answers_are_those_of_transformers_generate(loaded):
    """With the adapter and without, in batches of unequal lengths."""
    import torch

    for context in (loaded.without_adapter, lambda: torch.inference_mode()):
        with torch.inference_mode(), context():
            prefix = run_prefix(loaded.model, loaded.encoder.prefix_ids)
            suffixes = [loaded.encoder.suffix_ids(text) for text in TEXTS]
            answers = answer_batch(loaded.model, loaded.encoder, prefix, suffixes)
            expected = [generate(loaded, text) for text in TEXTS]
        assert answers.generated == expected
        assert len(set(expected)) > 1


def test_rows_that_stop_early_do_not_disturb_the_others(loaded, monkeypatch):
    """A token that many answers contain is made the end: rows then finish at different steps."""
    import torch

    with torch.inference_mode():
        prefix = run_prefix(loaded.model, loaded.encoder.prefix_ids)
        suffixes = [loaded.encoder.suffix_ids(text) for text in TEXTS]
        free = answer_batch(loaded.model, loaded.encoder, prefix, suffixes).generated
        ids = [loaded.tokenizer(text)["input_ids"] for text in free]
        end = next(token for row in ids for token in row[2:] if 0 < sum(token in other for other in ids) < len(ids))
        monkeypatch.setattr(loaded.encoder, "end_id", end)
        stopped = answer_batch(loaded.model, loaded.encoder, prefix, suffixes).generated
        alone = [answer_batch(loaded.model, loaded.encoder, prefix, [row]).generated[0] for row in suffixes]
    assert stopped == alone
    assert stopped != free


def test_metrics_file_has_every_figure_and_its_counts_add_up(run, corpus):
    metrics = evaluate_run(run, corpus)
    written = json.loads((run / "metrics.json").read_text())
    assert written == json.loads(json.dumps(metrics.as_dict()))
    assert written["n"] == written["rows"] == len(corpus)
    assert not written["partial"]
    assert sum(sum(row.values()) for row in written["confusion"].values()) == len(corpus)
    assert sum(row["format error"] for row in written["confusion"].values()) == written["format_errors"]
    assert sum(written["format_error_kinds"].values()) == written["format_errors"]
    assert sum(entry["support"] for entry in written["per_label"].values()) == len(corpus)
    assert set(written["baseline"]) >= {"accuracy", "format_errors", "macro_f1", "constrained"}
    assert written["constrained"]["format_errors"] == 0
    assert sum(entry["count"] for entry in written["constrained"]["calibration"]["bins"]) == len(corpus)
    assert (run / "metrics.md").read_text().startswith(f"{len(corpus)} rows of sentences")


def test_random_weights_loop_and_every_answer_is_a_bounded_format_error(run, corpus, loaded):
    metrics = evaluate_model(loaded, corpus)
    assert metrics.run.format_errors == len(corpus)
    assert metrics.run.accuracy == 0
    shorter = evaluate_model(loaded, corpus, max_new_tokens=2).run.generated
    assert all(len(short) <= len(long) for short, long in zip(shorter, metrics.run.generated, strict=True))
    assert sum(map(len, shorter)) < sum(map(len, metrics.run.generated))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("JOY", "case"),
        ("The emotion in this text is joy.", "label in a sentence"),
        ("I would say that somebody is very happy here", "sentence"),
        ("快乐", "other script"),
        ("Freude", "other word"),
    ],
)
def test_a_model_that_answers_otherwise_gets_no_point_and_its_errors_are_named(
    loaded, corpus, monkeypatch: pytest.MonkeyPatch, answer: str, kind: str
):
    monkeypatch.setattr("emolib.evaluate.decoding._text", lambda encoder, ids: answer)
    found = evaluate_model(loaded, corpus).as_dict()
    assert (found["accuracy"], found["format_errors"]) == (0.0, len(corpus))
    assert found["format_error_kinds"] == {kind: len(corpus)}
    assert found["format_error_examples"][0]["generated"] == answer
    assert found["constrained"]["format_errors"] == 0


def test_corpus_of_one_label_and_of_one_row(loaded):
    for texts in (TEXTS[:5], TEXTS[:1]):
        metrics = evaluate_model(loaded, Corpus("joys", texts, ["joy"] * len(texts))).as_dict()
        assert metrics["n"] == len(texts)
        assert metrics["per_label"]["fear"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}


def test_empty_corpus_is_refused(loaded, run, tmp_path, capsys):
    with pytest.raises(InputError, match="no rows"):
        evaluate_model(loaded, Corpus("nothing", [], []))
    (tmp_path / "empty.txt").write_text("")
    assert main(["evaluate", str(run), "--data", str(tmp_path / "empty.txt")]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_unknown_label_names_its_line(run, tmp_path, capsys):
    (tmp_path / "corpus.txt").write_text("i feel fine;joy\ni feel bored;boredom\n")
    assert main(["evaluate", str(run), "--data", str(tmp_path / "corpus.txt")]) == 1
    message = capsys.readouterr().err
    assert "line 2" in message
    assert "boredom" in message


def test_interruption_keeps_what_was_judged_and_marks_it_partial(run, corpus, monkeypatch, tmp_path):
    from emolib.evaluate import decoding

    evaluate_run(run, corpus)
    copy = save_run(tmp_path / "run", load_emotion_model(run).source.base)
    real, calls = decoding.answer_batch, []

    def stop_in_the_second_batch(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(decoding, "answer_batch", stop_in_the_second_batch)
    monkeypatch.setattr("emolib.evaluate.run._BATCH_TOKENS", {"cpu": 300})
    with pytest.raises(KeyboardInterrupt):
        evaluate_run(copy, corpus)
    written = json.loads((copy / "metrics.json").read_text())
    assert written["partial"]
    assert 0 < written["n"] < written["rows"] == len(corpus)
    assert written["baseline"]["n"] == written["n"]
    assert (copy / "metrics.md").read_text().startswith("PARTIAL")
    with pytest.raises(InputError, match="different rows"):
        compare_runs(run, copy)


def test_validation_split_of_a_cleaned_folder_sets_the_temperature(run, corpus, tmp_path):
    for split, rows in (("validation", slice(0, 20)), ("test", slice(20, 40))):
        lines = [
            json.dumps({"text": text, "label": label})
            for text, label in zip(corpus.texts[rows], corpus.labels[rows], strict=True)
        ]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    metrics = evaluate_run(run, tmp_path)
    notes = read_adapter_notes(run / "adapter")
    assert notes["temperature"] == metrics.run.temperature != 1
    assert notes["temperature_fitted_on"]["rows"] == 20
    assert calibrate_run(run, tmp_path) == pytest.approx(notes["temperature"], rel=1e-3)
    assert load_emotion_model(run).source.temperature == notes["temperature"]


def test_calibration_brings_confidence_and_accuracy_together(run, corpus):
    metrics = evaluate_run(run, corpus, calibrate_on=corpus).as_dict()["constrained"]
    assert metrics["calibration"]["ece"] < metrics["ece_uncalibrated"]


def test_two_runs_are_compared_on_the_rows_that_both_judged(run, corpus, tmp_path):
    other = save_run(tmp_path / "other", load_emotion_model(run).source.base, strength=0.05)
    with pytest.raises(InputError, match="not judged yet"):
        compare_runs(run, other)
    evaluate_run(run, corpus)
    evaluate_run(other, corpus)
    compared = compare_runs(run, other)
    assert compared.rows == len(corpus)
    assert "p = 1" in compared.table()


def test_tfidf_stands_beside_the_models(run, corpus):
    metrics = evaluate_run(run, corpus, baseline_on=corpus)
    assert metrics.as_dict()["baselines"]["TF-IDF"]["accuracy"] == metrics.baselines["TF-IDF"].accuracy > 0.9
    assert "TF-IDF" in metrics.table()


def test_metrics_of_an_older_folder_have_their_baseline(run, corpus):
    written = evaluate_run(run, corpus, baseline_on=corpus).as_dict()
    written["linear_floor"] = written.pop("baselines")["TF-IDF"]
    assert "TF-IDF" in metrics_table(written)


def test_command_prints_a_table_or_json_and_refuses_what_is_no_run(run, tmp_path, capsys):
    (tmp_path / "corpus.txt").write_text("i feel fine;joy\nthey left;sadness\n")
    assert main(["evaluate", str(run), "--data", str(tmp_path / "corpus.txt"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"n", "accuracy", "macro_f1", "format_errors", "per_label", "confusion", "baseline"} <= set(found)
    assert main(["evaluate", str(run), "--data", str(tmp_path / "corpus.txt")]) == 0
    assert "strict exact match" in capsys.readouterr().out
    assert main(["evaluate", str(tmp_path), "--data", str(tmp_path / "corpus.txt")]) == 1
    assert main(["evaluate", str(run), "--data", str(tmp_path / "none.txt")]) == 1


def test_run_without_an_adapter_is_refused_before_anything_is_loaded(run, corpus, tmp_path):
    (tmp_path / "config.json").write_text((run / "config.json").read_text())
    with pytest.raises(ModelError, match="no finished adapter"):
        evaluate_run(tmp_path, corpus)


def test_label_scores_of_the_same_pass_are_the_classifier_s(loaded, corpus):
    from emolib.classify.torch_scorer import TorchScorer

    metrics = evaluate_model(loaded, corpus)
    np.testing.assert_allclose(metrics.run.label_logits, TorchScorer.of(loaded).label_logits(corpus.texts), atol=1e-4)
