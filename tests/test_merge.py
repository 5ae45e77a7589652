"""Merging tensor by tensor: what PEFT would write, in the memory of one matrix."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import save_convertible_base, save_run, save_tiny_base
from safetensors.torch import load_file

from emolib.emotion_model import find_adapter, load_emotion_model
from emolib.export import export_gguf, merge
from emolib.export import loading as export_loading
from emolib.models import model_folder, resolve_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("base"), family="qwen2")


@pytest.mark.parametrize(
    "lora", [{}, {"use_rslora": True}, {"alpha_pattern": {"q_proj": 16}}, {"rank_pattern": {"v_proj": 2}}]
)
def test_the_merged_weights_are_those_of_peft(base: Path, tmp_path: Path, lora: dict[str, Any]) -> None:
    run = save_run(tmp_path / "run", base, **lora)
    source = find_adapter(run)
    assert merge.can_merge_by_tensor(source, base)
    merge.write_merged(source, base, tmp_path / "merged", vectors=torch.float32)
    found = load_file(tmp_path / "merged" / "model.safetensors")
    expected = load_emotion_model(source).merged().model.state_dict()
    assert found.keys() == expected.keys() & found.keys()
    for name, tensor in found.items():
        assert tensor.dtype == (torch.float32 if tensor.dim() == 1 else torch.float16)
        torch.testing.assert_close(tensor.float(), expected[name].half().float(), atol=0, rtol=1e-3)


def test_what_is_more_than_lora_is_left_to_peft(base: Path, tmp_path: Path) -> None:
    run = save_run(tmp_path / "run", base, use_dora=True)
    assert not merge.can_merge_by_tensor(find_adapter(run), base)


def test_one_matrix_is_in_memory_at_a_time(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0
    read = merge._read

    def counted(file: Path, name: str) -> torch.Tensor:
        nonlocal most
        most = max(most, sum(reference() is not None for reference in alive))
        tensor = read(file, name)
        alive.append(weakref.ref(tensor))
        return tensor

    monkeypatch.setattr(merge, "_read", counted)
    source = find_adapter(save_run(tmp_path / "run", base))
    merge.write_merged(source, base, tmp_path / "merged")
    assert len(alive) > 20
    assert most <= 1


def test_shards_become_one_file(base: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    shards = tmp_path / "shards"
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(shards, max_shard_size="20KB")
    assert len(list(shards.glob("*.safetensors"))) > 2
    source = find_adapter(save_run(tmp_path / "run", base))
    merge.write_merged(source, base, tmp_path / "one")
    merge.write_merged(source, shards, tmp_path / "many")
    one, many = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "many"))
    assert one.keys() == many.keys()
    assert all(torch.equal(one[name], many[name]) for name in one)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "many").dtype == torch.float16


def test_an_export_loads_no_whole_model_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    base = save_convertible_base(tmp_path / "tiny")
    run = save_run(tmp_path / "run", base, sha256=resolve_base(base).sha256, strength=0.1)
    monkeypatch.setattr(export_loading, "_free_memory", lambda: 1e6)
    monkeypatch.setattr("emolib.models.load_base", lambda *_, **__: pytest.fail("the whole model was loaded"))
    monkeypatch.setattr("emolib.emotion_model.load_base", lambda *_, **__: pytest.fail("the whole model was loaded"))
    manifest = export_gguf(run, tmp_path / "gguf", ["q8_0"])
    assert (tmp_path / "gguf" / manifest.files[0].file).is_file()
    assert manifest.files[0].verified is None
    assert "are not compared with the run" in caplog.text
    assert "GB of memory" in caplog.text


def test_the_bundled_adapters_are_merged_by_tensor() -> None:
    source = find_adapter("carer")
    assert merge.can_merge_by_tensor(source, model_folder(resolve_base(source.base)))
