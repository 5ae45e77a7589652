"""Few-shot learning curves: which rows are drawn, what stands in the table, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from runs import save_run, save_tiny_base
from tiny_models import SENTENCES

from emolib.cli import main
from emolib.data import Corpus
from emolib.emotions import EMOTIONS
from emolib.errors import InputError, ModelError, UsageError
from emolib.evaluate import evaluate_run
from emolib.evaluate.baselines import TFIDF
from emolib.evaluate.few_shot import check_shots, few_shot_curves, few_shot_rows
from emolib.labels import LabelSet

TEXTS = [f"{sentence} {number}" for number in range(5) for sentence in SENTENCES[:6]]
CORPUS = Corpus("sentences", TEXTS, [EMOTIONS[row % 6] for row in range(len(TEXTS))])


@pytest.mark.parametrize("shots", [1, 2, 5])
def test_each_label_gets_its_rows_and_fewer_are_a_part_of_more(shots: int) -> None:
    rows = few_shot_rows(CORPUS, shots, seed=3)
    assert Counter(CORPUS.labels[row] for row in rows) == dict.fromkeys(EMOTIONS, shots)
    assert set(rows) <= set(few_shot_rows(CORPUS, shots + 1, seed=3))


def test_draws_differ_by_seed_and_repeat_with_it() -> None:
    assert few_shot_rows(CORPUS, 2, seed=0) == few_shot_rows(CORPUS, 2, seed=0)
    assert len({tuple(few_shot_rows(CORPUS, 2, seed)) for seed in range(5)}) > 1


def test_sizes_double_up_to_the_number_and_all_rows_are_last() -> None:
    for shots, sizes in ((1, [1, None]), (4, [1, 2, 4, None]), (5, [1, 2, 4, 5, None])):
        curve = few_shot_curves([TFIDF], CORPUS, TEXTS, CORPUS.labels, shots)
        assert [entry["rows_per_label"] for entry in curve] == sizes
        assert curve[-1]["rows"] == len(TEXTS)
        assert curve[-1]["macro_f1"] == {"mean": 1.0, "std": 0.0}
        assert [entry["draws"] for entry in curve[:-1]] == [5] * (len(sizes) - 1)


def test_several_labels_per_text_and_rows_that_all_have_the_same() -> None:
    labels = LabelSet(("urgent", "calm"), multi_label=True)
    both = labels.joined(("urgent", "calm"))
    for gold in ([both, "calm", "urgent"] * 4, [both] * 12):
        corpus = Corpus("own", TEXTS[:12], gold, label_set=labels)
        assert few_shot_curves([TFIDF], corpus, corpus.texts, gold, 2)[0]["macro_f1"]["mean"] > 0.3


def test_a_label_with_fewer_rows_is_named() -> None:
    with pytest.raises(InputError, match=r"--few-shot 8: the label \w+ has 5 rows in sentences; use at most"):
        check_shots(CORPUS, 8)
    with pytest.raises(UsageError, match="at least 1 row"):
        check_shots(CORPUS, 0)
    with pytest.raises(InputError, match="one label only"):
        check_shots(Corpus("joys", TEXTS, ["joy"] * len(TEXTS)), 1)


def test_the_command_prints_and_draws_the_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = save_run(tmp_path / "run", save_tiny_base(tmp_path / "base"))
    rows = tmp_path / "corpus.txt"
    rows.write_text("".join(f"{text};{label}\n" for text, label in zip(TEXTS, CORPUS.labels, strict=True)))
    line = ["evaluate", str(run), "--data", str(rows), "--encoder", "off", "--few-shot", "4"]
    assert main(line) == 2
    assert "--baseline-on" in capsys.readouterr().err
    assert main([*line, "--baseline-on", str(rows)]) == 0
    assert "rows per label" in capsys.readouterr().out
    written = json.loads((run / "metrics.json").read_text())
    assert [entry["rows_per_label"] for entry in written["few_shot"]] == [1, 2, 4, None]
    assert (run / "figures" / "learning_curve.png").stat().st_size > 5000


def test_without_it_nothing_is_drawn(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run", save_tiny_base(tmp_path / "base"))
    assert "few_shot" not in evaluate_run(run, CORPUS, baseline_on=CORPUS).as_dict()
    assert not (run / "figures" / "learning_curve.png").exists()


def test_an_encoder_that_cannot_be_had_is_said_before_the_model_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = save_run(tmp_path / "run", save_tiny_base(tmp_path / "base"))
    monkeypatch.setattr("emolib.encoder.transformers_encoder.hub_problem", lambda: "no answer")
    monkeypatch.setattr("emolib.evaluate.run.evaluate_model", lambda *given, **options: pytest.fail("judged"))
    with pytest.raises(ModelError, match="no-such/encoder"):
        evaluate_run(run, CORPUS, baseline_on=CORPUS, encoder="no-such/encoder")
    with pytest.raises(UsageError, match="--baseline-on"):
        evaluate_run(run, CORPUS, encoder="no-such/encoder")
