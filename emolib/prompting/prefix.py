"""Running a constant prefix once for many batches.

    prefix  = run_prefix(model, prefix_ids)                 once: keys and values of P tokens
    hidden  = run_suffixes(model, prefix, input_ids)        [B, S, H], attending to the prefix and to themselves
    logits  = head(model, hidden[rows, at])                 only where something is read

It holds for decoders with a standard key and value cache. Training, where the prefix's weights change with each
batch, runs prefix and suffixes together (`emolib.finetune.joint_prefix`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emolib.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import DynamicCache

    from emolib.prompting.encoding import PromptEncoder
    from emolib.prompting.label_trie import Fork

__all__ = ["Prefix", "decoder_of", "head", "label_scores", "run_prefix", "run_suffixes", "run_suffixes_cached"]


@dataclass(frozen=True)
class Prefix:
    """A prefix of P tokens after one forward pass.

    `layers` holds keys and values, each [1, heads, P, head size]; `hidden` is the last layer's output [1, P, H].
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    hidden: Tensor

    @property
    def length(self) -> int:
        """P, the number of tokens."""
        return self.hidden.shape[1]


def run_prefix(model: Any, prefix_ids: Sequence[int]) -> Prefix:
    """Run `prefix_ids` once through `model` (a causal language model, with or without PEFT's adapters)."""
    import torch

    ids = torch.tensor([list(prefix_ids)], dtype=torch.long, device=_device(model))
    output = decoder_of(model)(input_ids=ids, use_cache=True)
    cache = output.past_key_values
    layers = tuple((layer.keys, layer.values) for layer in getattr(cache, "layers", ()) if layer.keys is not None)
    if not layers or any(keys.shape[-2] != len(prefix_ids) for keys, _ in layers):
        raise ModelError(
            f"{type(_bare(model)).__name__} keeps no standard key and value cache of {len(prefix_ids)} tokens;"
            " use the engine 'plain'"
        )
    return Prefix(layers, output.last_hidden_state)


def run_suffixes(model: Any, prefix: Prefix, input_ids: Tensor) -> Tensor:
    """The last hidden states [B, S, H] of right-padded suffixes `input_ids` [B, S] after `prefix`.

    What stands at padding is meaningless.
    """
    return run_suffixes_cached(model, prefix, input_ids)[0]


def run_suffixes_cached(model: Any, prefix: Prefix, input_ids: Tensor) -> tuple[Tensor, DynamicCache]:
    """As `run_suffixes`, with the cache of all P + S positions beside it, for going on token by token."""
    import torch
    from transformers import DynamicCache

    batch, length = input_ids.shape
    device = _device(model)
    expanded = DynamicCache([tuple(part.expand(batch, -1, -1, -1) for part in layer) for layer in prefix.layers])
    output = decoder_of(model)(
        input_ids=input_ids.to(device),
        attention_mask=_mask(model, prefix, length),
        position_ids=torch.arange(prefix.length, prefix.length + length, device=device)[None].expand(batch, -1),
        past_key_values=expanded,
        use_cache=True,
    )
    return output.last_hidden_state, expanded


def head(model: Any, hidden: Tensor) -> Tensor:
    """The logits [N, V] of hidden states [N, H]."""
    return _capped(model, _bare(model).get_output_embeddings()(hidden))


def _capped(model: Any, logits: Tensor) -> Tensor:
    cap = getattr(_bare(model).config, "final_logit_softcapping", None)
    return logits if cap is None else cap * (logits / cap).tanh()


def label_scores(model: Any, encoder: PromptEncoder, prefix: Prefix, input_ids: Tensor, last: Tensor) -> np.ndarray:
    """Return the scores [B, K] of the labels after each text, in float32, up to a constant per row.

    `input_ids` [B, S] and `last` [B] come from `pad_texts`. Labels that begin alike are told apart at the forks of
    `encoder.trie`, whose tokens are run behind the texts in the same pass.
    """
    import torch

    trie = encoder.trie
    hidden = _run_with_forks(model, prefix, input_ids, last, trie.forks, encoder.end_id)
    last = last.to(hidden.device)
    at_end = hidden[torch.arange(len(last), device=hidden.device), last]
    first = _logits_of(model, at_end, trie.first_ids)
    forks, place = [], input_ids.shape[1]
    for fork in trie.forks:
        place += len(fork.path)
        forks.append(_logits_of(model, hidden[:, place - 1], fork.tokens))
    return trie.scores(first, forks)


def _logits_of(model: Any, hidden: Tensor, token_ids: Sequence[int]) -> np.ndarray:
    """Return the logits [N, T] of a few tokens, in float32."""
    import torch

    output = _bare(model).get_output_embeddings()
    ids = list(token_ids)
    if type(output) is not torch.nn.Linear:
        logits = head(model, hidden)[:, ids]
    else:
        # Of a vocabulary of 50,000 words, a few rows.
        bias = None if output.bias is None else output.bias[ids]
        logits = _capped(model, torch.nn.functional.linear(hidden, output.weight[ids], bias))
    return logits.float().cpu().numpy()


def _run_with_forks(
    model: Any, prefix: Prefix, input_ids: Tensor, last: Tensor, forks: Sequence[Fork], pad_id: int
) -> Tensor:
    """Return the hidden states [B, S + E, H] of texts [B, S] and, behind them, of the E tokens that lead to the forks.

    Each fork's tokens continue the text of their row, and see neither its padding nor another fork's.
    """
    import torch
    from transformers import DynamicCache

    if not forks:
        return run_suffixes(model, prefix, input_ids)
    device = _device(model)
    batch, length = input_ids.shape
    path = [token for fork in forks for token in fork.path]
    depth = torch.tensor([place for fork in forks for place in range(len(fork.path))], device=device)
    of = torch.tensor([number for number, fork in enumerate(forks) for _ in fork.path], device=device)
    last = last.to(device)
    ids = torch.cat([input_ids.to(device), torch.tensor([path], device=device).expand(batch, -1)], dim=1)
    texts = torch.arange(length, device=device)
    positions = torch.cat([texts[None].expand(batch, -1), last[:, None] + 1 + depth[None]], dim=1)
    sees = torch.zeros(batch, ids.shape[1], prefix.length + ids.shape[1], dtype=torch.bool, device=device)
    sees[:, :, : prefix.length] = True
    own = sees[:, :, prefix.length :]
    own[:, :length, :length] = texts[:, None] >= texts[None]
    own[:, length:, :length] = (texts[None] <= last[:, None])[:, None]
    own[:, length:, length:] = (of[:, None] == of[None]) & (depth[:, None] >= depth[None])
    expanded = DynamicCache([tuple(part.expand(batch, -1, -1, -1) for part in layer) for layer in prefix.layers])
    output = decoder_of(model)(
        input_ids=ids,
        attention_mask=_as_attention_mask(model, prefix, sees[:, None]),
        position_ids=prefix.length + positions,
        past_key_values=expanded,
        use_cache=True,
    )
    return output.last_hidden_state


def _mask(model: Any, prefix: Prefix, length: int) -> Tensor:
    """True where a suffix token may look: [1, 1, S, P + S], or the additive form for eager attention."""
    import torch

    device = prefix.hidden.device
    mask = torch.ones(length, prefix.length + length, dtype=torch.bool, device=device).tril(prefix.length)[None, None]
    return _as_attention_mask(model, prefix, mask)


def _as_attention_mask(model: Any, prefix: Prefix, mask: Tensor) -> Tensor:
    """Return a boolean mask as the model's attention takes it."""
    import torch

    if _bare(model).config._attn_implementation != "eager":
        return mask
    dtype = prefix.layers[0][0].dtype
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)


def decoder_of(model: Any) -> Any:
    """The decoder without its language model head; `model` with or without PEFT's adapters."""
    return _bare(model).get_decoder()


def _bare(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _device(model: Any) -> Any:
    return _bare(model).get_input_embeddings().weight.device
