"""A run as one folder of safetensors, the adapter in the weights: what transformers and vLLM load."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from emolib.errors import StorageError
from emolib.export.gguf import describe, merged_name, work_folder, write_merged_folder
from emolib.export.loading import load_run, weights_of
from emolib.files import storage_errors, write_json

__all__ = ["export_safetensors"]


def export_safetensors(run: str | Path, out: str | Path) -> Path:
    """Write `run`, a run folder or a bundled adapter, merged and in float16, as a folder inside `out`; its path.

    Beside the weights lie the base model's tokenizer and chat template, and `emolib.json` with the prompt, labels and
    end token. The folder appears under its name when it is whole, and takes the place of an older one. UsageError
    where there is no adapter, StorageError where the space does not suffice, before anything is written.
    """
    out = Path(out)
    loaded = load_run(run)
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        _check_space(weights_of(loaded), out)
        with work_folder(out) as work:
            made, final = work / merged_name(loaded.base), out / merged_name(loaded.base)
            write_merged_folder(loaded, made)
            write_json(made / "emolib.json", describe(loaded))
            if final.exists():
                os.replace(final, work / "older")
            os.replace(made, final)
    return final


def _check_space(weights: int, out: Path) -> None:
    needed, free = int(1.05 * 2 * weights), shutil.disk_usage(out).free
    if free < needed:
        raise StorageError(
            f"{out} needs {needed / 1e9:.2f} GB for the merged weights and has {free / 1e9:.2f} GB free;"
            " free some, or name a folder on another disk"
        )
