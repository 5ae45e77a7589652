"""The arithmetic of the evaluation, against scikit-learn and against what must hold for all inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emolib.classify.classifier import softmax
from emolib.emotions import EMOTIONS
from emolib.evaluate import scores
from emolib.evaluate.answers import ERROR_KINDS, format_error

labels = st.integers(0, 5)
answers = st.integers(0, 6)
rows = st.lists(st.tuples(labels, answers), min_size=1, max_size=60)


@pytest.mark.parametrize("label", EMOTIONS)
def test_label_to_the_letter_is_no_format_error(label):
    assert format_error(label) is None
    assert format_error(f"  {label}\n") is None


@pytest.mark.parametrize(
    ("generated", "kind"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("Joy", "case"),
        ("SADNESS", "case"),
        ("joy.", "punctuation"),
        ('"love"', "punctuation"),
        ("joy, love", "several labels"),
        ("The emotion is joy.", "label in a sentence"),
        ("happy", "other word"),
        ("42", "other word"),
        ("I think you feel it", "sentence"),
        ("悲伤", "other script"),
        ("это радость", "other script"),
        ("joy joy joy joy joy", "loop"),
        ("the the the the the the", "loop"),
        ("....................", "loop"),
        ("joyful", "other word"),
    ],
)
def test_format_errors_have_kinds(generated, kind):
    assert format_error(generated) == kind


@given(st.text(max_size=40))
def test_every_answer_is_a_label_or_has_a_known_kind(generated):
    kind = format_error(generated)
    assert (kind is None) == (generated.strip() in EMOTIONS)
    assert kind is None or kind in ERROR_KINDS


@given(rows)
@settings(deadline=None)
def test_counts_add_up_and_agree_with_scikit_learn(pairs):
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    gold, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    counts = scores.confusion_counts(gold, predicted, 6)
    assert counts.sum() == len(gold)
    assert counts[:, 6].sum() == (predicted == 6).sum()
    assert scores.accuracy(counts) == pytest.approx(accuracy_score(gold, predicted))
    expected = precision_recall_fscore_support(gold, predicted, labels=range(6), zero_division=0)[:3]
    np.testing.assert_allclose(scores.per_label(counts), expected)


def test_macro_f1_leaves_out_labels_that_never_occur():
    from sklearn.metrics import f1_score

    gold, predicted = np.array([1, 1, 2, 2, 2]), np.array([1, 2, 2, 2, 1])
    counts = scores.confusion_counts(gold, predicted, 6)
    assert scores.macro_f1(counts) == pytest.approx(f1_score(gold, predicted, average="macro"))


def test_bootstrap_interval_holds_the_value_and_narrows_with_more_rows():
    small = np.zeros((6, 7), dtype=int)
    small[0, 0], small[0, 1], small[1, 1], small[1, 6] = 30, 10, 25, 15
    widths = []
    for counts in (small, small * 25):
        accuracy, f1 = scores.bootstrap(counts)
        assert accuracy.low < scores.accuracy(counts) < accuracy.high
        assert f1.low < scores.macro_f1(counts) < f1.high
        widths.append(accuracy.high - accuracy.low)
    assert widths[1] == pytest.approx(widths[0] / 5, rel=0.15)
    # The normal approximation of a share, 1.96 sqrt(p (1 - p) / n), as an independent yardstick.
    share = scores.accuracy(small)
    assert widths[0] == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 80), rel=0.15)


def test_mcnemar_is_the_exact_binomial_test():
    first = np.array([True] * 10 + [False] * 2 + [True] * 50)
    second = np.array([False] * 10 + [True] * 2 + [True] * 50)
    compared = scores.mcnemar(first, second)
    assert (compared.only_first, compared.only_second) == (10, 2)
    assert compared.p_value == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert scores.mcnemar(first, first).p_value == 1


def test_temperature_that_was_put_in_comes_out():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(20_000, 6)) * 2
    gold = np.array([generator.choice(6, p=row) for row in softmax(logits)])
    assert scores.fit_temperature(logits * 3, gold) == pytest.approx(3, rel=0.05)
    calibrated = scores.measure_calibration(softmax(logits), gold)
    overconfident = scores.measure_calibration(softmax(logits * 3), gold)
    assert calibrated.error < 0.02 < overconfident.error


@given(arrays(float, (30, 6), elements=st.floats(-8, 8)), st.lists(labels, min_size=30, max_size=30))
@settings(deadline=None)
def test_calibration_bins_hold_every_row_and_abstention_only_shrinks(logits, gold):
    found = scores.measure_calibration(softmax(logits), np.array(gold))
    assert sum(entry["count"] for entry in found.bins) == 30
    assert 0 <= found.error <= 1
    coverage = [entry["coverage"] for entry in found.abstention]
    assert coverage[0] == 1
    assert coverage == sorted(coverage, reverse=True)


@given(st.lists(st.tuples(st.sampled_from("abc"), labels), min_size=1, max_size=30))
def test_no_classifier_of_the_text_beats_the_conflict_ceiling(pairs):
    texts, gold = zip(*pairs, strict=True)
    ceiling = scores.conflict_ceiling(texts, gold)
    best = {text: max(set(found), key=found.count) for text in texts
            for found in [[label for other, label in pairs if other == text]]}  # fmt: skip
    assert ceiling == pytest.approx(np.mean([best[text] == label for text, label in pairs]))
