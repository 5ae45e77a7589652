"""A tiny random Qwen2 as a GGUF file, written with the `gguf` package, for tests that need no weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_models import tiny_tokenizer

_LAYER_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_TOP_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def write_tiny_qwen2(path: Path, *, tied: bool = True) -> Any:
    """Write a two-layer Qwen2 in float32 to `path` and return it; its rows divide into the blocks of k-quants."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokens, kinds, merges = _vocabulary()
    numbers = {token: number for number, token in enumerate(tokens)}
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokens),
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=tied,
        eos_token_id=numbers["<|im_end|>"],
        bos_token_id=numbers["<|endoftext|>"],
        pad_token_id=numbers["<|endoftext|>"],
    )
    model = Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Biases and norms as well, so that one that is lost is seen.
            parameter.normal_(mean=1.0 if "norm" in name else 0.0, std=0.1)
    _write(path, model, tokens, kinds, merges)
    return model


def _vocabulary() -> tuple[list[str], list[int], list[str]]:
    model = json.loads(tiny_tokenizer().backend_tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [" ".join(merge) for merge in model["merges"]]
    kinds = [_NORMAL] * len(tokens)
    kinds[tokens.index("<|end|>")] = _CONTROL
    tokens += ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "[PAD560]", "[PAD561]"]
    return tokens, [*kinds, *[_CONTROL] * 3, _USER_DEFINED, *[_UNUSED] * 2], merges


def _write(path: Path, model: Any, tokens: list[str], kinds: list[int], merges: list[str]) -> None:
    from gguf import GGUFWriter

    config = model.config
    writer = GGUFWriter(path, "qwen2")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_pad_token_id(config.pad_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(_TEMPLATE)
    for name, tensor in model.state_dict().items():
        if name != "lm_head.weight" or not config.tie_word_embeddings:
            writer.add_tensor(_gguf_name(name), tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _gguf_name(name: str) -> str:
    if name in _TOP_NAMES:
        return _TOP_NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    middle, _, suffix = rest.rpartition(".")
    return f"blk.{layer}.{_LAYER_NAMES[middle]}.{suffix}"
