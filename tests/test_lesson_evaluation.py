"""What notebook 4 asks of a model: errors, hidden states, other models beside it, and replies three ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from runs import save_run, save_tiny_base
from tiny_models import SENTENCES, tiny_chat_tokenizer

from emolib.data import Corpus
from emolib.errors import InputError, ModelError, UsageError
from emolib.evaluate import (
    answer_three_ways,
    before_and_after,
    evaluate_run,
    line_up,
    project_hidden_states,
    read_errors,
)
from emolib.evaluate.hidden_states import principal_components
from emolib.evaluate.tables import abstention_table, format_error_table, label_table, model_table
from emolib.plots import hidden_state_map, model_accuracies

LABELS = ["sadness", "joy", "anger", "fear", "sadness", "fear", "surprise", "love"]
CORPUS = Corpus("own", SENTENCES, LABELS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lesson")
    return save_run(folder / "run", save_tiny_base(folder / "base"))


def test_errors_are_the_misclassified_texts_the_surest_first(run: Path) -> None:
    found = read_errors(run, CORPUS)
    assert found.rows == len(SENTENCES)
    assert all(true != answer for _, true, answer, _ in found.errors)
    sure = [confidence for *_, confidence in found.errors]
    assert sure == sorted(sure, reverse=True)
    assert len(found.table(2).rows) == min(2, len(found.errors))


def test_hidden_states_come_before_and_after_in_two_dimensions(run: Path) -> None:
    states = project_hidden_states(run, CORPUS, texts=6)
    assert {points.shape for points in states.points.values()} == {(6, 2)}
    before, after = states.points.values()
    assert not np.allclose(before, after)
    assert all(0 <= share <= 1 for share in (*states.explained.values(), *states.neighbours.values()))
    chart = hidden_state_map(states.points, states.labels)
    assert len(chart.points) == 12
    with pytest.raises(InputError, match="three or more"):
        project_hidden_states(run, Corpus("two", SENTENCES[:2], LABELS[:2]))


def test_the_first_component_is_the_direction_of_the_largest_spread() -> None:
    line = np.outer(np.linspace(-1, 1, 9), [3.0, 4.0, 0.0])
    points, explained = principal_components(line)
    assert explained == pytest.approx(1.0)
    assert np.ptp(points[:, 0]) == pytest.approx(10.0)


def test_other_models_take_the_same_test(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    train = Corpus("train", SENTENCES * 2, LABELS * 2)
    metrics = evaluate_run(run, CORPUS, baseline_on=train).as_dict()
    beside = line_up(metrics, CORPUS, train, adapters=[str(run)], encoder="nobody/knows-it")
    assert list(beside.models) == ["base model", "TF-IDF", str(run), "fine-tuned"]
    accuracy, low, high = beside.models["fine-tuned"]
    assert low <= accuracy <= high
    assert beside.missing[0].startswith("Without a sentence encoder: ")
    assert beside.models[str(run)][0] == metrics["constrained"]["accuracy"]
    assert [row[0] for row in beside.table().rows] == list(beside.models)
    assert len(model_accuracies(beside.models).points) == 4
    assert model_table(metrics).header[1:] == ["base", "TF-IDF", "fine-tuned"]
    assert len(label_table(metrics).rows) == 6
    assert abstention_table(metrics).rows[0][1] == "100.0 %"
    assert all(len(row) == 4 for row in format_error_table(metrics).rows)


def test_the_same_sentences_before_and_after(run: Path) -> None:
    table = before_and_after(run, SENTENCES[:2], start=str(run))
    assert table.header == ["sentence", "base model", f"start: {run}", "after training", "confidence"]
    assert [row[2] == row[3] for row in table.rows] == [True, True]
    with pytest.raises(UsageError, match="no texts"):
        before_and_after(run, [])


def test_switched_off_the_adapter_replies_as_the_base_does(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="chat template"):
        answer_three_ways(run, "hello?")
    base = save_tiny_base(tmp_path / "base")
    tiny_chat_tokenizer().save_pretrained(base)
    replies = answer_three_ways(save_run(tmp_path / "run", base), "hello?", max_new_tokens=6)
    assert replies["base model"] == replies["adapter switched off"] != replies["adapter merged"]
    with pytest.raises(InputError, match="without an adapter"):
        answer_three_ways(base, "hello?")
