"""Planning before spending: what a training needs, from the model's configuration alone.

Parameters, the adapter and the steps are exact. GGUF sizes follow llama.cpp's choice of a type for each tensor.
The memory is an estimate of what lies on the device at the peak of a step; what the allocator and the CUDA
context add to it (about a gigabyte) is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from emolib.errors import UsageError
from emolib.finetune.settings import TrainSettings
from emolib.finetune.shape import Shape, read_shape
from emolib.finetune.tasks import get_task
from emolib.tables import Table, markdown_table

__all__ = ["Plan", "compare_plans", "largest_fitting", "plan"]

#: Base models for GPUs, the largest first.
_SIZES = ("qwen2.5-7b", "qwen2.5-3b", "qwen2.5-1.5b", "qwen2.5-0.5b")
#: NF4 with double quantisation: 4 bits, an 8-bit scale for 64 weights, and a 32-bit scale for 256 of those.
_NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
#: Bytes that an optimiser keeps for a trainable parameter.
_OPTIMIZER_BYTES = {"adamw_torch": 8, "adamw_8bit": 2}


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


def plan(settings: TrainSettings, *, rows: int | None = None, tokens: int | None = None) -> Plan:
    """The plan of a training with `settings` on `rows` texts of up to `tokens` tokens, prompt and response included.

    The defaults are the task's: CARER's 16,000 texts of 128 tokens, or 1,200 conversations of 256. UsageError or
    ModelError where the base model's configuration is not known or not understood.
    """
    task = get_task(settings.task)
    rows = task.planned_rows if rows is None else rows
    tokens = task.planned_tokens if tokens is None else tokens
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


def compare_plans(plans: Mapping[str, Plan]) -> Table:
    """Return plans side by side, a row per name: trainable parameters, size of the adapter, memory, steps."""
    rows = [
        [
            name,
            f"{one.trainable:,}",
            f"{100 * one.trainable / one.parameters:.2f} %",
            f"{one.adapter / 1e6:.0f} MB",
            f"{one.total / 1e9:.1f} GB",
            f"{one.steps:,}",
        ]
        for name, one in plans.items()
    ]
    return Table(["training", "trainable", "share of the model", "adapter", "memory", "steps"], rows)


def largest_fitting(gigabytes: float) -> str:
    """The largest Qwen2.5 whose training in 4 bits, with texts of 512 tokens, fits a GPU of so many GB (10^9 bytes).

    A gigabyte is left for the CUDA context. It is the smallest where not even that fits.
    """
    for name in _SIZES[:-1]:
        needed = plan(TrainSettings(base_model=name, dtype="float16"), tokens=512).total / 1e9
        if needed + 1 <= gigabytes:
            return name
    return _SIZES[-1]


def _memory(shape: Shape, settings: TrainSettings, trainable: int, tokens: int) -> dict[str, int]:
    precision = _BYTES.get(settings.dtype, 2 if settings.load_in_4bit else 4)
    packed = shape.linear_parameters if settings.load_in_4bit else 0
    weights = packed * _NF4_BYTES + (shape.parameters - packed) * precision
    batch_tokens = settings.batch_size * tokens
    block = _block_activations(shape, settings, precision) * batch_tokens
    kept = shape.hidden * precision * batch_tokens
    checkpointed = settings.gradient_checkpointing and settings.engine in ("plain", "unsloth")
    activations = shape.layers * kept + block if checkpointed else shape.layers * block
    learnt = tokens if settings.loss_on == "all" else get_task(settings.task).learnt_tokens(tokens)
    targets = settings.batch_size * learnt
    return {
        "weights": round(weights),
        "adapter and gradients": 8 * trainable,
        "optimiser": _OPTIMIZER_BYTES[settings.optimizer] * trainable,
        "activations": round(activations),
        # as they come out of the head, in float32 for the loss, and their gradient
        "logits": targets * shape.vocabulary * (precision + 8),
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
