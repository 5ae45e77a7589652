"""A prefix that is run once gives what the whole prompt gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import SENTENCES, tiny_model, tiny_tokenizer

from emolib.labels import LabelSet
from emolib.prompting.encoding import PromptEncoder, pad_texts
from emolib.prompting.prefix import label_scores, run_prefix, run_suffixes
from emolib.prompting.templates import PAPER, get_prompt

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
        shared = label_scores(model, codes, prefix, ids, last)
        whole = [model(torch.tensor([[*codes.prefix_ids, *suffix]])).logits[0, -1] for suffix in suffixes]
    expected = torch.stack(whole)[:, list(codes.trie.first_ids)]
    torch.testing.assert_close(torch.tensor(shared), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_labels_that_begin_alike_get_the_probabilities_of_their_ways(family: str, attention: str) -> None:
    labels = LabelSet(("joy", "joyful", "joyless", "fear", "fearful"))
    codes = PromptEncoder(tiny_tokenizer(), get_prompt("paper", labels), end_id=0, labels=labels)
    assert codes.trie.forks, "these labels are to share their first tokens"
    model = tiny_model(family)
    model.set_attn_implementation(attention)
    ids, last = pad_texts([codes.suffix_ids(text) for text in SENTENCES], pad_id=0)
    with torch.no_grad():
        prefix = run_prefix(model, codes.prefix_ids)
        scores = label_scores(model, codes, prefix, ids, last)
        expected = [[_way(model, codes, text, label) for label in labels] for text in SENTENCES]
    found = torch.log_softmax(torch.tensor(scores), dim=1)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-3, atol=1e-4)


def _way(model: Any, codes: PromptEncoder, text: str, label: str) -> float:
    """Return the log-probability of `label` if at each token only those that lead to a label are open."""
    ways = {name: (*ids, codes.end_id) for name, ids in codes.label_ids.items()}
    total, way = 0.0, ways[label]
    for depth, token in enumerate(way):
        open_tokens = sorted({other[depth] for other in ways.values() if other[:depth] == way[:depth]})
        if len(open_tokens) > 1:
            ids = torch.tensor([[*codes.prefix_ids, *codes.suffix_ids(text), *way[:depth]]])
            logits = model(ids).logits[0, -1][open_tokens]
            total += float(torch.log_softmax(logits, dim=0)[open_tokens.index(token)])
    return total


def test_a_head_with_biases_and_soft_caps_gives_the_same_for_the_labels_alone(codes: PromptEncoder) -> None:
    model = tiny_model()
    old = model.get_output_embeddings()
    model.set_output_embeddings(torch.nn.Linear(old.in_features, old.out_features))
    model.config.final_logit_softcapping = 0.5
    ids, last = pad_texts([codes.suffix_ids(text) for text in SENTENCES], pad_id=0)
    with torch.no_grad():
        prefix = run_prefix(model, codes.prefix_ids)
        labels = label_scores(model, codes, prefix, ids, last)
        at_end = run_suffixes(model, prefix, ids)[torch.arange(len(last)), last]
        whole = 0.5 * (model.get_output_embeddings()(at_end) / 0.5).tanh()
    torch.testing.assert_close(torch.tensor(labels), whole[:, list(codes.trie.first_ids)])


def test_a_prefix_serves_many_batches(codes: PromptEncoder) -> None:
    model = tiny_model()
    ids, last = pad_texts([codes.suffix_ids(SENTENCES[0])], pad_id=0)
    with torch.no_grad():
        prefix = run_prefix(model, codes.prefix_ids)
        first = label_scores(model, codes, prefix, ids, last)
        again = label_scores(model, codes, prefix, ids, last)
    assert (first == again).all()
