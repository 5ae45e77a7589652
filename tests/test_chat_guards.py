"""Guards of a reply: thoughts are never shown, and nothing is said twice."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolib.chat.guards import nearly_equal, without_repeats, without_said_sentences, without_thoughts

EARLIER = ["I'm so sorry to hear that, it's a shame. What happened then?"]


async def pieces_of(text: str, cuts: Sequence[int] = ()) -> AsyncGenerator[str, None]:
    places = [0, *sorted(cut for cut in set(cuts) if 0 < cut < len(text)), len(text)]
    for start, end in itertools.pairwise(places):
        yield text[start:end]


def gathered(pieces: AsyncIterator[str]) -> str:
    async def gather() -> str:
        return "".join([piece async for piece in pieces])

    return asyncio.run(gather())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hello there.", "Hello there."),
        ("<think>She is sad.</think>\n\nOh, I am sorry.", "Oh, I am sorry."),
        ("<think>never closed, and on", ""),
        ("Oh. <think>hm</think> Yes.", "Oh. Yes."),
        ("a < b and b > c", "a < b and b > c"),
        ("I <thi", "I <thi"),
    ],
)
@given(cuts=st.lists(st.integers(0, 60), max_size=12))
def test_thoughts_are_left_out_wherever_they_are_cut(text: str, shown: str, cuts: list[int]):
    assert gathered(without_thoughts(pieces_of(text, cuts))) == shown


def drawing(*replies: str):
    drawn: list[int] = []

    def draw(attempt: int) -> AsyncGenerator[str, None]:
        drawn.append(attempt)
        text = replies[min(attempt, len(replies) - 1)]
        return pieces_of(text, range(0, len(text), 3))

    return draw, drawn


def test_a_reply_that_was_given_before_is_drawn_again():
    draw, drawn = drawing(EARLIER[0], "A cake for nobody, at ten at night. I am glad you told me.")
    assert gathered(without_repeats(draw, EARLIER)).startswith("A cake for nobody")
    assert drawn == [0, 1]


def test_a_reply_whose_first_sentence_was_said_but_for_a_word_is_drawn_again():
    draw, drawn = drawing("I'm so sorry to hear this, it's a shame. Really.", "Good news at last, well done.")
    assert (
        gathered(without_repeats(draw, ["I'm so sorry to hear that, it's a shame."])) == "Good news at last, well done."
    )
    assert drawn == [0, 1]


def test_a_reply_that_only_begins_alike_is_kept():
    draw, drawn = drawing("I'm so sorry about the train. Did you get home?")
    assert gathered(without_repeats(draw, EARLIER)) == "I'm so sorry about the train. Did you get home?"
    assert drawn == [0]


def test_a_short_answer_may_be_given_again():
    draw, drawn = drawing("Of course.")
    assert gathered(without_repeats(draw, ["Of course.", *EARLIER])) == "Of course."
    assert drawn == [0]


def test_a_model_that_says_nothing_else_is_heard_in_the_end():
    draw, drawn = drawing(EARLIER[0])
    assert gathered(without_repeats(draw, EARLIER)) == EARLIER[0]
    assert drawn == [0, 1, 2]


def test_nothing_is_held_back_when_nothing_was_said_before():
    async def first() -> str:
        async for piece in without_repeats(lambda attempt: pieces_of("Hello there.", [1]), []):
            return piece
        return ""

    assert asyncio.run(first()) == "H"


def test_near_equality_is_word_for_word():
    assert nearly_equal("It's a shame, I am so sorry.", "it’s a shame I am very sorry")
    assert not nearly_equal("Paris is the capital of France.", "The capital of France is Paris.")
    assert not nearly_equal("Yes.", "Yes.")


SAID = ["Four kittens! I'm glad you told me.", "今天下雨了。谢谢你告诉我。"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Two years is long. I’m glad you told me.", "Two years is long."),
        ("Two years is long. I'm glad you told me. Sleep well.", "Two years is long. Sleep well."),
        ("I'm glad you told me. Sleep well.", "I'm glad you told me. Sleep well."),
        ("Good. I'm glad you told me everything.", "Good. I'm glad you told me everything."),
        ("It is 3.5 miles. Then rest a while now. Then rest a while now.", "It is 3.5 miles. Then rest a while now."),
        ("No. Yes. Yes.", "No. Yes. Yes."),
        ("雨停了。谢谢你告诉我。", "雨停了。"),
        ("Not a whole sentence", "Not a whole sentence"),
        ("", ""),
    ],
)
def test_a_later_sentence_that_was_said_is_left_out_wherever_it_is_cut(text: str, shown: str) -> None:
    for cuts in [(), range(len(text)), *([cut] for cut in range(len(text)))]:
        assert gathered(without_said_sentences(pieces_of(text, list(cuts)), SAID)) == shown


def test_the_first_sentence_is_not_held_back() -> None:
    async def first() -> str:
        async for piece in without_said_sentences(pieces_of("I'm glad you told me.", [1]), SAID):
            return piece
        return ""

    assert asyncio.run(first()) == "I"
