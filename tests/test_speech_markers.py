"""Emotion tags are written for Fish-Speech, and never reach a listener or a transcript."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emolib.emotions import EMOTIONS
from emolib.tts.engines import LONGEST_SENTENCE, sentences
from emolib.tts.markers import TAG_SETS, TagSet, read_tags

PLAIN = st.text(string.ascii_letters + string.digits + " ,.!?'-", min_size=1).map(lambda text: " ".join(text.split()))


@pytest.mark.parametrize("tags", TAG_SETS.values(), ids=lambda tags: tags.name)
@pytest.mark.parametrize("emotion", EMOTIONS)
@pytest.mark.parametrize("intensity", [0.5, 1.0, 1.5, 2.0])
def test_what_is_written_is_read_back(tags: TagSet, emotion: str, intensity: float) -> None:
    tagged = read_tags(tags.tag("so it is you", emotion, intensity))
    assert tagged.text == "so it is you"
    assert tagged.emotion == emotion


@given(PLAIN, st.sampled_from(EMOTIONS), st.sampled_from(list(TAG_SETS.values())), st.floats(0, 2))
def test_no_tag_is_left_in_the_text(text: str, emotion: str, tags: TagSet, intensity: float) -> None:
    assert read_tags(tags.tag(text, emotion, intensity)).text == text


@given(PLAIN)
def test_a_plain_text_is_left_as_it_is(text: str) -> None:
    assert read_tags(text).text == text
    assert read_tags(text).emotion is None


@pytest.mark.parametrize("text", ["see (page two) and [3]", "f(x)", "[]", "()", "a (very) b", "array[index_1]"])
def test_brackets_that_are_no_tags_stay(text: str) -> None:
    assert read_tags(text).text == text


def test_a_neutral_or_faint_emotion_has_no_tag() -> None:
    for tags in TAG_SETS.values():
        assert tags.tag("hello", None) == "hello"
        assert tags.tag("hello", "joy", 0.1) == "hello"


def test_a_strong_emotion_has_a_stronger_tag() -> None:
    for tags in TAG_SETS.values():
        assert all(tags.tag("x", emotion, 2.0) != tags.tag("x", emotion, 1.0) for emotion in EMOTIONS)


@given(st.text(max_size=80))
@settings(max_examples=50)
def test_sentences_lose_nothing_but_white_space(text: str) -> None:
    together = "".join("".join(sentences(text)).split())
    assert together == "".join(text.split())


@pytest.mark.parametrize("text", ["word " * 500, "a" * 2_000, "天" * 2_000])
def test_no_sentence_is_too_long_for_an_engine(text: str) -> None:
    assert all(0 < len(sentence) <= LONGEST_SENTENCE for sentence in sentences(text))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ('He said "Go." Then left.', ['He said "Go."', "Then left."]),
        ("今天很好。明天呢？", ["今天很好。", "明天呢？"]),
        ("Version 2.5 is out", ["Version 2.5 is out"]),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, parts: list[str]) -> None:
    assert sentences(text) == parts
