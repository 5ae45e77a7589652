"""Text loses what no voice can say, for the dialogue and for the speech service alike."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emolib.speakable import speakable


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("**Hi** there 😀!", "Hi there !"),
        ("- one\n- two", "one. two"),
        ("* - one", "one"),
        ("> quoted\n> text", "quoted text"),
        ("# Title\ntext", "Title. text"),
        ("see [here](http://x.y/z) now", "see here now"),
        ("```python\nx=1\n```", ""),
        ("<b>bold</b> and 3<5", "bold and 3 is less than 5"),
        ("fine<|im_end|>", "fine"),
        ("1️⃣ I ❤️ you 👍🏽", "1 I you"),
        ("你好\x00 one，世界", "你好 one，世界"),
        ("cafe\u0301 for 5 € + tax", "caf\u00e9 for 5 € + tax"),
        ("at -5 degrees", "at -5 degrees"),
        ("😀…", ""),
        (" \n", ""),
    ],
)
def test_markup_emoji_and_controls_are_taken_out(text: str, spoken: str) -> None:
    assert speakable(text) == spoken


@given(st.text(max_size=80))
@settings(max_examples=50)
def test_what_is_speakable_has_no_controls_and_is_stable(text: str) -> None:
    spoken = speakable(text)
    assert spoken.isprintable()
    assert speakable(spoken) == spoken
    assert spoken == spoken.strip()
