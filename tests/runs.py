"""A run folder on a tiny random model, and one on the embedded model, for tests that need no training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_models import tiny_model, tiny_tokenizer

_PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def save_tiny_base(folder: Path, *, family: str = "llama", seed: int = 0) -> Path:
    """A random two-layer model with its tokenizer, as a folder that transformers loads; its answers vary."""
    import torch

    model = tiny_model(family, seed)
    torch.manual_seed(seed)
    for weight in model.parameters():
        if weight.dim() == 2:
            torch.nn.init.normal_(weight, std=0.4)
    # Untied: a random tied model repeats its last token for ever.
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def save_convertible_base(folder: Path) -> Path:
    """A random two-layer model with the tokenizer of SmolLM2, which llama.cpp's converter knows.

    Its rows of 288 values do not divide into the blocks of 256 of k-quants, as SmolLM2's 576 do not.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from emolib.models import load_tokenizer

    tokenizer = load_tokenizer("smollm2-135m")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=288,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=9,
        num_key_value_heads=3,
        head_dim=32,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_run(folder: Path, base: str | Path, *, sha256: str | None = None, strength: float = 0.3, **lora: Any) -> Path:
    """A run folder with an adapter of random weights; `strength` is the standard deviation of its B matrices.

    `lora` are settings of PEFT's LoraConfig.
    """
    from emolib.models import load_base

    adapter = random_adapter(load_base(base)[0], strength, **lora)
    adapter.save_pretrained(folder / "adapter")
    config = {"base_model": {"name": str(base), "sha256": sha256}, "prompt": "paper", "settings": {}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "log.jsonl").write_text("")
    return folder


def random_adapter(model: Any, strength: float, **lora: Any) -> Any:
    """`model` with a LoRA adapter, of rank 4 if `lora` does not say otherwise, that changes its output."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    settings = {"r": 4, "lora_alpha": 4, "target_modules": _PROJECTIONS, "task_type": "CAUSAL_LM", **lora}
    adapted = get_peft_model(model, LoraConfig(**settings))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=strength)
        elif "modules_to_save" in name:
            weight.data += strength * weight.std() * torch.randn_like(weight)
    return adapted.eval()
