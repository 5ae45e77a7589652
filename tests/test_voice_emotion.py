"""The emotion of the words and that of the voice as one score, on all combinations of labels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolib.emotions import EMOTION2VEC_TO_EMOTION, EMOTIONS, SENSEVOICE_TO_EMOTION
from emolib.errors import InputError
from emolib.labels import EmotionScores
from emolib.speech.funasr import parse_sensevoice
from emolib.speech.voice_emotion import contradiction, fit_fusion, fuse, voice_scores

HEAD = {label: label for label in EMOTIONS if label != "love"} | {"neutral": None}
VOICES = {**SENSEVOICE_TO_EMOTION, **EMOTION2VEC_TO_EMOTION, **HEAD}


def text(label: str, probability: float) -> EmotionScores:
    rest = (1 - probability) / 5
    return EmotionScores({name: probability if name == label else rest for name in EMOTIONS})


distributions = st.lists(st.floats(0.001, 1), min_size=6, max_size=6).map(
    lambda values: EmotionScores.from_sequence(np.array(values) / sum(values))
)
voices = st.dictionaries(st.sampled_from(sorted(VOICES)), st.floats(0.01, 1), min_size=1)


@pytest.mark.parametrize(("label", "heard"), list(itertools.product(EMOTIONS, VOICES)))
def test_a_sure_text_is_not_overruled(label, heard):
    assert fuse(text(label, 0.95), {heard: 1.0}).label == label


@pytest.mark.parametrize(("label", "heard"), list(itertools.product(EMOTIONS, VOICES)))
def test_a_voice_decides_where_the_text_does_not_know(label, heard):
    fused = fuse(text(label, 0.2), {heard: 1.0})
    emotion = VOICES[heard]
    if emotion:
        assert fused.label == emotion
    else:
        assert fused == text(label, 0.2)


@pytest.mark.parametrize(("label", "heard"), list(itertools.product(EMOTIONS, VOICES)))
def test_agreement_makes_surer_and_contradiction_less_sure(label, heard):
    fused = fuse(text(label, 0.6), {heard: 1.0})
    if label == "love" or VOICES[heard] is None:
        assert fused.probabilities[label] == pytest.approx(0.6)
    elif VOICES[heard] == label:
        assert fused.probabilities[label] > 0.6
    else:
        assert fused.probabilities[label] < 0.6


@given(distributions, voices)
def test_love_comes_from_the_text_alone(scores, heard):
    assert fuse(scores, heard).probabilities["love"] == pytest.approx(scores.probabilities["love"])


@given(distributions, voices)
def test_the_result_is_a_distribution(scores, heard):
    assert sum(fuse(scores, heard).probabilities.values()) == pytest.approx(1)
    assert sum(voice_scores(heard).values()) == pytest.approx(1)


@given(distributions)
def test_without_a_voice_the_text_stands(scores):
    assert fuse(scores, None) is scores


@given(distributions)
def test_a_neutral_voice_changes_nothing(scores):
    fused = fuse(scores, {"NEUTRAL": 1.0})
    assert fused.as_dict(3) == pytest.approx(scores.as_dict(3), abs=0.002)


@pytest.mark.parametrize("heard", [{"sad": 0.4, "neutral": 0.6}, {"NEUTRAL": 1.0}, {"happy": 0.5, "angry": 0.5}])
def test_two_weak_opinions_abstain(heard):
    assert fuse(text("sadness", 0.45), heard).abstained


def test_the_tag_of_sensevoice_can_be_used_as_it_comes():
    transcript = parse_sensevoice("<|en|><|SAD|><|Speech|><|withitn|>I am fine.")
    assert fuse(text("joy", 0.35), transcript.voice_emotion).label == "sadness"


def test_the_more_neutral_a_voice_the_less_it_changes():
    said = text("joy", 0.45)
    heard = [fuse(said, {"sadness": 1 - neutral, "neutral": neutral}) for neutral in (0.0, 0.2, 0.4)]
    sad = [scores.probabilities["sadness"] for scores in heard]
    assert sad == sorted(sad, reverse=True)
    assert fuse(said, {"sadness": 0.45, "neutral": 0.55}) is said


@pytest.mark.parametrize(
    ("label", "probability", "voice", "expected"),
    [
        ("joy", 0.9, {"sadness": 0.8, "neutral": 0.2}, "words: joy, voice: sadness"),
        ("love", 0.9, {"ANGRY": 1.0}, "words: love, voice: anger"),
        ("fear", 0.8, {"happy": 1.0}, "words: fear, voice: joy"),
        ("joy", 0.45, {"sadness": 0.8, "neutral": 0.2}, None),
        ("joy", 0.9, {"sadness": 0.4, "neutral": 0.6}, None),
        ("anger", 0.9, {"sadness": 1.0}, None),
        ("joy", 0.9, {"surprise": 1.0}, None),
        ("joy", 0.9, None, None),
    ],
)
def test_a_contradiction_is_named_if_both_are_sure(label, probability, voice, expected):
    assert contradiction(text(label, probability), voice) == expected


def test_the_maps_name_only_our_labels_and_never_love():
    assert set(VOICES.values()) == {None, *EMOTIONS} - {"love"}


def test_an_unknown_class_is_named():
    with pytest.raises(InputError, match="'bored'"):
        voice_scores({"bored": 1.0})


@pytest.mark.parametrize("values", [{"SAD": 0.0}, {"SAD": -1.0, "HAPPY": 2.0}, {"SAD": float("nan")}])
def test_values_that_are_no_probabilities_are_refused(values):
    with pytest.raises(InputError, match="probabilities"):
        voice_scores(values)


def test_fitting_trusts_what_was_right():
    labels = ["sadness", "anger", "joy", "fear"] * 5
    wrong = [text("surprise", 0.5)] * 20
    right = [{{"sadness": "SAD", "anger": "ANGRY", "joy": "HAPPY", "fear": "FEARFUL"}[label]: 1.0} for label in labels]
    weights = fit_fusion(wrong, right, labels)
    assert weights.voice > weights.text
    silent = fit_fusion([text(label, 0.9) for label in labels], [{"SURPRISED": 1.0}] * 20, labels)
    assert silent.voice == 0.0


def test_fitting_needs_data():
    with pytest.raises(InputError, match="at least one"):
        fit_fusion([], [], [])
