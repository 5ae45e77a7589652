"""A constant prefix and the suffixes of a whole batch as one sequence, with gradients.

    hidden_prefix, hidden = run_jointly(model, prefix_ids, input_ids)      [P, H] and [B, S, H]

Every layer but attention looks at one token at a time, so prefix and suffixes go through it side by side, as P + B · S
tokens: one large matrix product in place of a small one and a middling one, and half as many calls. Attention alone
knows which token belongs to which text: a suffix sees the prefix and itself. It takes the place of the model's own
through transformers' attention interface, so it holds for any decoder of transformers that calls its attention through
that interface and hands its keyword arguments down. The gradient is that of the padded full sequences
(`emolib.finetune.objective.verify` measures it).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from emolib.errors import ModelError
from emolib.finetune.lora_linear import fused_lora
from emolib.prompting.prefix import decoder_of

__all__ = ["run_jointly"]

_NAME = "emolib_joint_prefix"

#: Suffixes up to this many tokens keep their attention weights for the backward pass, which is faster; the weights of
#: longer ones would take more memory than all else.
_KEEP_WEIGHTS = 128


@dataclass(frozen=True)
class _Layout:
    """P prefix tokens, then B suffixes of S; `unseen` [1 or B, S, S] is True where a suffix token may not look."""

    prefix: int
    batch: int
    length: int
    unseen: Tensor


def run_jointly(
    model: Any,
    prefix_ids: Sequence[int],
    input_ids: Tensor,
    *,
    positions: Tensor | None = None,
    branches: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The last hidden states of the prefix [P, H] and of right-padded suffixes `input_ids` [B, S] after it, [B, S, H].

    `positions` [B, S] counts from the end of the prefix (default 0, 1, 2 …). `branches` [B, S] keeps alternatives
    apart: a token sees branch 0 and its own. What stands at padding is meaningless. ModelError where the model's
    attention cannot be told from its other layers; such a model needs the engine 'plain'.
    """
    decoder = decoder_of(model)
    device = decoder.get_input_embeddings().weight.device
    prefix = torch.tensor(list(prefix_ids), dtype=torch.long, device=device)
    (batch, length), count = input_ids.shape, len(prefix)
    if positions is None:
        positions = torch.arange(length).expand(batch, -1)
    layout = _Layout(count, batch, length, _unseen(length, branches, device))
    with _own_attention(decoder.config), fused_lora(decoder):
        output = decoder(
            input_ids=torch.cat([prefix, input_ids.to(device).flatten()])[None],
            position_ids=torch.cat([torch.arange(count, device=device), positions.to(device).flatten() + count])[None],
            use_cache=False,
            prefix_layout=layout,
        )
    states = output.last_hidden_state[0]
    return states[:count], states[count:].unflatten(0, (batch, length))


@contextlib.contextmanager
def _own_attention(config: Any) -> Iterator[None]:
    before = config._attn_implementation
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def _unseen(length: int, branches: Tensor | None, device: Any) -> Tensor:
    later = torch.ones(length, length, dtype=torch.bool, device=device).triu(1)[None]
    if branches is None:
        return later
    branches = branches.to(device)
    return later | ((branches[:, None, :] != 0) & (branches[:, None, :] != branches[:, :, None]))


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    prefix_layout: _Layout | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' interface: query [1, heads, T, D], key and value [1, key heads, T, D], result [1, T, heads, D]."""
    layout = prefix_layout
    if layout is None or len(query) != 1:
        raise ModelError(f"{type(module).__name__} does not say which text a token belongs to; use the engine 'plain'")
    if sliding_window is not None and sliding_window < layout.prefix + layout.length:
        raise ModelError(
            f"the prompt of {layout.prefix + layout.length} tokens is longer than the window of"
            f" {sliding_window} tokens that {type(module).__name__} looks back; use the engine 'plain'"
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    groups = query.shape[1] // key.shape[1]
    parts = query[0].unflatten(0, (-1, groups)), key[0], value[0]
    first = _attend_prefix(*(part[..., : layout.prefix, :] for part in parts), scale, softcap)
    if softcap or layout.length <= _KEEP_WEIGHTS:
        rest = _attend_suffixes(*parts, layout, scale, softcap)
    else:
        rest = _attend_long_suffixes(*parts, layout, scale)
    return torch.cat([first, rest])[None], None


def _attend_prefix(query: Tensor, key: Tensor, value: Tensor, scale: float, softcap: float | None) -> Tensor:
    """Causal attention: query [K, G, P, D], key and value [K, P, D] to [P, K · G, D]."""
    heads, groups, count, size = query.shape
    scores = _capped(_scores(query.reshape(heads, groups * count, size), key, scale), softcap)
    later = torch.ones(count, count, dtype=torch.bool, device=query.device).triu(1)
    scores = scores.view(heads, groups, count, count).masked_fill(later, float("-inf"))
    weights = _softmax(scores, value.dtype).view(heads, groups * count, count)
    return torch.bmm(weights, value).view(heads * groups, count, size).transpose(0, 1)


def _attend_suffixes(
    query: Tensor, key: Tensor, value: Tensor, layout: _Layout, scale: float, softcap: float | None
) -> Tensor:
    """Attention of every suffix to the prefix and itself, to [B · S, K · G, D].

    The prefix's keys are one matrix for all texts, so nothing is expanded over the batch.
    """
    heads, groups, _, size = query.shape
    count, batch, length = layout.prefix, layout.batch, layout.length
    rows = groups * length
    query = query[..., count:, :].unflatten(2, (batch, length)).transpose(1, 2).reshape(heads, batch * rows, size)
    own_key, own_value = (part[:, count:].reshape(heads * batch, length, size) for part in (key, value))
    to_prefix = _scores(query, key[:, :count], scale).view(heads * batch, rows, count)
    to_own = _scores(query.view(heads * batch, rows, size), own_key, scale)
    scores = _capped(torch.cat([to_prefix, to_own], dim=-1), softcap)
    scores = scores.view(heads, batch, groups, length, count + length)
    scores[..., count:].masked_fill_(layout.unseen[None, :, None], float("-inf"))
    weights = _softmax(scores, value.dtype).view(heads * batch, rows, count + length)
    from_prefix = torch.bmm(weights[..., :count].reshape(heads, batch * rows, count), value[:, :count])
    found = from_prefix.view(heads * batch, rows, size) + torch.bmm(weights[..., count:], own_value)
    return found.view(heads, batch, groups, length, size).permute(1, 3, 0, 2, 4).reshape(batch * length, -1, size)


def _attend_long_suffixes(query: Tensor, key: Tensor, value: Tensor, layout: _Layout, scale: float) -> Tensor:
    """As `_attend_suffixes`, by torch's own attention, which keeps no weights."""
    count, batch, length = layout.prefix, layout.batch, layout.length

    def whole(part: Tensor) -> Tensor:
        own = part[:, count:].unflatten(1, (batch, length)).transpose(0, 1)
        rows = torch.cat([part[:, :count].expand(batch, -1, -1, -1), own], dim=2)
        return rows.repeat_interleave(query.shape[1], dim=1)

    rows = query.flatten(0, 1)[:, count:].unflatten(1, (batch, length)).transpose(0, 1)
    seen = torch.ones(len(layout.unseen), length, count, dtype=torch.bool, device=query.device)
    mask = torch.cat([seen, ~layout.unseen], dim=-1)[:, None]
    found = scaled_dot_product_attention(rows, whole(key), whole(value), attn_mask=mask, scale=scale)
    return found.transpose(1, 2).flatten(0, 1)


def _scores(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """Scaled products [N, R, S] of query [N, R, D] and key [N, S, D] in float32, under autocast too.

    In bfloat16 the large scores of models with biased keys (Qwen2) would be off by whole units.
    """
    with torch.autocast(query.device.type, enabled=False):
        return torch.bmm(query.float() * scale, key.float().transpose(1, 2))


def _capped(scores: Tensor, softcap: float | None) -> Tensor:
    return scores if softcap is None else softcap * (scores / softcap).tanh()


def _softmax(scores: Tensor, dtype: torch.dtype) -> Tensor:
    return scores.softmax(-1, dtype=torch.float32).to(dtype)


AttentionInterface.register(_NAME, _attention)
