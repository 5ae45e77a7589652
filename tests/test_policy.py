"""How the answer to a feeling is chosen, and what counts as distress."""

from __future__ import annotations

import pytest
from scripted_engines import scores

from emolib.chat import TONES
from emolib.dialogue import RESPONSE_STYLES, Distress, SafetyPolicy, Trend, choose_style
from emolib.dialogue.ongoing import OngoingTurn
from emolib.dialogue.policy import trend
from emolib.dialogue.safety import CALM
from emolib.dialogue.trace import Trace
from emolib.emotions import EMOTIONS
from emolib.labels import EmotionScores, LabelSet

UNCLEAR = EmotionScores.from_sequence([1 / 6] * 6)


def test_anger_and_an_unclear_emotion_are_answered_in_an_even_voice():
    assert choose_style([scores("anger")]).voice.emotion is None
    assert choose_style([UNCLEAR]).voice.emotion is None
    assert choose_style([]).voice.emotion is None


@pytest.mark.parametrize("label", EMOTIONS)
def test_the_voice_is_weaker_when_the_emotion_is_less_certain(label: str):
    sure, unsure = (choose_style([scores(label, confidence)]).voice for confidence in (0.95, 0.6))
    assert unsure.intensity <= sure.intensity


@pytest.mark.parametrize(
    ("felt", "tone", "how"),
    [
        (["joy", "sadness"], "sadness", None),
        (["sadness", "sadness"], "lasting sadness", Trend.LASTING),
        (["fear", "fear", "fear"], "lasting fear", Trend.LASTING),
        (["anger", "joy"], "relief", Trend.LIFTING),
        (["joy", "joy"], "joy", Trend.LASTING),
        (["sadness", "joy", "joy"], "joy", Trend.LASTING),
    ],
)
def test_a_feeling_that_lasts_or_lifts_is_answered_in_another_tone(felt: list[str], tone: str, how: Trend | None):
    emotions = [scores(label, 0.9) for label in felt]
    assert trend(emotions) is how
    assert choose_style(emotions).tone == tone
    assert tone in TONES


def test_an_unclear_turn_breaks_the_trend():
    assert trend([scores("sadness"), UNCLEAR, scores("sadness")]) is None


@pytest.mark.parametrize("style", [*RESPONSE_STYLES.values(), CALM])
def test_every_tone_of_the_table_is_known_to_the_reply_models(style):
    assert style.tone in TONES


@pytest.mark.parametrize("text", ["This traffic is killing me.", "I almost died laughing.", "The suit is dead."])
def test_figures_of_speech_are_no_distress(text: str):
    assert SafetyPolicy().distress(text, [scores("joy")]) is Distress.NONE


def test_labels_of_ones_own_choose_the_style_by_the_emotions_that_they_mean() -> None:
    labels = LabelSet(("grief", "delight", "question"), emotions=("sadness", "joy", None))
    sad = EmotionScores({"grief": 0.9, "delight": 0.05, "question": 0.05}, labels=labels)
    asked = EmotionScores({"grief": 0.05, "delight": 0.05, "question": 0.9}, labels=labels)
    turn = OngoingTurn("hello", Trace(), prediction=sad)
    assert choose_style(turn.all_emotions).tone == "sadness"
    assert choose_style(OngoingTurn("hello", Trace(), prediction=asked).all_emotions).tone == "neutral"
