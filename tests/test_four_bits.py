"""A run that was trained in 4 bits is loaded in 4 bits on a GPU, and its training leaves the GPU's memory free."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import save_run, save_tiny_base
from test_training import corpus, settings

from emolib import models
from emolib.classify import EmotionClassifier
from emolib.emotion_model import find_adapter, load_emotion_model
from emolib.errors import DeviceError, MissingDependency
from emolib.finetune import train
from emolib.models import BaseModel, load_base


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("four")
    run = save_run(folder / "run", save_tiny_base(folder / "base"))
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "settings": {"load_in_4bit": True}}))
    return run


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A GPU whose memory is the CPU's; what transformers was asked for."""
    import transformers

    asked: list[dict[str, Any]] = []
    whole = transformers.AutoModelForCausalLM.from_pretrained

    def from_pretrained(folder: Path, **options: Any) -> Any:
        asked.append({"folder": folder, **options})
        return whole(folder, dtype=torch.float32)

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", from_pretrained)
    monkeypatch.setattr(transformers, "BitsAndBytesConfig", lambda **options: options)
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(models, "_default_dtype", lambda device: torch.float16)
    return asked


def test_an_adapter_remembers_that_its_base_was_in_4_bits(run: Path) -> None:
    assert find_adapter(run).in_4_bits
    assert not find_adapter("carer").in_4_bits


def test_on_a_gpu_the_base_is_loaded_as_it_was_trained(run: Path, gpu: list[dict[str, Any]]) -> None:
    load_emotion_model(run, device="cuda")
    EmotionClassifier.load(run, device="cuda")
    for asked in gpu:
        assert asked["quantization_config"]["bnb_4bit_compute_dtype"] == torch.float16
        assert asked["device_map"] == {"": "cuda"}
    assert len(gpu) == 2


def test_on_a_cpu_it_is_loaded_whole(run: Path, gpu: list[dict[str, Any]]) -> None:
    load_emotion_model(run, device="cpu")
    assert "quantization_config" not in gpu[0]


def test_a_copy_that_is_in_4_bits_already_is_not_quantised_again(
    run: Path, gpu: list[dict[str, Any]], tmp_path: Path
) -> None:
    copy = save_tiny_base(tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "bitsandbytes"}}))
    models.load_in_4_bits(copy, dtype=torch.float16)
    assert "quantization_config" not in gpu[0]


QWEN = BaseModel("qwen2.5-7b", "hub", None, hub_id="Qwen/Qwen2.5-7B")


@pytest.mark.parametrize(
    ("cached", "whole", "taken"),
    [
        ("unsloth/Qwen2.5-7B-unsloth-bnb-4bit", None, "/cache/unsloth/Qwen2.5-7B-unsloth-bnb-4bit"),
        ("unsloth/Qwen2.5-7B-bnb-4bit", "/whole", "/cache/unsloth/Qwen2.5-7B-bnb-4bit"),
        (None, "/whole", "/whole"),
        (None, None, "/loaded/unsloth/Qwen2.5-7B-bnb-4bit"),
    ],
)
def test_the_copy_in_4_bits_is_taken_before_a_download_three_times_as_large(
    cached: str | None, whole: str | None, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "_hub_snapshot", lambda name: Path("/cache", name) if name == cached else None)
    monkeypatch.setattr(models, "_download", lambda base: Path("/loaded", base.hub_id))
    base = models.replace(QWEN, where=Path(whole) if whole else None)
    assert models._folder_for_4_bits(base) == Path(taken)


def test_a_gpu_that_is_too_small_is_said_in_a_sentence(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(models, "_default_dtype", lambda device: torch.float32)
    monkeypatch.setattr(torch.nn.Module, "to", refuse)
    with pytest.raises(DeviceError, match=r"memory of the GPU does not hold .* in float32; restart"):
        load_base(find_adapter(run).base, device="cuda")


def test_4_bits_without_bitsandbytes_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="bitsandbytes"):
        models.load_in_4_bits("smollm2-135m", dtype=torch.float16)


def test_the_model_of_a_training_is_gone_when_the_training_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emolib.finetune import loop

    kept: list[weakref.ref[Any]] = []
    prepare = loop.Loop.prepare.__func__

    def remembering(cls: Any, *arguments: Any) -> Any:
        made = prepare(cls, *arguments)
        kept.append(weakref.ref(made.model))
        return made

    monkeypatch.setattr(loop.Loop, "prepare", classmethod(remembering))
    gc.disable()
    try:
        train(corpus(12), tmp_path / "run", settings(str(save_tiny_base(tmp_path / "base")), max_steps=1))
        assert [reference() for reference in kept] == [None]
    finally:
        gc.enable()
