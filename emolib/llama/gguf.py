"""The header of a GGUF file: its metadata and the types of its tensors.

The `gguf` package reads headers too, in five seconds where this takes a tenth, and needs the file whole; this
one says what is wrong with a truncated file. The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import shutil
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from emolib.errors import ModelError, UsageError
from emolib.files import atomic_path

__all__ = ["VOCABULARY", "GGUFHeader", "add_metadata", "check_fits", "read_header", "with_tensors_of"]

#: Where an adapter that emolib exported says how many tokens its base model knows.
VOCABULARY = "emolib.vocabulary"

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
#: ggml's tensor types by number: name, values a block, bytes a block.
_TENSOR_TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    20: ("IQ4_NL", 32, 18),
    23: ("IQ4_XS", 256, 136),
    30: ("BF16", 1, 2),
}
_ALIGNMENT = 32


@dataclass(frozen=True)
class GGUFHeader:
    """What a GGUF file says about itself: `metadata` by key, how many tensors there are of each type, their `shapes`.

    A shape is in ggml's order: (inputs, outputs) of a matrix.

    The three numbers are places in the file: where the metadata ends, where the list of tensors ends, and where
    their data starts.
    """

    path: Path
    metadata: Mapping[str, Any]
    tensor_types: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]
    metadata_end: int
    tensors_end: int
    data_start: int

    @property
    def architecture(self) -> str:
        """The model family, as "llama"."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def lora_shapes(self) -> dict[str, tuple[int, ...]]:
        """For an adapter: the shape of each matrix that it changes."""
        names = [name.removesuffix(".lora_a") for name in self.shapes if name.endswith(".lora_a")]
        return {name: (self.shapes[f"{name}.lora_a"][0], self.shapes[f"{name}.lora_b"][-1]) for name in names}

    @property
    def is_adapter(self) -> bool:
        """True for a LoRA adapter, which wants a base model beside it."""
        return self.metadata.get("general.type") == "adapter"


def read_header(path: Path) -> GGUFHeader:
    """The header of the GGUF file `path`; ModelError if it is none, or is cut short."""
    if not path.is_file():
        raise ModelError(f"there is no GGUF file {path}; make one with: emolib export RUN --out FOLDER")
    try:
        with open(path, "rb") as file:
            header, data_bytes = _read(file, path)
    except (struct.error, UnicodeDecodeError, MemoryError, OverflowError, KeyError) as error:
        raise ModelError(f"{path} is truncated or damaged in its header; copy or export it again") from error
    size, expected = path.stat().st_size, header.data_start + data_bytes
    if size < expected:
        raise ModelError(f"{path} is truncated: it has {size:,} of {expected:,} bytes; copy or export it again")
    return header


def check_fits(adapter: GGUFHeader, base: GGUFHeader) -> None:
    """UsageError or ModelError if the LoRA file `adapter` cannot sit on the model file `base`."""
    if not adapter.is_adapter:
        raise UsageError(f"{adapter.path} is a whole model, not an adapter; name it alone")
    if base.is_adapter:
        raise UsageError(f"{base.path} is an adapter; name the base GGUF and give this one as its adapter")
    advice = "use the base that it was exported with"
    if adapter.architecture != base.architecture:
        raise ModelError(
            f"the adapter {adapter.path} is for {adapter.architecture} and {base.path} is {base.architecture}; {advice}"
        )
    wanted, tokens = adapter.metadata.get(VOCABULARY), len(base.metadata.get("tokenizer.ggml.tokens", ()))
    if wanted and int(wanted) != tokens:
        raise ModelError(f"{adapter.path} is for {wanted} tokens and {base.path} has {tokens}; {advice}")
    changed = adapter.lora_shapes
    wrong = [name for name in changed if base.shapes.get(name) != changed[name]]
    if wrong:
        raise ModelError(
            f"the adapter {adapter.path} does not fit {base.path}: {wrong[0]} is {changed[wrong[0]]} in the one and"
            f" {base.shapes.get(wrong[0], 'missing')} in the other; {advice}"
        )


def add_metadata(path: Path, values: Mapping[str, str | float]) -> None:
    """Add text and numbers to the metadata of the GGUF file `path`, through a temporary name."""
    header = read_header(path)
    added = b"".join(_entry(key, value) for key, value in values.items())
    with atomic_path(path) as temporary, open(path, "rb") as source, open(temporary, "wb") as target:
        target.write(source.read(8))
        tensors, entries = struct.unpack("<QQ", source.read(16))
        target.write(struct.pack("<QQ", tensors, entries + len(values)))
        target.write(source.read(header.metadata_end - source.tell()) + added)
        target.write(source.read(header.tensors_end - source.tell()))
        # Tensors are found relative to where the data starts, so only the padding before it changes.
        target.write(bytes(-target.tell() % _alignment(header.metadata)))
        source.seek(header.data_start)
        shutil.copyfileobj(source, target, 1 << 20)


def with_tensors_of(full: Path, path: Path, chosen: Callable[[str], bool]) -> None:
    """Put those tensors of the GGUF file `full` whose names are `chosen` into `path`, through a temporary name.

    Both hold the same tensors, in other types. The metadata of `path` stays.
    """
    header = read_header(path)
    wanted = _tensor_places(full)
    places = {name: wanted[name] if chosen(name) else place for name, place in _tensor_places(path).items()}
    alignment = _alignment(header.metadata)
    with atomic_path(path) as temporary, open(path, "rb") as source, open(temporary, "wb") as target:
        target.write(source.read(header.metadata_end))
        offset = 0
        for name, place in places.items():
            target.write(_tensor_entry(name, place, offset))
            offset += place.size + -place.size % alignment
        for place in places.values():
            target.write(bytes(-target.tell() % alignment))
            with open(place.path, "rb") as file:
                file.seek(place.start)
                for length in _chunks(place.size):
                    target.write(file.read(length))


@dataclass(frozen=True)
class _TensorPlace:
    """Where the data of a tensor lies: `start` and `size` in bytes, and its type by number."""

    path: Path
    shape: tuple[int, ...]
    kind: int
    start: int
    size: int


def _tensor_places(path: Path) -> dict[str, _TensorPlace]:
    header = read_header(path)
    places = {}
    with open(path, "rb") as file:
        file.seek(header.metadata_end)
        for _ in header.shapes:
            name, shape, kind, size, offset = _tensor(file)
            places[name] = _TensorPlace(path, shape, kind, header.data_start + offset, size)
    return places


def _tensor_entry(name: str, place: _TensorPlace, offset: int) -> bytes:
    own, dimensions = name.encode(), len(place.shape)
    return struct.pack(f"<Q{len(own)}sI{dimensions}QIQ", len(own), own, dimensions, *place.shape, place.kind, offset)


def _chunks(size: int, limit: int = 1 << 24) -> Iterator[int]:
    """`size` in portions of at most `limit`."""
    for start in range(0, size, limit):
        yield min(limit, size - start)


def _read(file: BinaryIO, path: Path) -> tuple[GGUFHeader, int]:
    """The header, and how many bytes of tensor data follow it."""
    if file.read(4) != b"GGUF":
        raise ModelError(f"{path} is not a GGUF file; make one with: emolib export RUN --out FOLDER")
    version, tensors, entries = _unpack(file, "<IQQ")
    if version not in (2, 3):
        raise ModelError(f"{path} is GGUF version {version}, and 2 and 3 are known; export it again")
    metadata = {_string(file): _value(file, *_unpack(file, "<I")) for _ in range(entries)}
    metadata_end = file.tell()
    types: Counter[str] = Counter()
    shapes = {}
    data_bytes = 0
    for _ in range(tensors):
        name, shape, kind, size, offset = _tensor(file)
        types[_tensor_type(kind)[0]] += 1
        shapes[name] = shape
        data_bytes = max(data_bytes, offset + size)
    tensors_end = file.tell()
    data_start = tensors_end + -tensors_end % _alignment(metadata)
    header = GGUFHeader(path, metadata, dict(types.most_common()), shapes, metadata_end, tensors_end, data_start)
    return header, data_bytes


def _alignment(metadata: Mapping[str, Any]) -> int:
    return int(metadata.get("general.alignment", _ALIGNMENT))


def _tensor(file: BinaryIO) -> tuple[str, tuple[int, ...], int, int, int]:
    """A tensor's name, shape, type by number, bytes, and place in the data."""
    own = _string(file)
    (dimensions,) = _unpack(file, "<I")
    shape = _unpack(file, f"<{dimensions}Q")
    kind, offset = _unpack(file, "<IQ")
    _, values, size = _tensor_type(kind)
    return own, shape, kind, math.prod(shape) // values * size, offset


def _tensor_type(kind: int) -> tuple[str, int, int]:
    """Name, values a block and bytes a block of a type by its number."""
    return _TENSOR_TYPES.get(kind, (f"type {kind}", 1, 0))


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        kind, length = _unpack(file, "<IQ")
        if kind in _SCALARS:
            return list(_unpack(file, f"<{length}{_SCALARS[kind]}"))
        return [_value(file, kind) for _ in range(length)]
    return _unpack(file, "<" + _SCALARS[kind])[0]


def _string(file: BinaryIO) -> str:
    (length,) = _unpack(file, "<Q")
    data = file.read(length)
    if len(data) < length:
        raise struct.error("end of file")
    return data.decode("utf-8", errors="replace")


def _unpack(file: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _entry(key: str, value: str | float) -> bytes:
    name = struct.pack("<Q", len(key.encode())) + key.encode()
    if isinstance(value, str):
        return name + struct.pack("<IQ", _STRING, len(value.encode())) + value.encode()
    return name + struct.pack("<If", 6, value)
