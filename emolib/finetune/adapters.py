"""The base model as it is trained on, and the LoRA adapter on top of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emolib.errors import ModelError, UsageError
from emolib.finetune.precision import Precision
from emolib.finetune.settings import TrainSettings

__all__ = ["add_adapter", "load_trainable_base", "start_from"]

_BUNDLED = Path(__file__).parent.parent / "adapters"


def load_trainable_base(settings: TrainSettings, precision: Precision) -> tuple[Any, Any]:
    """The base model and its tokenizer, in 4 bits where the settings say so and a GPU is there."""
    import torch

    from emolib.models import load_base, load_in_4_bits

    if settings.load_in_4bit:
        from accelerate import PartialState

        return load_in_4_bits(
            settings.base_model, dtype=precision.torch_dtype, device=PartialState().local_process_index
        )
    # On a CPU mixed precision is autocast over float32 weights: bfloat16 weights would lose small updates.
    dtype = precision.torch_dtype if torch.cuda.is_available() else torch.float32
    return load_base(settings.base_model, dtype=dtype)


def add_adapter(base: Any, settings: TrainSettings, base_name: str) -> Any:
    """A PEFT model: `base` frozen, with a fresh LoRA adapter drawn from the seed.

    `base_name` is what the adapter records as its base, in place of a folder of this machine.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(settings.seed)
    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=list(settings.target_modules),
        bias="none",
        task_type="CAUSAL_LM",
    )
    base.requires_grad_(False)
    try:
        model = get_peft_model(base, config)
    except ValueError as error:
        raise ModelError(
            f"{base_name} has no modules named {', '.join(settings.target_modules)} to adapt ({error})"
        ) from error
    model.peft_config["default"].base_model_name_or_path = base_name
    return model


def start_from(model: Any, name: str, base: dict[str, Any]) -> None:
    """Give the fresh adapter of `model` the weights of the adapter `name`: a folder, a run folder or a bundled one.

    It begins as the same function: another alpha, or rsLoRA's, is put into the B matrices. ModelError where that
    adapter was trained on another base model than `base`, has another shape, or is more than LoRA.
    """
    from emolib.finetune.checkpoints import load_adapter_weights

    folder = Path(name)
    if name.isidentifier() and not folder.exists():
        folder = _BUNDLED / name
    adapter = folder / "adapter" if (folder / "adapter").is_dir() else folder
    if not (adapter / "adapter_config.json").is_file():
        raise UsageError(f"{name} is no adapter to start from: it is neither bundled nor a folder with one")
    theirs = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    _refuse_other_base(adapter, folder, theirs, base)
    ours = model.peft_config["default"]
    shape = (theirs.get("r"), sorted(theirs.get("target_modules") or []))
    if shape != (ours.r, sorted(ours.target_modules)) or theirs.get("rank_pattern"):
        raise ModelError(
            f"the adapter in {folder} has rank {shape[0]} on {', '.join(shape[1])}"
            f"{' (and other ranks by module)' if theirs.get('rank_pattern') else ''}, and the settings ask for rank"
            f" {ours.r} on {', '.join(sorted(ours.target_modules))}; change lora_rank or target_modules"
        )
    load_adapter_weights(model, adapter)
    _rescale(model, adapter, folder, theirs)


def _rescale(model: Any, adapter: Path, folder: Path, theirs: dict[str, Any]) -> None:
    """Multiply the B matrices by the scale that they were trained with over the one that they have now."""
    import torch
    from safetensors import safe_open

    from emolib.finetune.lora_files import beyond_lora, lora_scale

    with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
        names = list(file.keys())
    if beyond := beyond_lora(theirs, names):
        raise ModelError(
            f"the adapter in {folder} has {' and '.join(beyond)}, which a plain LoRA adapter cannot start from;"
            " merge it into its base first (emolib export --safetensors) and train on that"
        )
    with torch.no_grad():
        for name, module in model.get_base_model().named_modules():
            if "default" in getattr(module, "lora_B", ()):
                wanted = lora_scale(theirs, name, module.r["default"])
                module.lora_B["default"].weight *= wanted / module.scaling["default"]


def _refuse_other_base(adapter: Path, folder: Path, theirs: dict[str, Any], base: dict[str, Any]) -> None:
    notes_file = adapter / "emolib.json"
    notes = json.loads(notes_file.read_text(encoding="utf-8")) if notes_file.is_file() else {}
    known = notes.get("base_model") or {"name": theirs.get("base_model_name_or_path")}
    for key in ("sha256", "revision"):
        if known.get(key) and base.get(key) and known[key] != base[key]:
            raise _other_base(folder, known, base)
    if not known.get("sha256") and not known.get("revision") and not _is_same(known.get("name"), base["name"]):
        raise _other_base(folder, known, base)


def _is_same(recorded: str | None, name: str) -> bool:
    """Whether two names mean one base model: a short name, its hub id, a copy in 4 bits, a folder elsewhere."""
    from emolib.models import HUB_MODELS, same_base

    found = same_base(recorded or "") or recorded or ""
    return HUB_MODELS.get(found.lower(), found) == HUB_MODELS.get(name.lower(), name)


def _other_base(folder: Path, known: dict[str, Any], base: dict[str, Any]) -> ModelError:
    return ModelError(
        f"the adapter in {folder} was trained on {known.get('name')}, not on {base['name']} with these weights;"
        f" train with --model {known.get('name')}"
    )
