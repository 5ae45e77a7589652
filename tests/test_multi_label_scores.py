"""Several labels per text: the figures against scikit-learn's, and thresholds that no other beats."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from emolib.evaluate.multi_label import MultiLabelScores, fit_thresholds, label_matrix
from emolib.evaluate.tables import metrics_table
from emolib.labels import LabelSet

LABELS = LabelSet(("anger", "joy", "love", "neutral"), neutral="neutral", multi_label=True)


@pytest.fixture
def scores() -> MultiLabelScores:
    draw = np.random.default_rng(0)
    names = np.array(LABELS.names)
    gold = [LABELS.joined(draw.choice(names, size=draw.integers(1, 3), replace=False)) for _ in range(200)]
    logits = 2.0 * label_matrix(gold, LABELS) + draw.normal(size=(200, 4))
    return MultiLabelScores(gold, [LABELS.labels_of(label)[0] for label in gold], logits, LABELS)


def test_f1_and_set_match_are_those_of_scikit_learn(scores: MultiLabelScores) -> None:
    truth, predicted = scores.truth, scores.predicted
    assert scores.macro_f1 == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert scores.micro_f1 == pytest.approx(f1_score(truth, predicted, average="micro"))
    assert scores.accuracy == pytest.approx((truth == predicted).all(axis=1).mean())
    assert MultiLabelScores.figures(truth, predicted)["macro_f1"] == pytest.approx(scores.macro_f1, abs=1e-4)


def test_every_text_gets_a_label(scores: MultiLabelScores) -> None:
    strict = MultiLabelScores(scores.gold, scores.generated, scores.label_logits, LABELS, thresholds=(1.1,) * 4)
    assert (strict.predicted.sum(axis=1) == 1).all()


def test_no_other_threshold_has_a_higher_f1(scores: MultiLabelScores) -> None:
    thresholds = fit_thresholds(scores.probabilities, scores.truth)
    for k, fitted in enumerate(thresholds):
        own, truth = scores.probabilities[:, k], scores.truth[:, k]
        best = f1_score(truth, own >= fitted)
        assert all(f1_score(truth, own >= other) <= best + 1e-9 for other in np.linspace(0.01, 0.99, 99))


def test_a_label_that_no_text_has_keeps_a_third_and_equal_probabilities_share_a_side() -> None:
    probabilities = np.array([[0.5, 0.5], [0.5, 0.5], [0.2, 0.8]])
    truth = np.array([[True, False], [True, False], [False, False]])
    assert fit_thresholds(probabilities, truth) == (0.35, pytest.approx(1 / 3))


def test_the_table_says_set_match_and_f1_instead_of_a_confusion(scores: MultiLabelScores) -> None:
    found = {
        **scores.as_dict(),
        "baseline": scores.as_dict(),
        "rows": 200,
        "partial": False,
        "seconds": 1.0,
        "data": {"name": "own"},
        "conflict_ceiling": 1.0,
        "mcnemar_against_baseline": {"p_value": 1.0},
    }
    table = metrics_table(found)
    assert "strict set match" in table
    assert "micro-F1" in table
    assert "confusion" not in found
    assert found["answers_in_set"] == 1.0
