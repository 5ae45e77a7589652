"""Cutting a stream of text into clauses that can be spoken."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolib.dialogue import ClauseSplitter, clause_moments, segment, segment_stream
from emolib.errors import InputError
from emolib.plots import clauses

TEXTS = st.text(alphabet=st.sampled_from(list("abI .,!?;:\n\"'()3。，！？…啊呢")) | st.characters(), max_size=80)


@given(TEXTS)
def test_the_clauses_joined_are_the_text(text):
    assert "".join(segment(text)) == text


@given(TEXTS, st.data())
def test_how_the_stream_is_chopped_changes_nothing(text, data):
    splitter, clauses, rest = ClauseSplitter(), [], text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        clauses += splitter.push(rest[:size])
        rest = rest[size:]
    assert [*clauses, *splitter.finish()] == segment(text)


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("I am so sorry to hear that, truly. Do you want to talk, or rest?", 3),
        ("Oh, no! That is sad.", 2),
        ("Dr. Smith paid 3.50 dollars, e.g. for tea in the U.S. last year", 2),
        ("It cost 1,000 and weighed 2.5 kilos", 1),
        ('"Stop!" she said. Then silence...', 3),
        ("真的吗？太好了，我很高兴！", 2),
        ("我今天去了图书馆和超市还有公园，然后回家了。", 2),
        ("One line\nand another", 2),
        ("1. Breathe in slowly and wait\n2. Breathe out", 2),
        ("So do I. He left at 5 p.m. Then it rained.", 3),
    ],
)
def test_cuts_where_a_speaker_would_breathe(text, clauses):
    assert len(segment(text)) == clauses


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("是啊我也觉得他唱得很好呢你听过他的新歌吗", ["是啊", "我也觉得他唱得很好呢", "你听过他的新歌吗"]),
        ("我们去酒吧坐坐吧他家的网吧关门了", ["我们去酒吧坐坐吧", "他家的网吧关门了"]),
        ("他在贴吧里写了吧台的故事", ["他在贴吧里写了吧台的故事"]),
        ("她穿着呢子大衣站在哈尔滨的街上", ["她穿着呢子大衣站在哈尔滨的街上"]),
        ("你到底干嘛去了", ["你到底干嘛去了"]),
        ("哎呀太好了", ["哎呀", "太好了"]),
        ("哈哈哈你说得对呀", ["哈哈哈", "你说得对呀"]),
        ("你听过《分手吧》这首歌吗", ["你听过《分手吧》这首歌吗"]),
        ("好吧。", ["好吧。"]),
        ("so we drove all night oh it was so cold", ["so we drove all night ", "oh it was so cold"]),
        ("we could try it again well maybe next year", ["we could try it again ", "well maybe next year"]),
        ("he is a really well-known man at my right hand", ["he is a really well-known man at my right hand"]),
        ("I like it and my sister does as well as you", ["I like it and my sister does as well as you"]),
        ("does your brother at home know you know what I did", ["does your brother at home know you know what I did"]),
    ],
)
def test_without_punctuation_particles_and_markers_are_the_places_to_cut(text, clauses):
    assert segment(text) == clauses


def test_a_pushed_character_takes_less_than_a_tenth_of_a_millisecond():
    text = "是啊我也觉得他唱得很好呢你听过他的新歌吗 so we drove all night oh it was so cold " * 40
    splitter = ClauseSplitter()
    started = time.perf_counter()
    for character in text:
        splitter.push(character)
    assert (time.perf_counter() - started) / len(text) < 1e-4


def test_the_first_clause_is_cut_at_the_first_comma_after_ten_characters_and_later_ones_are_not():
    assert segment("Well, I understand, and I agree. Later, in the evening, we talk.") == [
        "Well, I understand, ",
        "and I agree. ",
        "Later, in the evening, we talk.",
    ]


@pytest.mark.parametrize("text", ["That is wonderful!", "That is wonderful,", "“That is wonderful!”", "At 5 p.m."])
def test_a_clause_is_given_out_with_the_space_that_ends_it(text):
    splitter = ClauseSplitter()
    assert splitter.push(text) == []
    assert splitter.push(" ") == [f"{text} "]


@pytest.mark.parametrize("text", ["I met Dr.", "It was 3,", "1.", "That is"])
def test_a_space_alone_ends_no_clause(text):
    assert ClauseSplitter().push(f"{text} ") == []


def test_a_second_text_starts_afresh_after_finish():
    splitter = ClauseSplitter()
    splitter.push("First of all things, yes. ")
    splitter.finish()
    assert splitter.push("Second of all things, no") == ["Second of all things, "]


def test_an_asynchronous_stream_gives_the_same_clauses():
    text = "That is wonderful, really! Where will you go?"

    async def letters():
        for letter in text:
            yield letter

    async def collect():
        return [clause async for clause in segment_stream(letters())]

    assert asyncio.run(collect()) == segment(text)


def test_the_moments_of_clauses_are_when_a_stream_knows_them():
    moments = clause_moments("好啊我们明天去吧")
    assert moments == [("好啊", 4), ("我们明天去吧", 8)]
    assert clauses(moments).points == ((1, 0, 2, 4), (2, 2, 8, 8))
    with pytest.raises(InputError, match="no clause"):
        clauses([])
