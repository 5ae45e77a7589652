"""A text is said as a speaker would say it, and what is only there to be read is not said."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emolib.dialogue import ClauseSplitter, segment, speakable

SIGNS = [
    ("It is 25°C outside.", "It is 25 degrees Celsius outside."),
    ("20–25 °C, -1°F, a turn of 90°", "20 to 25 degrees Celsius, -1 degree Fahrenheit, a turn of 90 degrees"),
    ("I love you <3", "I love you"),
    ("That hurts :( but ok :-)!", "That hurts but ok !"),
    ("so funny xD", "so funny"),
    ("page 83. x =3, at 8:30 :3", "page 83. x equals 3, at 8:30"),
    ("don´t worry, it`s fine", "don't worry, it's fine"),
    ("5 * 3 = 15", "5 times 3 equals 15"),
    ("6 ÷ 2 ≤ 4, x < 3, a > b, 5 - 3", "6 divided by 2 is at most 4, x is less than 3, a is greater than b, 5 minus 3"),
    ("I play F# and write C#.", "I play F sharp and write C sharp."),
    ("We are #1, ~5 people, and/or he/she", "We are number 1, about 5 people, and or he or she"),
    ("A → B", "A to B"),
    ("It costs $5.50, £1 or €3 million", "It costs 5 dollars 50, 1 pound or 3 million euros"),
    ("60 km/h, 5km, 1 ft, 1/2 cup, 24/7", "60 kilometers per hour, 5 kilometers, 1 foot, one half cup, 24 7"),
    ("on 2024-05-03, call 555-1234", "on May 3, 2024, call 555-1234"),
    ("2020-2024", "2020 to 2024"),
    ("今天25°C，我跑了5km", "今天25摄氏度，我跑了5km"),
]
ABBREVIATIONS = [
    ("Dr. Smith met Mrs. Jones at 9 a.m.", "Doctor Smith met Missus Jones at 9 AM."),
    ("He came at 9 p.m. Then he left.", "He came at 9 PM. Then he left."),
    ("He came at 9 p.m. on Sunday.", "He came at 9 PM on Sunday."),
    ("Ms. Lee vs. Prof. Ann, e.g. here, etc.", "Miz Lee versus Professor Ann, for example here, et cetera."),
    ("St. Mary on Main St. in town", "Saint Mary on Main Street in town"),
    ("J. R. R. Tolkien met George W. Bush.", "J R R Tolkien met George W Bush."),
    ("So do I. He took plan B. Then it rained.", "So do I. He took plan B. Then it rained."),
    ("No. 5 is alive. No. I will not.", "number 5 is alive. No. I will not."),
    ("No... wait", "No... wait"),
]
NOT_SPOKEN = [
    ("Here:\n```python\nprint('x')\n```\nDone", "Here: Done"),
    ("Here:\n~~~\nnever closed", "Here:"),
    ("see https://example.org/a?b=c, or [here](http://x.y/z).", "see example.org, or here."),
    ("<https://user@www.example.org:80/x> (www.example.org/y)", "example.org (example.org)"),
    ("findahelpline.com/countries/fi is there", "findahelpline.com is there"),
    ("*smiles* Hello, *waves* how are you? *hugs you tightly*", "Hello, how are you?"),
    ("(laughs softly) No way. [sighs] Well, *nodding* yes", "No way. Well, yes"),
    ("It *looks* good, *really*! **Very**! un*bel*ievable", "It looks good, really! Very! unbelievable"),
    ("I (really) do *think* so", "I (really) do think so"),
]
LINES = [
    ("# Title\ntext here", "Title. text here"),
    ("Buy these\n- apples\n- pears 🍐\n\nthen rest", "Buy these. apples. pears . then rest"),
    ("One line\nAnother line", "One line. Another line"),
    ("a sentence that is\nbroken in two", "a sentence that is broken in two"),
    ("| a | b |\n|---|:--|\n| 1 | 2 |\n\n---\nEnd", "a, b. 1, 2. End"),
    ("你好\n世界", "你好。 世界"),
    ("Already.\nEnded!", "Already. Ended!"),
]


@pytest.mark.parametrize(("text", "spoken"), [*SIGNS, *ABBREVIATIONS, *NOT_SPOKEN, *LINES])
def test_what_is_written_becomes_what_is_said(text: str, spoken: str) -> None:
    assert speakable(text) == spoken
    assert speakable(spoken) == spoken


PIECES = st.sampled_from(
    [
        *"5 25°C <3 :) don´t * = x C# $5.50 Dr. a.m. Smith *smiles* (laughs) ``` ~~~ https://a.b/c www. - |".split(),
        *("---", "#", "and/or", "->", "\n", "\n- ", "a", "B"),
    ]
)


@given(st.lists(PIECES | st.text(max_size=4), max_size=20).map(" ".join))
@settings(max_examples=300, deadline=None)
def test_speaking_text_again_changes_nothing_that_a_voice_says(text: str) -> None:
    once = speakable(text)
    assert "\n" not in once
    assert not set(once) & set("*`~|\\")
    assert once == once.strip()
    assert speakable(once) == once


@pytest.mark.parametrize(
    "piece", ["-", "1", "1,", "A. ", "a.", "*a ", "*smiles ", "```\n", "\n", "a\n", "= ", "| ", "(laughs"]
)
def test_no_text_takes_long(piece: str) -> None:
    started = time.monotonic()
    speakable(piece * (4000 // len(piece)))
    assert time.monotonic() - started < 0.5


CODE = "Look at this.\n```python\nprint(1). And so on.\nprint(2)\n```\nThat is all."


def test_a_block_of_code_is_one_clause_of_which_nothing_is_spoken() -> None:
    clauses = segment(CODE)
    assert "".join(clauses) == CODE
    assert [said for clause in clauses if (said := speakable(clause))] == ["Look at this.", "That is all."]


@given(st.data())
def test_how_a_stream_with_code_is_chopped_changes_nothing(data: st.DataObject) -> None:
    splitter, clauses, rest = ClauseSplitter(), [], CODE
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        clauses += splitter.push(rest[:size])
        rest = rest[size:]
    assert [*clauses, *splitter.finish()] == segment(CODE)
