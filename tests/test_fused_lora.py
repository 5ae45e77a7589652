"""The fused LoRA layers compute what PEFT's compute."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import tiny_model

from emolib.finetune.fused_lora import fused_lora


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_outputs_and_gradients_are_those_of_peft(family: str) -> None:
    model = get_peft_model(tiny_model(family), LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    ids = torch.arange(1, 25).view(2, 12)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def measure() -> list[torch.Tensor]:
        loss = model(input_ids=ids, labels=ids).loss
        return [loss, *torch.autograd.grad(loss, trained)]

    expected = measure()
    with fused_lora(model):
        fused = measure()
        with model.disable_adapter(), torch.no_grad():
            off = model(input_ids=ids).logits
    for ours, theirs in zip(fused, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    with model.disable_adapter(), torch.no_grad():
        assert torch.equal(off, model(input_ids=ids).logits)


def test_layers_with_dropout_stay_as_they_are() -> None:
    model = get_peft_model(tiny_model(), LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.5))
    with fused_lora(model):
        assert not any("forward" in vars(module) for module in model.modules())


def test_the_model_is_left_as_it_was() -> None:
    model = get_peft_model(tiny_model(), LoraConfig(r=4, target_modules="all-linear"))
    with fused_lora(model):
        assert any("forward" in vars(module) for module in model.modules())
    assert not any("forward" in vars(module) for module in model.modules())
