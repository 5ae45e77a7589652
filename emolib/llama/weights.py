"""Turning a quantised GGUF of the Llama or the Qwen2 family into a folder that transformers loads.

transformers reads such a file too (`from_pretrained(…, gguf_file=…)`), but in 30 s at every start, and
it takes `<|im_start|>` for the end-of-text token of SmolLM2. Done once and cached, it costs a second.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader
    from tokenizers import Tokenizer

__all__ = ["LAYER_NAMES", "write_transformers_folder"]

LAYER_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_TOP_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
#: Token kinds of GGUF: what the chat template is made of, tokens of tools and the like, and padding of the vocabulary.
_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5

#: How Qwen2's tokenizer divides a text before its merges (transformers' `tokenization_qwen2`).
_QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class _Family:
    """What tells an architecture of GGUF with its kind of tokenizer from the others.

    `interleaved`: GGUF interleaves the two halves that rotary embeddings turn together, which transformers keeps apart.
    """

    class_name: str
    settings: Mapping[str, Any]
    interleaved: bool
    prepare: Callable[[Tokenizer], None]


def _prepare_smollm(tokenizer: Tokenizer) -> None:
    from tokenizers import pre_tokenizers

    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )


def _prepare_qwen2(tokenizer: Tokenizer) -> None:
    from tokenizers import Regex, normalizers, pre_tokenizers

    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN2_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


#: By architecture and kind of tokenizer.
_FAMILIES = {
    ("llama", "smollm"): _Family(
        "LlamaForCausalLM", {"attention_bias": False, "mlp_bias": False}, interleaved=True, prepare=_prepare_smollm
    ),
    ("qwen2", "qwen2"): _Family(
        "Qwen2ForCausalLM", {"use_sliding_window": False}, interleaved=False, prepare=_prepare_qwen2
    ),
}


def write_transformers_folder(gguf_file: Path, folder: Path) -> None:
    """Write the weights of `gguf_file` as float32 safetensors into `folder`, with config, tokenizer and chat template.

    The weights may be quantised in any way that the `gguf` package can undo, k-quants among them. ValueError for
    another architecture than `llama` with a tokenizer of the kind `smollm`, or `qwen2` with `qwen2`.
    """
    from gguf import GGUFReader

    reader = GGUFReader(gguf_file)
    kind = (_field(reader, "general.architecture"), _field(reader, "tokenizer.ggml.pre"))
    if kind not in _FAMILIES:
        known = ", ".join(f"{architecture} with {tokenizer}" for architecture, tokenizer in _FAMILIES)
        raise ValueError(f"{gguf_file} has architecture {kind[0]} and tokenizer {kind[1]}; known: {known}")
    family = _FAMILIES[kind]
    config = _config(reader, kind[0], family)
    _write_json(folder / "config.json", config)
    _write_json(
        folder / "generation_config.json",
        {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
    )
    _write_tokenizer(reader, family, folder, longest=config["max_position_embeddings"])
    _write_weights(reader, config, family, folder / "model.safetensors")


def _field(reader: GGUFReader, name: str) -> Any:
    return reader.fields[name].contents()


def _field_or(reader: GGUFReader, name: str, default: Any) -> Any:
    return _field(reader, name) if name in reader.fields else default


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _config(reader: GGUFReader, architecture: str, family: _Family) -> dict[str, Any]:
    def field(name: str) -> Any:
        return _field(reader, f"{architecture}.{name}")

    heads = field("attention.head_count")
    return {
        "architectures": [family.class_name],
        "model_type": architecture,
        # Without a version transformers takes a large vocabulary for a damaged one of Mistral's.
        "transformers_version": "5.0.0",
        "dtype": "float32",
        "vocab_size": len(reader.fields["tokenizer.ggml.tokens"].data),
        "hidden_size": field("embedding_length"),
        "intermediate_size": field("feed_forward_length"),
        "num_hidden_layers": field("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": field("attention.head_count_kv"),
        "head_dim": _field_or(reader, f"{architecture}.rope.dimension_count", field("embedding_length") // heads),
        "max_position_embeddings": field("context_length"),
        "rms_norm_eps": float(f"{field('attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_parameters": {"rope_type": "default", "rope_theta": field("rope.freq_base")},
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        **family.settings,
        "tie_word_embeddings": all(tensor.name != "output.weight" for tensor in reader.tensors),
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": _field(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": _field(reader, "tokenizer.ggml.eos_token_id"),
        "pad_token_id": _field(reader, "tokenizer.ggml.padding_token_id"),
    }


def _write_tokenizer(reader: GGUFReader, family: _Family, folder: Path, *, longest: int) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models

    tokens = _field(reader, "tokenizer.ggml.tokens")
    kinds = _field(reader, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in _field(reader, "tokenizer.ggml.merges")]
    numbers = {token: number for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True)) if kind != _UNUSED}
    tokenizer = Tokenizer(models.BPE(vocab=numbers, merges=merges))
    family.prepare(tokenizer)
    tokenizer.decoder = decoders.ByteLevel()
    for kind, special in ((_CONTROL, True), (_USER_DEFINED, False)):
        added = [token for token, of in zip(tokens, kinds, strict=True) if of == kind]
        tokenizer.add_tokens([AddedToken(token, special=special, normalized=False) for token in added])
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    special = {role: _field_or(reader, f"tokenizer.ggml.{name}_token_id", None) for role, name in roles.items()}
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": longest,
            "clean_up_tokenization_spaces": False,
            **{f"{role}_token": tokens[number] for role, number in special.items() if number is not None},
        },
    )
    (folder / "chat_template.jinja").write_text(_field(reader, "tokenizer.chat_template"), encoding="utf-8")


def _write_weights(reader: GGUFReader, config: dict[str, Any], family: _Family, path: Path) -> None:
    import numpy as np
    from gguf.quants import dequantize
    from safetensors.numpy import save_file

    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    interleaved = heads if family.interleaved else {}
    tensors: dict[str, np.ndarray] = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        if tensor.name in _TOP_NAMES:
            tensors[_TOP_NAMES[tensor.name]] = np.ascontiguousarray(values)
            continue
        _, layer, name, suffix = tensor.name.split(".")
        if name in interleaved:
            values = _unpermute(values, interleaved[name])
        tensors[f"model.layers.{layer}.{LAYER_NAMES[name]}.{suffix}"] = np.ascontiguousarray(values)
    save_file(tensors, path, metadata={"format": "pt"})


def _unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
