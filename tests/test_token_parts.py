"""A prompt token by token: its parts spell the prompt, and the marks are the targets of training."""

from __future__ import annotations

import pytest
from tiny_models import tiny_tokenizer

from emolib.prompting.encoding import PromptEncoder
from emolib.prompting.templates import PAPER
from emolib.prompting.token_parts import token_parts


@pytest.fixture(scope="module")
def encoder() -> PromptEncoder:
    return PromptEncoder(tiny_tokenizer(), PAPER, end_id=0)


@pytest.mark.parametrize("text", ["hello?", "What a day, I could sing!", " spaces around "])
def test_the_parts_spell_the_prompt_and_count_what_training_counts(encoder: PromptEncoder, text: str) -> None:
    parts = token_parts(encoder, text, "joy")
    assert "".join(part.token for part in parts[:-1]) == PAPER.render(text.strip(), "joy")
    assert list(dict.fromkeys(part.part for part in parts)) == ["prefix", "text", "bridge", "label"]
    assert sum(part.response for part in parts) == len(encoder.example(text, "joy").target_ids)
    assert sum(part.all for part in parts) == len(parts) - 1
    assert [part.part for part in parts if part.response] == ["label"] * (len(encoder.label_ids["joy"]) + 1)
    assert not parts[0].all, "nothing comes before the first token"


def test_what_cannot_be_seen_is_made_visible(encoder: PromptEncoder) -> None:
    shown = "".join(part.shown for part in token_parts(encoder, "hello?", "joy"))
    assert "\n" not in shown
    assert "↵" in shown
    assert "·" in shown
