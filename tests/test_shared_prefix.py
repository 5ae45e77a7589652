"""A prefix that is run once gives what the whole prompt gives."""

from __future__ import annotations

import pytest
import torch
from tiny_models import SENTENCES, tiny_model, tiny_tokenizer

from emolib.finetune.batches import PromptEncoder, pad_texts
from emolib.finetune.shared_prefix import first_label_logits, head, run_prefix, run_suffixes
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


def test_gradients_reach_the_weights_through_the_prefix(codes: PromptEncoder) -> None:
    model = tiny_model()
    ids, last = pad_texts([codes.suffix_ids(text) for text in SENTENCES], pad_id=0)

    def gradient(prefix_ids: tuple[int, ...], rows: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        model.zero_grad()
        hidden = run_suffixes(model, run_prefix(model, prefix_ids), rows)
        head(model, hidden[torch.arange(len(at)), at]).logsumexp(-1).sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    shared = gradient(codes.prefix_ids, ids, last)
    # The same tokens with only the first of them shared: nearly the whole prompt is run for every text.
    rest = torch.tensor(codes.prefix_ids[1:]).expand(len(ids), -1)
    whole = gradient(codes.prefix_ids[:1], torch.cat([rest, ids], dim=1), last + rest.shape[1])
    assert (shared - whole).norm() / whole.norm() < 1e-5


def test_branches_do_not_see_each_other(codes: PromptEncoder) -> None:
    model = tiny_model()
    one = codes.soft_example(SENTENCES[0], {"joy": 1.0})
    two = codes.soft_example(SENTENCES[0], {"joy": 0.5, "fear": 0.5})
    with torch.no_grad():
        prefix = run_prefix(model, codes.prefix_ids)
        hidden = [
            run_suffixes(
                model,
                prefix,
                torch.tensor([example.input_ids]),
                positions=torch.tensor([example.positions]),
                branches=torch.tensor([example.branches]),
            )
            for example in (one, two)
        ]
    torch.testing.assert_close(hidden[0][0], hidden[1][0, : len(one)])
