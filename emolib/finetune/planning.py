"""Planning before spending: what a training needs, from the model's configuration alone.

Parameters, the adapter and the steps are exact. GGUF sizes follow llama.cpp's choice of a type for each tensor.
The memory is an estimate of what lies on the device at the peak of a step; what the allocator and the CUDA
context add to it (about a gigabyte) is not in it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emolib.errors import ModelError, UsageError
from emolib.finetune.settings import TrainSettings
from emolib.tables import markdown_table

__all__ = ["Plan", "Shape", "plan", "read_shape"]

_CONFIGS = Path(__file__).parents[1] / "model_configs"

#: Bits a weight of llama.cpp's types; rows that 256 does not divide cannot hold a k-quant and fall back.
_BITS = {"q4_k": 4.5, "q6_k": 6.5625, "q8_0": 8.5, "q5_0": 5.5, "f32": 32.0}
_FALL_BACK = {"q4_k": "q5_0", "q6_k": "q8_0"}
#: NF4 with double quantisation: 4 bits, an 8-bit scale for 64 weights, and a 32-bit scale for 256 of those.
_NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8
#: Tokens of a vocabulary as they stand in a GGUF file, with their merges: bytes a token.
_VOCABULARY_BYTES = 38

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
#: Bytes that an optimiser keeps for a trainable parameter.
_OPTIMIZER_BYTES = {"adamw_torch": 8, "adamw_8bit": 2}


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
                more = name in ("v_proj", "down_proj") and _gets_more_bits(layer, self.layers)
                yield width * out, width, finer if more else plain


@dataclass(frozen=True)
class Plan:
    """What a training needs; sizes are in bytes."""

    model: str
    parameters: int
    trainable: int
    adapter: int
    memory: Mapping[str, int]
    gguf: Mapping[str, int]
    steps: int
    rows: int
    tokens: int
    settings: Mapping[str, Any]

    @property
    def total(self) -> int:
        """Bytes on the device at the peak of a step."""
        return sum(self.memory.values())

    def as_dict(self) -> dict[str, Any]:
        """Everything, with the total of the memory."""
        return {**asdict(self), "total": self.total}

    def table(self) -> str:
        """The plan as a Markdown table."""
        rows = [
            ("parameters", f"{self.parameters:,}"),
            ("trainable", f"{self.trainable:,}"),
            ("adapter, float32", f"{self.adapter / 1e6:.1f} MB"),
            *((f"memory: {part}", f"{size / 1e9:.2f} GB") for part, size in self.memory.items()),
            ("memory: all", f"{self.total / 1e9:.2f} GB"),
            *((f"GGUF {name}", f"{size / 1e9:.2f} GB") for name, size in self.gguf.items()),
            ("steps", f"{self.steps:,}"),
        ]
        return markdown_table((f"{self.model}, {self.tokens} tokens a text", ""), rows)


def plan(settings: TrainSettings, *, rows: int = 16_000, tokens: int = 128) -> Plan:
    """The plan of a training with `settings` on `rows` texts of up to `tokens` tokens, prompt and label included.

    UsageError or ModelError where the base model's configuration is not known or not understood.
    """
    if rows < 1 or tokens < 2:
        raise UsageError(f"a plan needs at least one row and two tokens, not {rows} and {tokens}")
    shape = read_shape(settings.base_model)
    trainable = shape.lora_parameters(settings.lora_rank, settings.target_modules)
    steps = settings.max_steps if settings.max_steps > 0 else math.ceil(rows / settings.effective_batch)
    if settings.max_steps < 0:
        steps = math.ceil(steps * settings.epochs)
    return Plan(
        model=shape.name,
        parameters=shape.parameters,
        trainable=trainable,
        adapter=4 * trainable,
        memory=_memory(shape, settings, trainable, min(tokens, settings.max_length)),
        gguf={name: shape.gguf_bytes(name) for name in ("q4_k_m", "q8_0")},
        steps=steps,
        rows=rows,
        tokens=tokens,
        settings=settings.as_dict(),
    )


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
    given = Path(name).expanduser()
    for path in (shipped, given / "config.json", given):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in _CONFIGS.glob("*.json")))
    raise UsageError(f"no configuration of {name!r} here; name one of {known}, or a folder with a config.json")


def _memory(shape: Shape, settings: TrainSettings, trainable: int, tokens: int) -> dict[str, int]:
    precision = _BYTES.get(settings.dtype, 2 if settings.load_in_4bit else 4)
    packed = shape.linear_parameters if settings.load_in_4bit else 0
    weights = packed * _NF4_BYTES + (shape.parameters - packed) * precision
    batch_tokens = settings.batch_size * tokens
    block = _block_activations(shape, settings, precision) * batch_tokens
    kept = shape.hidden * precision * batch_tokens
    checkpointed = settings.gradient_checkpointing and settings.engine in ("plain", "unsloth")
    activations = shape.layers * kept + block if checkpointed else shape.layers * block
    heads = batch_tokens if settings.loss_on == "all" else 2 * settings.batch_size
    return {
        "weights": round(weights),
        "adapter and gradients": 8 * trainable,
        "optimiser": _OPTIMIZER_BYTES[settings.optimizer] * trainable,
        "activations": round(activations),
        "logits": heads * shape.vocabulary * (precision + 8),
        "cache": 2 * shape.layers * shape.kv_width * precision * batch_tokens,
    }


def _block_activations(shape: Shape, settings: TrainSettings, precision: int) -> int:
    """Bytes a token that a block keeps for the backward pass.

    The input and output of both norms in float32, what enters each projection, queries, keys and values, the gate
    before and after its activation, their product, and the input of each adapter's second matrix.
    """
    attention = shape.heads * shape.head_size
    norms = 4 * shape.hidden * 4
    streams = 2 * shape.hidden + 3 * attention + 2 * shape.kv_width + 4 * shape.intermediate
    adapters = settings.lora_rank * len(settings.target_modules)
    return norms + (streams + adapters) * precision


def _stored(weights: int, row: int, kind: str) -> float:
    return weights * _BITS[kind if row % 256 == 0 or kind == "q8_0" else _FALL_BACK[kind]] / 8


def _gets_more_bits(layer: int, layers: int) -> bool:
    """llama.cpp's choice for Q4_K_M: the first and the last eighth of the layers, and every third between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
