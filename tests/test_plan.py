"""Planning: parameters are those of the real model, sizes those of real files, and the memory that of a real step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_models import tiny_model

from emolib.cli import main
from emolib.errors import ModelError, UsageError
from emolib.finetune import TrainSettings, plan, preset
from emolib.finetune.planning import largest_fitting
from emolib.finetune.shape import read_shape

SHIPPED = sorted(path.stem for path in (Path(__file__).parents[1] / "emolib" / "model_configs").glob("*.json"))


def test_the_papers_run_is_planned_as_the_paper_found_it() -> None:
    found = plan(preset("colab-t4"))
    assert found.parameters == 7_615_616_512
    assert found.trainable == 40_370_176
    assert found.adapter == pytest.approx(161.5e6, rel=1e-3)
    assert found.gguf["q4_k_m"] == pytest.approx(4.68e9, rel=0.05)
    assert found.gguf["q8_0"] == pytest.approx(8.10e9, rel=0.05)
    assert found.steps == 16_000 / 8
    assert found.total < 15e9  # a T4


def test_gguf_sizes_are_those_of_files_that_were_made() -> None:
    # SmolLM2-135M, converted and quantised with llama.cpp: rows of 576 cannot hold k-quants.
    sizes = plan(preset("cpu")).gguf
    assert sizes["q8_0"] == pytest.approx(154.1e6, rel=0.01)
    assert sizes["q4_k_m"] == pytest.approx(105.5e6, rel=0.01)


@pytest.mark.parametrize("name", SHIPPED)
def test_parameters_are_those_of_the_real_class(name: str) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(Path(__file__).parents[1] / "emolib" / "model_configs" / f"{name}.json")
    settings = TrainSettings()
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        count = sum(parameter.numel() for parameter in model.parameters())
        peft = get_peft_model(model, LoraConfig(r=16, target_modules=list(settings.target_modules)))
    trainable = sum(parameter.numel() for parameter in peft.parameters() if parameter.requires_grad)
    found = plan(settings.replace(base_model=name))
    assert (found.parameters, found.trainable) == (count, trainable)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_activations_are_about_what_a_step_keeps(family: str, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    model = tiny_model(family)
    (tmp_path / "config.json").write_text(json.dumps(model.config.to_dict(), default=str))
    settings = preset("cpu", base_model=str(tmp_path), batch_size=4)
    peft = get_peft_model(model, LoraConfig(r=settings.lora_rank, target_modules=list(settings.target_modules)))
    frozen = {parameter.untyped_storage().data_ptr() for parameter in peft.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in frozen:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    saved = []  # holds what is kept, so that no address is used twice
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(keep(tensor)) or tensor, lambda t: t):
        peft.get_base_model().model(input_ids=torch.zeros(4, 64, dtype=torch.long))
    assert plan(settings, tokens=64).memory["activations"] == pytest.approx(sum(kept.values()), rel=0.35)


def test_a_plan_needs_a_known_configuration(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no configuration of 'llama-9'.*qwen2\.5-7b"):
        plan(preset("cpu", base_model="llama-9"))
    (tmp_path / "config.json").write_text('{"d_model": 3}')
    with pytest.raises(ModelError, match="no decoder of the Llama family"):
        read_shape(str(tmp_path))
    with pytest.raises(ModelError, match="no decoder of the Llama family"):
        read_shape(str(Path(__file__)))


def test_other_projections_and_row_counts_are_refused() -> None:
    with pytest.raises(UsageError, match="no projection 'c_attn'"):
        plan(preset("cpu", target_modules=("c_attn",)))
    with pytest.raises(UsageError, match="at least one row"):
        plan(preset("cpu"), rows=0)


def test_the_command_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--model", "qwen2.5-7b", "--preset", "colab-t4"]) == 0
    assert "40,370,176" in capsys.readouterr().out
    assert main(["plan", "--preset", "cpu", "--rows", "80", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 10
    assert main(["plan", "--model", "nothing", "--preset", "cpu"]) == 2
    assert "no configuration of 'nothing'" in capsys.readouterr().err


def test_the_model_for_a_gpu_is_the_largest_that_the_plan_says_fits():
    assert largest_fitting(15.8) == "qwen2.5-7b", "a T4"
    assert largest_fitting(8.6) == "qwen2.5-1.5b"
    assert largest_fitting(6.4) == "qwen2.5-1.5b", "an RTX 2060"
    assert largest_fitting(2.0) == "qwen2.5-0.5b"
