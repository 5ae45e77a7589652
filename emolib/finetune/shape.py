"""The shape of a decoder, read from its configuration: parameters, adapters, and the size of its GGUF files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emolib.errors import ModelError, UsageError
from emolib.files import expand_user

__all__ = ["Shape", "read_shape"]

_CONFIGS = Path(__file__).parents[1] / "model_configs"

#: Bits a weight of llama.cpp's types; rows that 256 does not divide cannot hold a k-quant and fall back.
_BITS = {"f16": 16, "q4_k": 4.5, "q6_k": 6.5625, "q8_0": 8.5, "q5_0": 5.5}
_FALL_BACK = {"q4_k": "q5_0", "q6_k": "q8_0"}
#: Tokens of a vocabulary as they stand in a GGUF file, with their merges: bytes a token.
_VOCABULARY_BYTES = 38


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder of the Llama family: Llama, Qwen2, Mistral, SmolLM."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    tied: bool
    bias: bool

    @property
    def kv_width(self) -> int:
        """Width of the keys, and of the values, of one token in one layer."""
        return self.kv_heads * self.head_size

    @property
    def projections(self) -> dict[str, tuple[int, int]]:
        """Input and output width of each linear layer of a block."""
        attention = self.heads * self.head_size
        return {
            "q_proj": (self.hidden, attention),
            "k_proj": (self.hidden, self.kv_width),
            "v_proj": (self.hidden, self.kv_width),
            "o_proj": (attention, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def linear_parameters(self) -> int:
        """Weights of the linear layers of all blocks: what 4-bit loading packs."""
        return self.layers * sum(rows * columns for rows, columns in self.projections.values())

    @property
    def parameters(self) -> int:
        """All parameters."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return embeddings + self.linear_parameters + self._vectors

    @property
    def _vectors(self) -> int:
        biases = sum(self.projections[name][1] for name in ("q_proj", "k_proj", "v_proj")) if self.bias else 0
        return self.layers * (2 * self.hidden + biases) + self.hidden

    def lora_parameters(self, rank: int, targets: tuple[str, ...]) -> int:
        """Trainable parameters of a LoRA adapter; UsageError for a projection that the model lacks."""
        unknown = [name for name in targets if name not in self.projections]
        if unknown:
            raise UsageError(f"{self.name} has no projection {unknown[0]!r}; it has {', '.join(self.projections)}")
        return self.layers * rank * sum(sum(self.projections[name]) for name in targets)

    def gguf_bytes(self, quantisation: str) -> int:
        """Size of the merged model as a GGUF file, "q4_k_m" or "q8_0"."""
        tensors = sum(_stored(size, row, kind) for size, row, kind in self._gguf_tensors(quantisation))
        return round(tensors + self._vectors * 4 + self.vocabulary * _VOCABULARY_BYTES)

    def _gguf_tensors(self, quantisation: str) -> Iterator[tuple[int, int, str]]:
        """Weights, width of a row, and type of each matrix."""
        mixed = quantisation == "q4_k_m"
        plain, finer = ("q4_k", "q6_k") if mixed else ("q8_0", "q8_0")
        embedding = self.vocabulary * self.hidden
        yield embedding, self.hidden, finer if self.tied else plain
        if not self.tied:
            yield embedding, self.hidden, finer
        for layer in range(self.layers):
            for name, (width, out) in self.projections.items():
                kept = layer == self.layers - 1 or name in ("k_proj", "v_proj")  # as emolib.export.gguf keeps them
                more = name in ("v_proj", "down_proj") and _gets_more_bits(layer, self.layers)
                yield width * out, width, "f16" if kept and not mixed else finer if more else plain


def read_shape(name: str) -> Shape:
    """The shape of the model `name`: one that ships with us, a folder with a config.json, or such a file."""
    path = _config_path(name)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        heads = config["num_attention_heads"]
        return Shape(
            name=name,
            hidden=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_size=config.get("head_dim") or config["hidden_size"] // heads,
            intermediate=config["intermediate_size"],
            vocabulary=config["vocab_size"],
            tied=config.get("tie_word_embeddings", False),
            bias=config.get("attention_bias", config.get("model_type") == "qwen2"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path} describes no decoder of the Llama family ({error!r}); a plan needs its sizes"
        ) from error


def _config_path(name: str) -> Path:
    shipped = _CONFIGS / f"{name.lower().removesuffix('-instruct')}.json"
    given = expand_user(name)
    for path in (shipped, given / "config.json", given):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in _CONFIGS.glob("*.json")))
    raise UsageError(f"no configuration of {name!r} here; name one of {known}, or a folder with a config.json")


def _stored(weights: int, row: int, kind: str) -> float:
    return weights * _BITS[kind if row % 256 == 0 or kind in ("f16", "q8_0") else _FALL_BACK[kind]] / 8


def _gets_more_bits(layer: int, layers: int) -> bool:
    """llama.cpp's choice for Q4_K_M: the first and the last eighth of the layers, and every third between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
