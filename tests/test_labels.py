"""Label sets: what they are, what is none, and what scores over them say."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolib.emotions import EMOTIONS, VOCABULARIES, emotion_of
from emolib.errors import InputError
from emolib.labels import CARER, MOST_LABELS, EmotionScores, LabelSet

GOEMOTIONS = LabelSet(VOCABULARIES["goemotions"].names, "neutral", multi_label=True)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("Joy", "joy"), "differ in case or white space only; make them one with --map"),
        (("so  sad", "so sad"), "differ in case or white space only"),
        (("joy", "joy"), "stands twice"),
        (("joy", "sad, hurt"), "holds a comma, which separates labels"),
        (("joy", "sad\nhurt"), "a slot {} or a line break"),
        (("joy", "{}"), "a slot {} or a line break"),
        (("joy", "  "), "a label is empty"),
        (("joy",), "at least two labels"),
        ((), "at least two labels"),
        (tuple(f"label {number}" for number in range(300)), f"at most {MOST_LABELS}"),
        (("joy", "x" * 100), "100 characters"),
    ],
)
def test_what_is_no_label_set_is_one_sentence(names: tuple[str, ...], reason: str) -> None:
    with pytest.raises(InputError) as refused:
        LabelSet(names)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("names", [("😀", "😢"), ("高兴", "悲伤", "中性"), ("urgent", "calm"), (" joy ", "fear")])
def test_labels_of_any_language_survive_json(names: tuple[str, ...]) -> None:
    labels = LabelSet(names)
    assert LabelSet.from_dict(json.loads(json.dumps(labels.as_dict()))) == labels
    assert labels.names == tuple(name.strip() for name in names)


def test_the_six_are_the_default_and_come_back_as_themselves() -> None:
    assert CARER.names == EMOTIONS
    assert LabelSet.from_dict(None) is CARER
    assert LabelSet.from_dict(list(EMOTIONS)) is CARER
    assert LabelSet.from_dict(CARER.as_dict()) is CARER


@pytest.mark.parametrize("found", [{"names": "joy"}, {}, {"names": ["a", "b"], "emotions": ["joy"]}])
def test_what_is_no_saved_label_set_is_refused(found: dict[str, object]) -> None:
    with pytest.raises(InputError, match="a label set needs"):
        LabelSet.from_dict(found)


def test_a_label_is_named_to_the_letter_or_not_at_all() -> None:
    assert CARER.parse(" joy\n") == "joy"
    assert [CARER.parse(text) for text in ("Joy", "joy.", "joy, love", "")] == [None] * 4
    assert CARER.find("JOY ") == "joy"


def test_several_labels_stand_in_the_order_of_the_set() -> None:
    assert GOEMOTIONS.joined(["love", "anger", "love"]) == "anger,love"
    assert GOEMOTIONS.labels_of("anger,love") == ("anger", "love")
    assert GOEMOTIONS.weights("anger,love") == {"anger": 0.5, "love": 0.5}
    assert CARER.weights("joy") == {"joy": 1.0}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_a_known_vocabulary_is_a_label_set_whose_labels_have_a_meaning(name: str) -> None:
    vocabulary = VOCABULARIES[name]
    assert set(vocabulary.emotions) == set(vocabulary.names)
    assert set(vocabulary.emotions.values()) <= {*EMOTIONS, "neutral"}
    labels = LabelSet(vocabulary.names, vocabulary.neutral)
    assert vocabulary.neutral is None or labels.emotion(vocabulary.neutral) is None
    assert len(set(labels.colours)) == len(labels)


def test_names_of_other_languages_and_forms_mean_emotions() -> None:
    assert [emotion_of(name) for name in ("Happy", "悲伤", "disgust", "urgent", "neutral")] == [
        "joy",
        "sadness",
        "anger",
        None,
        None,
    ]


# --- scores --------------------------------------------------------------------------------------


def test_scores_of_other_labels_add_up_to_emotions() -> None:
    scores = _scores(GOEMOTIONS, grief=0.3, disappointment=0.4, joy=0.2, neutral=0.1)
    assert scores.label == "disappointment"
    emotions = scores.as_emotions()
    assert emotions.label == "sadness"
    assert not emotions.abstained
    assert emotions.probabilities["sadness"] == pytest.approx(0.7 + 0.1 / 6)


@pytest.mark.parametrize("shares", [{"neutral": 0.9, "joy": 0.1}, {"curiosity": 0.6, "joy": 0.4}])
def test_labels_without_an_emotion_mean_neutral(shares: dict[str, float]) -> None:
    assert _scores(GOEMOTIONS, **shares).as_emotions().abstained


def test_scores_of_the_six_are_their_own_emotions() -> None:
    scores = _scores(CARER, joy=1.0)
    assert scores.as_emotions() is scores


def test_a_multi_label_text_has_the_labels_that_reach_their_threshold_and_at_least_one() -> None:
    thresholds = tuple(0.2 if label in ("joy", "love") else 0.9 for label in GOEMOTIONS)
    assert _scores(GOEMOTIONS, thresholds, joy=0.3, love=0.25, anger=0.45).predicted == ("joy", "love")
    assert _scores(GOEMOTIONS, (0.99,) * 28, joy=0.6, love=0.4).predicted == ("joy",)
    assert _scores(CARER, joy=0.6, love=0.4).predicted == ("joy",)


def test_the_top_labels_come_with_their_probabilities() -> None:
    assert _scores(CARER, joy=0.6, love=0.3, fear=0.1).top(2) == [("joy", 0.6), ("love", 0.3)]


def test_scores_of_another_label_set_are_refused() -> None:
    with pytest.raises(InputError, match="missing"):
        EmotionScores({"urgent": 1.0, "calm": 0.0})


@given(st.lists(st.floats(0, 1), min_size=28, max_size=28).filter(lambda shares: sum(shares) > 0.1))
def test_emotions_of_any_scores_are_a_distribution(shares: list[float]) -> None:
    total = sum(shares)
    scores = EmotionScores.from_sequence([share / total for share in shares], labels=GOEMOTIONS)
    emotions = scores.as_emotions()
    assert sum(emotions.probabilities.values()) == pytest.approx(1.0)
    assert emotions.abstained or emotions.confidence >= 1 / 6


def _scores(labels: LabelSet, thresholds: tuple[float, ...] = (), **shares: float) -> EmotionScores:
    return EmotionScores({label: shares.get(label, 0.0) for label in labels}, labels=labels, thresholds=thresholds)
