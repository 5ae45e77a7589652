"""A prefix that is run once gives what the whole prompt gives."""

from __future__ import annotations

import pytest
import torch
from tiny_models import SENTENCES, tiny_model, tiny_tokenizer

from emolib.prompting.encoding import PromptEncoder, pad_texts
from emolib.prompting.prefix import first_label_logits, run_prefix, run_suffixes
from emolib.prompting.templates import PAPER

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


def test_a_head_with_biases_and_soft_caps_gives_the_same_for_the_labels_alone(codes: PromptEncoder) -> None:
    model = tiny_model()
    old = model.get_output_embeddings()
    model.set_output_embeddings(torch.nn.Linear(old.in_features, old.out_features))
    model.config.final_logit_softcapping = 0.5
    ids, last = pad_texts([codes.suffix_ids(text) for text in SENTENCES], pad_id=0)
    with torch.no_grad():
        prefix = run_prefix(model, codes.prefix_ids)
        labels = first_label_logits(model, prefix, ids, last, codes.first_label_ids)
        at_end = run_suffixes(model, prefix, ids)[torch.arange(len(last)), last]
        whole = 0.5 * (model.get_output_embeddings()(at_end) / 0.5).tanh()
    torch.testing.assert_close(labels, whole[:, list(codes.first_label_ids)])


def test_a_prefix_serves_many_batches(codes: PromptEncoder) -> None:
    model = tiny_model()
    ids, last = pad_texts([codes.suffix_ids(SENTENCES[0])], pad_id=0)
    with torch.no_grad():
        prefix = run_prefix(model, codes.prefix_ids)
        first = first_label_logits(model, prefix, ids, last, codes.first_label_ids)
        again = first_label_logits(model, prefix, ids, last, codes.first_label_ids)
    assert torch.equal(first, again)
