"""Distress in words: what is heard however it is typed, what only looks so, and what is said then."""

import pytest

from emolib.dialogue import HELP_MESSAGE, HELP_MESSAGE_ZH, Distress, SafetyPolicy
from emolib.dialogue.distress.normalise import normalise


def judge(text):
    return SafetyPolicy().distress(text, [])


@pytest.mark.parametrize(
    "text",
    ["I don’t want to live anymore", "I wanna die", "I want to end it", "I want to kill myself.", "kms tonight",
     "i w a n t to d i e", "i want to\u200b die", "我不想活了", "我 想 死", "我想自殺", "不想活著了"],
)  # fmt: skip
def test_words_of_suicide_are_urgent_however_they_are_typed(text):
    assert judge(text) is Distress.URGENT


@pytest.mark.parametrize(
    "text",
    ["My dog is going to die", "I cut myself shaving", "Have you seen Suicide Squad?", "This homework is killing me.",
     "I have no reason to go on holiday", "笑死我了", "《自杀小队》你看过吗", "", "😀"],
)  # fmt: skip
def test_figures_of_speech_titles_and_accidents_are_no_distress(text):
    assert judge(text) is Distress.NONE


@pytest.mark.parametrize("text", ["I just want to disappear", "Everyone would be better off without me", "活着好累"])
def test_despair_is_concerning(text):
    assert judge(text) is Distress.CONCERNING


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("I don’t wanna liveeee", "i do not want to live"), ("ｄｉｅ", "die"), ("k!ll mysefl", "kill myself"),
     ("我 想 死", "我想死"), ("還要活著", "还要活着"), ("又隔腕了", "又割腕了")],
)  # fmt: skip
def test_spellings_become_one(typed, meant):
    assert normalise(typed) == meant


def test_one_sentence_of_a_long_message_is_enough():
    filler = "We had soup and then we walked round the lake with the children. " * 30
    assert judge(f"{filler} I want to kill myself. {filler}") is Distress.URGENT


def test_the_thresholds_are_settings():
    assert SafetyPolicy(concern=1.1, urgency=1.1).distress("I want to die", []) is Distress.NONE


def test_the_help_message_follows_the_language_and_the_country():
    policy = SafetyPolicy(country="us")
    assert policy.help_for("I want to die") == f"{HELP_MESSAGE} You can also call 988."
    assert policy.help_for("我想死").startswith(HELP_MESSAGE_ZH)
    assert SafetyPolicy().help_for("I want to die") == HELP_MESSAGE
    assert SafetyPolicy(country="fr", help_lines={"fr": "3114"}).help_for("hi").endswith("You can also call 3114.")
