"""Checkpoints that a killed run can trust: only those with the mark of a finished write are used."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emolib.files import storage_errors, write_json

__all__ = ["last_checkpoint", "load_adapter_weights", "mark_complete", "save_adapter", "write_adapter"]

_MARK = "complete.json"


def mark_complete(checkpoint: Path, step: int) -> None:
    """Say that every file of `checkpoint` is written."""
    write_json(checkpoint / _MARK, {"step": step})


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint in `folder`, or None; half-written ones are removed."""
    complete = []
    for path in sorted(folder.glob("checkpoint-*"), key=_step):
        if (path / _MARK).is_file():
            complete.append(path)
        else:
            shutil.rmtree(path, ignore_errors=True)
    return complete[-1] if complete else None


def save_adapter(model: Any, folder: Path, notes: dict[str, Any], files: Mapping[str, str] | None = None) -> None:
    """Write a PEFT model's adapter with `notes` (emolib.json) and `files` (name: text), whole or not at all."""
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    with storage_errors(folder):
        try:
            write_adapter(model, temporary)
            write_json(temporary / "emolib.json", notes)
            for name, text in (files or {}).items():
                (temporary / name).write_text(text, encoding="utf-8")
            if folder.exists():
                os.replace(folder, temporary.with_name(f"{temporary.name}.old"))
            os.replace(temporary, folder)
        finally:
            for leftover in folder.parent.glob(f"{temporary.name}*"):
                shutil.rmtree(leftover, ignore_errors=True)


def write_adapter(model: Any, folder: Path) -> None:
    """PEFT's two files: adapter_config.json and adapter_model.safetensors."""
    model.save_pretrained(str(folder), save_embedding_layers=False)
    # PEFT's model card names the folder of the base weights on this machine.
    (folder / "README.md").unlink(missing_ok=True)


def load_adapter_weights(model: Any, folder: Path) -> None:
    """Read what `write_adapter` wrote into the adapter of `model`."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    from emolib.errors import ModelError

    file = folder / "adapter_model.safetensors"
    try:
        set_peft_model_state_dict(model, load_file(file))
    except Exception as error:  # safetensors and torch each have their own kinds
        raise ModelError(f"{file} cannot be read back into the adapter: {error}; train with --no-resume") from error


def _step(path: Path) -> int:
    number = path.name.rpartition("-")[2]
    return int(number) if number.isdigit() else -1
