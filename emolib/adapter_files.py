"""Adapters as LoRA files for llama.cpp, each with what it needs to be used alone.

For the models of the wheels they are written without torch; for others llama.cpp's own converter does it.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.errors import ModelError, UsageError
from emolib.files import atomic_path, file_stem, sha256, write_json
from emolib.llama.gguf import VOCABULARY, add_metadata, read_header
from emolib.llama.server import CHAT_TASK, TASK_KEY, EmotionTask
from emolib.models import BaseModel, chat_gguf, model_folder, resolve_base

if TYPE_CHECKING:
    from emolib.emotion_model import AdapterSource

__all__ = ["adapter_gguf", "base_stem", "gguf_notes", "lora_file"]


def lora_file(adapter: str | Path, task: str | None = None) -> Path:
    """Return the LoRA GGUF of an adapter: the file itself, or one that is made once and kept in emolib's cache.

    `task` is what the adapter has to be for, "classify" or "chat" (None: either). UsageError if it is for another.
    """
    from emolib.emotion_model import find_adapter
    from emolib.models import cache_folder

    if str(adapter).lower().endswith(".gguf"):
        return Path(adapter)
    source = find_adapter(adapter, task=task)
    if source.adapter is None:
        raise UsageError(f"{adapter} is a base model without an adapter; serve it with --model FILE.gguf")
    weights = sha256(source.adapter / "adapter_model.safetensors")[:12]
    # The notes (temperature, threshold) are part of the file, so they are part of what it is kept under.
    notes = f"{source.temperature:g}-{source.abstain_below:g}"
    file = cache_folder() / "adapters" / f"{weights}-{notes}" / f"{Path(adapter).name}.gguf"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        adapter_gguf(source, file)
    return file


def adapter_gguf(source: AdapterSource, out: Path) -> None:
    """Write the adapter of `source` as a LoRA GGUF in f16 to `out`, with what it needs to be used alone."""
    base = resolve_base(source.base)
    with atomic_path(out) as made:
        write = _write_without_torch if base.kind == "wheel" else _convert
        vocabulary = write(source, base, made)
        known = {VOCABULARY: str(vocabulary)} if vocabulary else {}
        add_metadata(made, {**known, **_adapter_notes(source)})


def _write_without_torch(source: AdapterSource, base: BaseModel, out: Path) -> int:
    """Write the LoRA file for a model of the wheels; the size of its vocabulary."""
    from safetensors.numpy import load_file

    from emolib.llama.lora import write_lora

    header = read_header(chat_gguf(base.name))
    config, tensors = _lora(source, load_file(source.adapter / "adapter_model.safetensors"))
    write_lora(tensors, config["lora_alpha"], header, _lora_name(source, base), out)
    return len(header.metadata["tokenizer.ggml.tokens"])


def _convert(source: AdapterSource, base: BaseModel, out: Path) -> int | None:
    """Have llama.cpp's converter write the LoRA file; the size of the base's vocabulary."""
    from safetensors.torch import load_file, save_file

    from emolib.llama.tools import convert_adapter

    config, tensors = _lora(source, load_file(source.adapter / "adapter_model.safetensors"))
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".lora-") as work:
        folder = Path(work) / _lora_name(source, base)  # the converter takes the adapter's name from it
        folder.mkdir()
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        # No path of this machine as its base.
        plain = {"use_rslora": False, "alpha_pattern": {}, "rank_pattern": {}}
        named = {"base_model_name_or_path": base.hub_id or base_stem(base)}
        write_json(folder / "adapter_config.json", {**config, **plain, **named})
        convert_adapter(folder, model_folder(base), out)
    return json.loads((model_folder(base) / "config.json").read_text(encoding="utf-8")).get("vocab_size")


def _lora(source: AdapterSource, tensors: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The adapter's configuration, and its matrices as llama.cpp takes them: with one alpha for all.

    llama.cpp multiplies by alpha / rank, and knows neither rsLoRA nor alphas by module: what PEFT multiplies by goes
    into the B matrices.
    """
    from emolib.finetune.lora_files import beyond_lora, lora_scale, module_of

    config = json.loads((source.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    if beyond := beyond_lora(config, tensors):
        raise ModelError(
            f"the adapter {source.adapter} has {' and '.join(beyond)}, which no LoRA GGUF holds;"
            " export it merged (without --adapter)"
        )
    scaled = {}
    for name, tensor in tensors.items():
        factor = 1.0
        if ".lora_B." in name:
            rank = tensor.shape[1]
            factor = lora_scale(config, module_of(name), rank) * rank / config["lora_alpha"]
        scaled[name] = tensor if factor == 1.0 else tensor * factor
    return config, scaled


def gguf_notes(source: AdapterSource) -> dict[str, str | float]:
    """Return what a GGUF file of an emotion model carries, so that it can be used alone."""
    return {
        "emolib.prompt": source.prompt.name,
        "emolib.template": source.prompt.template,
        "emolib.labels": json.dumps(source.labels.as_dict(), ensure_ascii=False),
        "emolib.thresholds": json.dumps(source.thresholds),
        "emolib.temperature": source.temperature,
        "emolib.abstain_below": source.abstain_below,
    }


def _adapter_notes(source: AdapterSource) -> dict[str, str | float]:
    if source.task == "chat":
        return {"emolib.task": "chat", TASK_KEY: CHAT_TASK}
    task = EmotionTask(source.prompt.name, source.temperature, source.abstain_below, source.labels, source.thresholds)
    return {**gguf_notes(source), TASK_KEY: str(task)}


def base_stem(base: BaseModel) -> str:
    """Return the name of a base model as files carry it."""
    return file_stem(base.name).lower()


def _lora_name(source: AdapterSource, base: BaseModel) -> str:
    return f"{base_stem(base)}-{'chat' if source.task == 'chat' else 'emotion'}-lora"
