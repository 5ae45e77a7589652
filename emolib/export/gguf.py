"""A run as GGUF files: merged into one file, or the base and the adapter apart."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emolib import __version__
from emolib.adapter_files import adapter_gguf, base_stem, gguf_notes
from emolib.errors import StorageError, UsageError
from emolib.export.loading import load_run, weights_of
from emolib.export.manifest import ExportedFile, Manifest
from emolib.export.merge import can_merge_by_tensor, write_merged
from emolib.export.ollama import write_modelfiles
from emolib.export.verify import answers_on_torch, check_files
from emolib.files import sha256, storage_errors
from emolib.llama.gguf import add_metadata, read_header, with_tensors_of
from emolib.llama.tools import (
    QUANTISATIONS,
    convert_model,
    known_quantisations,
    made_with,
    quantise,
)
from emolib.models import BaseModel, model_folder

if TYPE_CHECKING:
    import torch

    from emolib.emotion_model import EmotionModel

__all__ = [
    "copy_tokenizer",
    "describe",
    "export_gguf",
    "merged_name",
    "work_folder",
    "write_merged_folder",
]

#: What the tokenizer and the chat consist of, beside the weights.
_TOKENIZER_FILES = ("tokenizer*", "*.jinja", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json")


def export_gguf(
    run: str | Path,
    out: str | Path,
    quants: Sequence[str] = ("q8_0",),
    *,
    form: Literal["merged", "adapter"] = "merged",
) -> Manifest:
    """Write `run`, a run folder or a bundled adapter, as GGUF files into `out`, one for each of `quants`.

    `form` "merged" adds the adapter to the base weights; "adapter" writes the base, quantised, and the adapter in
    f16 beside it. A Modelfile for Ollama lies beside each model file. Files appear under their names when they are
    whole and answer a few texts as the run does on torch, if its memory holds the run; what was found stands in the
    manifest. UsageError for an
    unknown quantisation, StorageError where the space does not suffice, before anything is written; ModelError where
    the adapter cannot stand apart, or a file answers otherwise than the run.
    """
    names = known_quantisations(list(quants))
    if form not in ("merged", "adapter"):
        raise UsageError(f"a GGUF export is 'merged' or 'adapter', not {form!r}")
    out = Path(out)
    loaded = load_run(run)
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        _check_space(loaded, out, names, form)
        with work_folder(out) as work:
            expected = answers_on_torch(loaded.source, weights_of(loaded))
            make = _merged_files if form == "merged" else _split_files
            made = make(loaded, work, names)
            files = check_files([ExportedFile.of(path, kind, name) for path, kind, name in made], work, expected)
            for path in [*(path for path, _, _ in made), *write_modelfiles(files, work, loaded)]:
                os.replace(path, out / path.name)
    manifest = Manifest(files, describe(loaded))
    if (out / "manifest.json").is_file():
        manifest = manifest.joined(Manifest.read(out))
    manifest.write(out)
    return manifest


def write_merged_folder(loaded: EmotionModel, folder: Path, *, vectors: torch.dtype | None = None) -> None:
    """Write the run with its adapter in the weights, in float16, as a folder that transformers loads.

    `vectors` is the type of norms and biases (None: float16 too).
    """
    import torch

    from emolib.emotion_model import load_emotion_model

    base = model_folder(loaded.base)
    if can_merge_by_tensor(loaded.source, base):
        write_merged(loaded.source, base, folder, vectors=vectors)
    else:  # DoRA, whole modules and the like: PEFT knows how, and needs all weights for it
        model = load_emotion_model(loaded.source, dtype=torch.float32, device="cpu").merged().model
        (model if vectors else model.to(torch.float16)).save_pretrained(folder)
    copy_tokenizer(base, folder)


_Made = list[tuple[Path, str, str]]


def _merged_files(loaded: EmotionModel, work: Path, names: Sequence[str]) -> _Made:
    import torch

    folder = work / merged_name(loaded.base)  # the converter takes the model's name from it
    write_merged_folder(loaded, folder, vectors=torch.float32)
    return _quantised(folder, work, folder.name, "merged", names, gguf_notes(loaded.source))


def _split_files(loaded: EmotionModel, work: Path, names: Sequence[str]) -> _Made:
    base = model_folder(loaded.base)
    adapter = work / f"{base_stem(loaded.base)}-emotion-lora-f16.gguf"
    adapter_gguf(loaded.source, adapter)
    files = _quantised(base, work, base_stem(loaded.base), "base", names, {})
    return [*files, (adapter, "adapter", "f16")]


def _quantised(
    folder: Path, work: Path, stem: str, kind: str, names: Sequence[str], notes: Mapping[str, str | float]
) -> _Made:
    full = work / f"{stem}-f16.gguf"
    convert_model(folder, full)
    if folder.parent == work:
        shutil.rmtree(folder)
    if notes:
        add_metadata(full, notes)
    made = []
    for name in names:
        path = work / f"{stem}-{name}.gguf"
        if path != full:
            quantise(full, path, name)
        if name == "q8_0":
            with_tensors_of(full, path, _kept_in_f16(full))
        made.append((path, kind, name))
    return made


def _kept_in_f16(full: Path) -> Callable[[str], bool]:
    """Which tensors stay in f16 beside Q8_0: those of keys and values, and the last block.

    llama.cpp multiplies a Q8_0 matrix by activations that it rounds to 8 bits as well, a scale for 32 of them, and a
    few channels are ten to a hundred times the others. That, more than the weights, is what Q8_0 loses. Keys and
    values are what grouped heads make small, and what the last block loses no later one evens out: for a twentieth of
    the size the scores come a third closer (benchmarks/LOG.md).
    """
    blocks = [int(name.split(".")[1]) for name in read_header(full).shapes if name.startswith("blk.")]
    last = f"blk.{max(blocks)}."
    return lambda name: name.startswith(last) or name.endswith(("attn_k.weight", "attn_v.weight"))


def describe(loaded: EmotionModel) -> dict[str, Any]:
    """What a manifest says of the model beside its files."""
    source, tokenizer = loaded.source, loaded.tokenizer
    end = loaded.encoder.end_id
    return {
        "base_model": loaded.base.as_dict(),
        "adapter_sha256": sha256(source.adapter / "adapter_model.safetensors"),
        "prompt": source.prompt.name,
        "template": source.prompt.template,
        "labels": list(source.labels),
        "label_set": source.labels.as_dict(),
        "thresholds": list(source.thresholds),
        "temperature": source.temperature,
        "abstain_below": source.abstain_below,
        "chat_template": tokenizer.chat_template,
        "end_token": {"id": end, "text": tokenizer.convert_ids_to_tokens(end)},
        "made": {
            "emolib": __version__,
            "with": made_with(),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy tokenizer and chat template from one transformers folder to another."""
    for pattern in _TOKENIZER_FILES:
        for path in source.glob(pattern):
            shutil.copy2(path, target)


def merged_name(base: BaseModel) -> str:
    """The name of a base model with the adapter in its weights."""
    return f"{base_stem(base)}-emotion"


def _check_space(loaded: EmotionModel, out: Path, names: Sequence[str], form: str) -> None:
    weights = weights_of(loaded)
    full = 2 * weights
    merged = full if form == "merged" else 0
    kept = sum(QUANTISATIONS[name][1] / 8 * weights for name in names if name != "f16")
    # with_tensors_of writes the file anew beside the old one
    anew = QUANTISATIONS["q8_0"][1] / 8 * weights if "q8_0" in names else 0
    needed = int(1.05 * (full + max(merged, kept + anew)))
    free = shutil.disk_usage(out).free
    if free < needed:
        raise StorageError(
            f"{out} needs {needed / 1e9:.2f} GB while the files are made (the f16 file between included) and has"
            f" {free / 1e9:.2f} GB free; free some, or name a folder on another disk"
        )


@contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """A folder inside `out` for what is not whole yet; it is gone afterwards."""
    work = out / f".export-{uuid.uuid4().hex[:8]}"
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
