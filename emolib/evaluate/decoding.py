"""Greedy free generation for many texts: the prompt's constant part is run once, and only unfinished rows go on.

Beside each answer stand the label scores of the same pass, so the constrained figure costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import DynamicCache

    from emolib.prompting.encoding import PromptEncoder
    from emolib.prompting.prefix import Prefix

__all__ = ["Answers", "answer_batch"]


@dataclass(frozen=True)
class Answers:
    """What a model made of N texts: `generated` up to the first line break or end token, and `label_logits` [N, K]."""

    generated: list[str]
    label_logits: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """The answers of several batches, one after the other."""
        generated = [text for part in parts for text in part.generated]
        return cls(generated, np.concatenate([part.label_logits for part in parts]))

    def take(self, rows: Sequence[int]) -> Answers:
        """The answers number `rows`, in that order."""
        return Answers([self.generated[row] for row in rows], self.label_logits[list(rows)])


def answer_batch(
    model: Any, encoder: PromptEncoder, prefix: Prefix, suffixes: Sequence[Sequence[int]], *, max_new_tokens: int = 8
) -> Answers:
    """Answers to the texts whose tokens after the prefix are `suffixes`, decoded greedily and freely.

    An answer is bounded by `max_new_tokens`, so an endless loop ends as a format error.
    """
    import torch

    from emolib.prompting.encoding import pad_texts
    from emolib.prompting.prefix import head, label_scores, run_suffixes_cached

    input_ids, last = pad_texts(suffixes, pad_id=encoder.end_id)
    hidden, cache = run_suffixes_cached(model, prefix, input_ids)
    last = last.to(hidden.device)
    logits = head(model, hidden[torch.arange(len(last), device=hidden.device), last])
    if encoder.trie.forks:
        scores = label_scores(model, encoder, prefix, input_ids, last)
    else:
        scores = logits[:, list(encoder.trie.first_ids)].float().cpu().numpy()
    tokens = _continue(model, encoder, prefix, cache, last, logits, max_new_tokens)
    return Answers([_text(encoder, ids) for ids in tokens], scores)


def _continue(
    model: Any,
    encoder: PromptEncoder,
    prefix: Prefix,
    cache: DynamicCache,
    last: Tensor,
    logits: Tensor,
    max_new_tokens: int,
) -> list[list[int]]:
    """The new tokens of each row, without the end token, from the `logits` [B, V] after the text."""
    import torch

    from emolib.prompting.prefix import head

    answers: list[list[int]] = [[] for _ in range(len(last))]
    rows = torch.arange(len(last), device=last.device)
    texts = torch.arange(cache.get_seq_length() - prefix.length, device=last.device)
    visible = torch.cat([texts.new_ones(len(last), prefix.length).bool(), texts[None] <= last[:, None]], dim=1)
    positions = last + prefix.length
    for step in range(max_new_tokens):
        chosen = logits.argmax(dim=-1)
        for row, token in zip(rows.tolist(), chosen.tolist(), strict=True):
            answers[row].append(token)
        going = torch.tensor([_goes_on(encoder, answers[row]) for row in rows.tolist()], device=rows.device)
        if step + 1 == max_new_tokens or not going.any():
            break
        if not going.all():
            kept = going.nonzero()[:, 0]
            rows, chosen, visible, positions = rows[kept], chosen[kept], visible[kept], positions[kept]
            cache.batch_select_indices(kept)
        visible = torch.cat([visible, visible.new_ones(len(rows), 1)], dim=1)
        positions = positions + 1
        logits = head(model, _step(model, cache, chosen, visible, positions))
    return [[token for token in ids if token != encoder.end_id] for ids in answers]


def _step(model: Any, cache: DynamicCache, tokens: Tensor, visible: Tensor, positions: Tensor) -> Tensor:
    """Hidden states [B, H] of one more token a row; the cache grows by it."""
    import torch

    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    mask = visible[:, None, None, :]
    if bare.config._attn_implementation == "eager":
        lowest = torch.finfo(bare.dtype).min
        mask = torch.zeros(mask.shape, dtype=bare.dtype, device=mask.device).masked_fill(~mask, lowest)
    output = bare.get_decoder()(
        input_ids=tokens[:, None],
        attention_mask=mask,
        position_ids=positions[:, None],
        past_key_values=cache,
        use_cache=True,
    )
    return output.last_hidden_state[:, -1]


def _goes_on(encoder: PromptEncoder, ids: list[int]) -> bool:
    return ids[-1] != encoder.end_id and "\n" not in encoder.tokenizer.decode(ids[-1:])


def _text(encoder: PromptEncoder, ids: list[int]) -> str:
    return encoder.tokenizer.decode(ids, skip_special_tokens=False).split("\n")[0]
