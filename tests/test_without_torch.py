"""What works without torch: adapters as LoRA files, the classifier on llama.cpp, and one sentence for the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emolib import EmotionClassifier
from emolib.adapter_files import _convert, adapter_gguf
from emolib.cli import main
from emolib.emotion_model import AdapterSource, find_adapter
from emolib.errors import MissingDependency, ModelError
from emolib.llama.gguf import GGUFHeader, read_header
from emolib.llama.lora import write_lora
from emolib.models import chat_gguf, resolve_base

SENTENCES = ("How dare they open my letters!", "My daughter drew a picture of us both.", "Who is in the cellar?")


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emolib.classify.classifier._has_torch", lambda: False)


def matrices(path: Path) -> dict[str, np.ndarray]:
    from gguf import GGUFReader

    return {tensor.name: np.array(tensor.data) for tensor in GGUFReader(path).tensors}


def test_an_adapter_file_is_the_one_of_llama_cpps_converter(tmp_path: Path) -> None:
    source = find_adapter("everyday")
    adapter_gguf(source, tmp_path / "ours.gguf")
    _convert(source, resolve_base(source.base), tmp_path / "theirs.gguf")
    ours, theirs = matrices(tmp_path / "ours.gguf"), matrices(tmp_path / "theirs.gguf")
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    for key in ("general.architecture", "general.type", "adapter.type", "adapter.lora.alpha"):
        assert read_header(tmp_path / "ours.gguf").metadata[key] == read_header(tmp_path / "theirs.gguf").metadata[key]


def test_the_classifier_runs_on_llama_cpp_and_says_the_same(no_torch: None) -> None:
    classifier = EmotionClassifier.load("everyday")
    assert type(classifier.scorer).__name__ == "LlamaScorer"
    expected = EmotionClassifier._on_torch("everyday", "cpu").classify(SENTENCES)
    for ours, theirs in zip(classifier.classify(SENTENCES), expected, strict=True):
        assert ours.label == theirs.label
        assert ours.confidence == pytest.approx(theirs.confidence, abs=0.1)
    assert (classifier.name, classifier.abstain_below) == ("everyday", find_adapter("everyday").abstain_below)


def test_an_adapter_of_another_base_needs_torch(no_torch: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emolib.emotion_model.find_adapter", lambda name: AdapterSource("qwen2.5-7b", Path("x")))
    with pytest.raises(MissingDependency, match="torch, on which mine runs, is not installed"):
        EmotionClassifier.load("mine")


def test_a_command_that_needs_torch_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(*_: Any) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("emolib.cli._run", without)
    assert main(["train", "--data", "x", "--out", "y"]) == 1
    assert "this command needs the package torch, which is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("architecture", "tensor", "said"),
    [
        ("gemma", "model.layers.0.self_attn.q_proj.lora_A.weight", "architecture gemma"),
        ("llama", "model.embed_tokens.lora_A.weight", "no module that llama.cpp adapts"),
    ],
)
def test_what_no_file_can_be_written_for_is_said(tmp_path: Path, architecture: str, tensor: str, said: str) -> None:
    known = read_header(chat_gguf())
    base = GGUFHeader(known.path, {**known.metadata, "general.architecture": architecture}, {}, {}, 0, 0, 0)
    with pytest.raises(ModelError, match=said):
        write_lora({tensor: np.zeros((4, 8), np.float16)}, 8.0, base, "x", tmp_path / "x.gguf")
