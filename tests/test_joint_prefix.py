"""Prefix and suffixes run as one sequence give what whole prompts give, gradients included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import SENTENCES, tiny_model, tiny_tokenizer

from emolib.errors import ModelError
from emolib.finetune import joint_prefix
from emolib.finetune.joint_prefix import run_jointly
from emolib.finetune.lora_linear import fused_lora
from emolib.finetune.objective import verify
from emolib.prompting.encoding import PromptEncoder, collate, pad_texts
from emolib.prompting.templates import PAPER

FAMILIES = ("llama", "qwen2", "gemma")
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module")
def codes() -> PromptEncoder:
    return PromptEncoder(tiny_tokenizer(), PAPER, end_id=0)


def with_adapter(model: Any, **settings: Any) -> Any:
    """`model` with a LoRA adapter whose second matrices are not zero, so that all of its gradient counts."""
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=6, target_modules=PROJECTIONS, **settings))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return adapted


def batch_of(codes: PromptEncoder, *, soft: bool = False) -> dict[str, torch.Tensor]:
    if soft:
        shares = ({"joy": 0.5, "fear": 0.3, "love": 0.2}, {"anger": 1.0}, {"sadness": 0.5, "surprise": 0.5})
        examples = [codes.soft_example(text, share) for text, share in zip(SENTENCES, shares, strict=False)]
    else:
        examples = [codes.example(text, label) for text, label in zip(SENTENCES, ("joy", "fear", "love"), strict=False)]
    return collate(examples, pad_id=0)


@pytest.mark.parametrize("keeps_weights", [True, False], ids=["short", "long"])
@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_equal_those_of_the_whole_prompt(
    codes: PromptEncoder, family: str, keeps_weights: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint_prefix, "_KEEP_WEIGHTS", 10_000 if keeps_weights else 0)
    model = tiny_model(family)
    suffixes = [codes.suffix_ids(text) for text in SENTENCES]
    ids, last = pad_texts(suffixes, pad_id=0)
    with torch.no_grad():
        of_prefix, hidden = run_jointly(model, codes.prefix_ids, ids)
        for row, suffix in enumerate(suffixes):
            whole = model.get_decoder()(torch.tensor([[*codes.prefix_ids, *suffix]])).last_hidden_state[0]
            joint = torch.cat([of_prefix, hidden[row, : last[row] + 1]])
            torch.testing.assert_close(joint, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("soft", [False, True], ids=["hard labels", "soft labels"])
@pytest.mark.parametrize("loss_on", ["response", "all"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradient_equal_those_of_padded_prompts(
    codes: PromptEncoder, family: str, loss_on: str, soft: bool
) -> None:
    model = with_adapter(tiny_model(family))
    found = verify(model, codes.prefix_ids, batch_of(codes, soft=soft), loss_on=loss_on, dtype="float32")
    assert found.loss_error < 1e-5
    assert found.gradient_error < 1e-5


def test_long_suffixes_have_the_same_gradient(codes: PromptEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint_prefix, "_KEEP_WEIGHTS", 0)
    model = with_adapter(tiny_model("qwen2"))
    found = verify(model, codes.prefix_ids, batch_of(codes, soft=True), loss_on="all", dtype="float32")
    assert found.gradient_error < 1e-5


def test_large_scores_are_not_rounded_in_bfloat16() -> None:
    """Qwen2's biased keys give scores in the hundreds, which bfloat16 holds to whole units only."""
    torch.manual_seed(0)
    query, key = (20 * torch.randn(2, 5, 64, dtype=torch.bfloat16) for _ in range(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = joint_prefix._scores(query, key, 0.125)
    exact = query.double() @ key.double().transpose(1, 2) * 0.125
    assert scores.abs().max() > 500
    torch.testing.assert_close(scores.double(), exact, rtol=1e-5, atol=1e-3)


def test_branches_do_not_see_each_other(codes: PromptEncoder) -> None:
    model = tiny_model()
    one = codes.soft_example(SENTENCES[0], {"joy": 1.0})
    two = codes.soft_example(SENTENCES[0], {"joy": 0.5, "fear": 0.5})
    with torch.no_grad():
        hidden = [
            run_jointly(
                model,
                codes.prefix_ids,
                torch.tensor([example.input_ids]),
                positions=torch.tensor([example.positions]),
                branches=torch.tensor([example.branches]),
            )[1]
            for example in (one, two)
        ]
    torch.testing.assert_close(hidden[0][0], hidden[1][0, : len(one)])


def test_capped_attention_scores_are_capped_alike(codes: PromptEncoder) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(1)
    model = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=len(tiny_tokenizer()),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=512,
            attn_logit_softcapping=0.02,
            initializer_range=0.5,
        )
    ).eval()
    model.set_attn_implementation("eager")
    ids, _ = pad_texts([codes.suffix_ids(SENTENCES[0])], pad_id=0)
    with torch.no_grad():
        _, hidden = run_jointly(model, codes.prefix_ids, ids)
        whole = model.get_decoder()(torch.tensor([[*codes.prefix_ids, *ids[0].tolist()]])).last_hidden_state
    torch.testing.assert_close(hidden, whole[:, len(codes.prefix_ids) :], rtol=1e-4, atol=1e-5)


def test_a_prompt_longer_than_the_window_is_refused(codes: PromptEncoder) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = MistralConfig(vocab_size=len(tiny_tokenizer()), num_key_value_heads=2, sliding_window=16, **sizes)
    ids, _ = pad_texts([codes.suffix_ids(SENTENCES[0])], pad_id=0)
    with pytest.raises(ModelError, match=r"longer than the window of 16 tokens.*'plain'"):
        run_jointly(MistralForCausalLM(config), codes.prefix_ids, ids)


def test_the_model_keeps_its_own_attention(codes: PromptEncoder) -> None:
    model = tiny_model()
    before = model.config._attn_implementation
    ids, _ = pad_texts([codes.suffix_ids(SENTENCES[0])], pad_id=0)
    run_jointly(model, codes.prefix_ids, ids)
    assert model.config._attn_implementation == before


def forward_of(model: Any, fused: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
    ids = torch.arange(1, 25).view(2, 12)
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if fused:
        with fused_lora(model):
            logits = model(ids).logits
    else:
        logits = model(ids).logits
    return logits, list(torch.autograd.grad(logits.logsumexp(-1).sum(), weights, allow_unused=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_fused_layers_give_the_result_and_the_gradient_of_peft(family: str) -> None:
    model = with_adapter(tiny_model(family))
    torch.testing.assert_close(forward_of(model, fused=True), forward_of(model, fused=False), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_fused_layers_follow_autocast_as_peft_does(family: str) -> None:
    model = with_adapter(tiny_model(family))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fused, gradients = forward_of(model, fused=True)
        plain, expected = forward_of(model, fused=False)
    assert fused.dtype == plain.dtype
    assert {gradient.dtype for gradient in gradients} == {torch.float32}
    both = [torch.cat([gradient.flatten() for gradient in found]) for found in (gradients, expected)]
    assert (both[0] - both[1]).norm() / both[1].norm() < 0.05


@pytest.mark.parametrize("settings", [{"lora_dropout": 0.5}, {"use_dora": True}, {"lora_bias": True}], ids=str)
def test_layers_that_are_more_than_the_formula_are_left_to_peft(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_adapter(tiny_model(), **settings)
    monkeypatch.setattr("emolib.finetune.lora_linear._LoraLinear.apply", pytest.fail)
    with fused_lora(model):
        model(torch.ones(1, 4, dtype=torch.long))


def test_an_adapter_that_is_switched_off_stays_off() -> None:
    model = with_adapter(tiny_model())
    ids = torch.arange(1, 13)[None]
    with torch.no_grad(), model.disable_adapter():
        expected = model(ids).logits
        with fused_lora(model):
            assert torch.equal(model(ids).logits, expected)


def test_after_the_fused_run_peft_runs_its_own_layers() -> None:
    model = with_adapter(tiny_model())
    with pytest.raises(RuntimeError, match="stopped"), fused_lora(model):
        raise RuntimeError("stopped")
    assert not any("forward" in vars(module) for module in model.modules())
