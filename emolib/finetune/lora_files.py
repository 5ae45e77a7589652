"""What a LoRA adapter folder says of itself, from PEFT's two files alone: its scale, and what in it is not LoRA."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["beyond_lora", "lora_scale", "module_of"]

_MATRIX = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_[AB](?:\.\w+)?\.weight")


def module_of(tensor: str) -> str | None:
    """Return the module that the LoRA matrix `tensor` belongs to, or None if it is none."""
    found = _MATRIX.fullmatch(tensor)
    return found[1] if found else None


def lora_scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    """Return what PEFT multiplies B·A of `module` by: alpha / rank, or alpha / √rank for rsLoRA (arXiv 2312.03732).

    `alpha_pattern` gives some modules an alpha of their own. `rank` is that of the matrices, whatever
    `rank_pattern` says.
    """
    patterns = config.get("alpha_pattern") or {}
    own = next((alpha for key, alpha in patterns.items() if re.fullmatch(rf"(?:.*\.)?(?:{key})", module)), None)
    alpha = config["lora_alpha"] if own is None else own
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def beyond_lora(config: Mapping[str, Any], tensors: Iterable[str]) -> list[str]:
    """Return what an adapter has besides low-rank matrices: what no plain LoRA file can hold."""
    found = []
    if config.get("peft_type", "LORA") != "LORA":
        found.append(f"the type {config['peft_type']}")
    if config.get("use_dora"):
        found.append("DoRA's magnitudes")
    if config.get("modules_to_save"):
        found.append(f"whole modules ({', '.join(config['modules_to_save'])})")
    others = sorted({name.split(".")[-1] for name in tensors if module_of(name) is None})
    if others and not found:
        found.append(f"tensors that are no LoRA matrices ({', '.join(others)})")
    return found
