"""A run's adapter added to the base weights tensor by tensor: a model of 15 GB is merged in two of memory.

The merged weights go to disk in the order in which they are made. The format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.files import write_json
from emolib.finetune.lora_files import beyond_lora, lora_scale, module_of

if TYPE_CHECKING:
    import torch

    from emolib.emotion_model import AdapterSource

__all__ = ["can_merge_by_tensor", "first_weights", "write_merged"]

_FLOATS = {"F32", "F16", "BF16"}


@dataclass(frozen=True)
class _Stored:
    """A tensor of the base model: the file that holds it, and its type and shape."""

    file: Path
    dtype: str
    shape: tuple[int, ...]


def can_merge_by_tensor(source: AdapterSource, base: Path) -> bool:
    """Whether the adapter is low-rank matrices alone, each for a matrix that a file of `base` holds in floats."""
    config, names = _adapter_config(source), _adapter_names(source)
    stored = _stored(base)
    modules = {module_of(name) for name in names}
    return bool(stored) and not beyond_lora(config, names) and not config.get("fan_in_fan_out") and all(
        f"{module}.weight" in stored and stored[f"{module}.weight"].dtype in _FLOATS for module in modules
    )  # fmt: skip


def write_merged(source: AdapterSource, base: Path, folder: Path, *, vectors: torch.dtype | None = None) -> None:
    """Write the base model in the folder `base` with the adapter of `source` in it, in float16, into `folder`.

    `vectors` is the type of the tensors with one dimension, which norms and biases are (None: float16 too). At no time
    are two of the matrices in memory.
    """
    import torch

    stored = _stored(base)
    kinds = {name: (vectors or torch.float16) if len(one.shape) == 1 else torch.float16 for name, one in stored.items()}
    folder.mkdir(parents=True, exist_ok=True)
    delta = partial(_delta, source, _adapter_config(source))
    _write_tensors(folder / "model.safetensors", stored, kinds, _merged(stored, kinds, delta))
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", {**config, "dtype": "float16"})
    if (base / "generation_config.json").is_file():
        shutil.copy2(base / "generation_config.json", folder)


def first_weights(run: str | Path, count: int = 32) -> list[float]:
    """Return the first `count` weights of the first matrix of the base model that the adapter of `run` changes."""
    from emolib.emotion_model import find_adapter
    from emolib.models import model_folder, resolve_base

    source = find_adapter(run)
    name = f"{sorted(filter(None, map(module_of, _adapter_names(source))))[0]}.weight"
    stored = _stored(model_folder(resolve_base(source.base)))
    return _read(stored[name].file, name).flatten()[:count].float().tolist()


def _merged(
    stored: Mapping[str, _Stored], kinds: Mapping[str, torch.dtype], delta: Callable[[str], torch.Tensor | None]
) -> Iterator[torch.Tensor]:
    for name, one in stored.items():
        yield _add(_read(one.file, name), delta(name.removesuffix(".weight"))).to(kinds[name])


def _add(weight: torch.Tensor, delta: torch.Tensor | None) -> torch.Tensor:
    return weight if delta is None else weight.float() + delta


def _delta(source: AdapterSource, config: Mapping[str, Any], module: str) -> torch.Tensor | None:
    """What the adapter adds to the weight of `module`, in float32; None if it leaves it as it is."""
    from safetensors import safe_open

    with safe_open(source.adapter / "adapter_model.safetensors", "pt") as file:
        found = {name.split(".lora_")[1][0]: name for name in file.keys() if module_of(name) == module}  # noqa: SIM118
        if not found:
            return None
        a, b = (file.get_tensor(found[side]).float() for side in "AB")
    return lora_scale(config, module, a.shape[0]) * (b @ a)


def _read(file: Path, name: str) -> torch.Tensor:
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return opened.get_tensor(name)


def _stored(base: Path) -> dict[str, _Stored]:
    """The tensors of the model in the folder `base` by name, from the headers of its files."""
    found = {}
    for file in sorted(base.glob("*.safetensors")):
        with open(file, "rb") as opened:
            header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        for name, entry in header.items():
            if name != "__metadata__":
                found[name] = _Stored(file, entry["dtype"], tuple(entry["shape"]))
    return found


def _write_tensors(
    path: Path, shapes: Mapping[str, _Stored], kinds: Mapping[str, torch.dtype], tensors: Iterator[torch.Tensor]
) -> None:
    """Write `tensors`, which come in the order of `shapes`, as one safetensors file."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, one in shapes.items():
        start, end = end, end + math.prod(one.shape) * kinds[name].itemsize
        header[name] = {
            "dtype": f"F{8 * kinds[name].itemsize}", "shape": list(one.shape), "data_offsets": [start, end]
        }  # fmt: skip
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            file.write(memoryview(tensor.contiguous().numpy()).cast("B"))


def _adapter_config(source: AdapterSource) -> dict[str, Any]:
    return json.loads((source.adapter / "adapter_config.json").read_text(encoding="utf-8"))


def _adapter_names(source: AdapterSource) -> list[str]:
    from safetensors import safe_open

    with safe_open(source.adapter / "adapter_model.safetensors", "pt") as file:
        return list(file.keys())
