"""GGUF files that are no model, or not made for each other: one sentence each, from every command that takes them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter

from emolib.cli import main
from emolib.errors import ModelError
from emolib.export import open_llm_server

WIDTH, HEIGHT, RANK = 64, 32, 8
MATRIX = "blk.0.attn_q.weight"


def write(path: Path, architecture: str, build: Callable[[GGUFWriter], None]) -> Path:
    writer = GGUFWriter(path, architecture)
    build(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def base(path: Path, architecture: str = "llama", tokens: int = 4, width: int = WIDTH) -> Path:
    """A file with the outlines of a model: enough to be held against an adapter, too little to be loaded."""

    def build(writer: GGUFWriter) -> None:
        writer.add_token_list([str(number) for number in range(tokens)])
        writer.add_tensor(MATRIX, np.zeros((HEIGHT, width), np.float32))

    return write(path, architecture, build)


def adapter(path: Path, architecture: str = "llama", tokens: int = 4) -> Path:
    def build(writer: GGUFWriter) -> None:
        writer.add_string("general.type", "adapter")
        writer.add_string("emolib.vocabulary", str(tokens))
        writer.add_tensor(f"{MATRIX}.lora_a", np.zeros((RANK, WIDTH), np.float32))
        writer.add_tensor(f"{MATRIX}.lora_b", np.zeros((HEIGHT, RANK), np.float32))

    return write(path, architecture, build)


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-100])
    return path


@pytest.fixture(params=["truncated model", "truncated adapter", "architecture", "vocabulary", "shape", "unknown"])
def misfit(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path, str]:
    """A base, an adapter, and what the answer has to say."""
    one, two = tmp_path / "base.gguf", tmp_path / "adapter.gguf"
    match request.param:
        case "truncated model":
            return cut(base(one)), adapter(two), "base.gguf is truncated"
        case "truncated adapter":
            return base(one), cut(adapter(two)), "adapter.gguf is truncated"
        case "architecture":
            return base(one, "qwen2"), adapter(two), "is for llama"
        case "vocabulary":
            return base(one, tokens=7), adapter(two), "is for 4 tokens"
        case "shape":
            return base(one, width=96), adapter(two), "does not fit"
    return base(one, "nobody"), adapter(two, "nobody"), "llama.cpp cannot load"


def test_the_server_says_what_does_not_fit(misfit: tuple[Path, Path, str], capsys: pytest.CaptureFixture[str]):
    model, lora, message = misfit
    assert main(["serve-llm", "--model", str(model), "--adapter", str(lora), "--port", "0"]) == 1
    shown = capsys.readouterr().err.strip()
    assert message in shown
    assert len(shown.splitlines()) == 1


def test_the_classifier_says_what_does_not_fit(
    misfit: tuple[Path, Path, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    model, lora, message = misfit
    monkeypatch.setattr("sys.stdin", io.StringIO("a text\n"))
    assert main(["classify", "--model", str(model), "--adapter", str(lora)]) == 1
    shown = capsys.readouterr().err.strip()
    assert message in shown
    assert len(shown.splitlines()) == 1


def test_an_adapter_of_the_ready_made_ones_does_not_serve_another_base(tmp_path: Path):
    with pytest.raises(ModelError, match=r"does not fit|tokens"):
        open_llm_server(base(tmp_path / "base.gguf"), ["everyday"])
