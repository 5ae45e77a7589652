"""A prefix that is run once gives what the whole prompt gives."""

from __future__ import annotations

import pytest
import torch
from tiny_models import SENTENCES, tiny_model, tiny_tokenizer

from emolib.finetune.batches import PromptEncoder, pad_texts
from emolib.finetune.shared_prefix import first_label_logits, run_prefix
from emolib.prompts import PAPER

FAMILIES = ("llama", "qwen2", "gemma")


@pytest.fixture(scope="module")
def codes() -> PromptEncoder:
    return PromptEncoder(tiny_tokenizer(), PAPER, end_id=0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_label_logits_equal_those_of_the_whole_prompt(codes: PromptEncoder, family: str, attention: str) -> None:
    model = tiny_model(family)
    model.set_attn_implementation(attention)
    suffixes = [codes.suffix_ids(text) for text in SENTENCES]
    with torch.no_grad():
        prefix = run_prefix(model, codes.prefix_ids)
        ids, last = pad_texts(suffixes, pad_id=0)
        shared = first_label_logits(model, prefix, ids, last, codes.first_label_ids)
        whole = [model(torch.tensor([[*codes.prefix_ids, *suffix]])).logits[0, -1] for suffix in suffixes]
    expected = torch.stack(whole)[:, list(codes.first_label_ids)]
    torch.testing.assert_close(shared, expected, rtol=1e-4, atol=1e-5)


def test_a_prefix_serves_many_batches(codes: PromptEncoder) -> None:
    model = tiny_model()
    ids, last = pad_texts([codes.suffix_ids(SENTENCES[0])], pad_id=0)
    with torch.no_grad():
        prefix = run_prefix(model, codes.prefix_ids)
        first = first_label_logits(model, prefix, ids, last, codes.first_label_ids)
        again = first_label_logits(model, prefix, ids, last, codes.first_label_ids)
    assert torch.equal(first, again)
