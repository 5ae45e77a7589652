"""FastLanguageModel on the CPU, with the parameters of the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: Of which hub model Unsloth takes its own copy in 4 bits (unsloth/models/mapper.py).
_IN_4_BITS = {"Qwen/Qwen2.5-7B": "unsloth/Qwen2.5-7B-unsloth-bnb-4bit"}
_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class FastLanguageModel:
    """What a T4 would run, in float32."""

    loaded: dict[str, Any]

    @classmethod
    def from_pretrained(
        cls,
        model_name: str = "unsloth/Llama-3.2-1B-Instruct",
        max_seq_length: int = 2048,
        dtype: Any = None,
        load_in_4bit: bool = True,
        load_in_8bit: bool = False,
        load_in_16bit: bool = False,
        full_finetuning: bool = False,
        token: str | None = None,
        device_map: str = "sequential",
    ) -> tuple[Any, Any]:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        _train_on_a_cpu()
        cls.loaded = {"model_name": model_name, "load_in_4bit": load_in_4bit, "dtype": dtype}
        name = _IN_4_BITS.get(model_name, model_name) if load_in_4bit else model_name
        model = AutoModelForCausalLM.from_pretrained(name, dtype="float32")
        return model, AutoTokenizer.from_pretrained(name)

    @staticmethod
    def get_peft_model(
        model: Any,
        r: int = 16,
        target_modules: Any = _PROJECTIONS,
        lora_alpha: int = 16,
        lora_dropout: float = 0.0,
        bias: str = "none",
        layers_to_transform: Any = None,
        layers_pattern: Any = None,
        finetune_last_n_layers: Any = None,
        use_gradient_checkpointing: str | bool = "unsloth",
        random_state: int = 3407,
        max_seq_length: int = 2048,
        use_rslora: bool = False,
        modules_to_save: Any = None,
        init_lora_weights: bool = True,
    ) -> Any:
        import torch
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(random_state)
        config = LoraConfig(
            r=r, lora_alpha=lora_alpha, lora_dropout=lora_dropout, target_modules=list(target_modules), bias=bias,
            task_type="CAUSAL_LM", use_rslora=use_rslora,
        )  # fmt: skip
        adapted = get_peft_model(model, config)
        adapted.save_pretrained_gguf = lambda *arguments, **options: _save_gguf(adapted, *arguments, **options)
        return adapted

    @staticmethod
    def for_inference(model: Any) -> Any:
        return model.eval()

    @staticmethod
    def for_training(model: Any, use_gradient_checkpointing: bool | None = None) -> Any:
        return model.train()


def _save_gguf(
    model: Any, save_directory: str | Path, tokenizer: Any = None, quantization_method: str | list[str] = "q8_0"
) -> None:
    """The real one downloads and compiles llama.cpp."""
    raise RuntimeError("llama.cpp cannot be downloaded here")


def _train_on_a_cpu() -> None:
    """TRL's settings, without what needs a GPU: Unsloth changes TRL's trainer as well."""
    import trl

    whole = trl.SFTConfig

    def settings(**options: Any) -> Any:
        assert not (options.pop("fp16") and options["bf16"])
        options |= {"bf16": False, "use_cpu": True, "optim": options["optim"].replace("adamw_8bit", "adamw_torch")}
        return whole(**options)

    if isinstance(whole, type):
        trl.SFTConfig = settings
