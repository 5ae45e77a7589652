"""The engine unsloth, with TRL and PEFT themselves and a stand-in for Unsloth's two functions, which need a GPU."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training import corpus, settings, weights
from tiny_models import tiny_model, tiny_tokenizer

from emolib.emotion_model import load_emotion_model
from emolib.finetune import TrainSettings, train
from emolib.finetune.precision import Precision
from emolib.models import BaseModel


class FastLanguageModel:
    """Unsloth's signatures as of 2026.10."""

    loaded: dict[str, Any]

    @classmethod
    def from_pretrained(
        cls,
        model_name: str = "unsloth/Llama-3.2-1B-Instruct",
        max_seq_length: int = 2048,
        dtype: torch.dtype | None = None,
        load_in_4bit: bool = True,
    ) -> tuple[Any, Any]:
        from emolib.models import load_base

        cls.loaded = {"model_name": model_name, "load_in_4bit": load_in_4bit, "dtype": dtype}
        return load_base(model_name, dtype=dtype)

    @staticmethod
    def get_peft_model(
        model: Any,
        r: int = 16,
        target_modules: list[str] | None = None,
        lora_alpha: int = 16,
        lora_dropout: float = 0.0,
        bias: str = "none",
        use_gradient_checkpointing: str | bool = "unsloth",
        random_state: int = 3407,
    ) -> Any:
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(random_state)
        config = LoraConfig(
            r=r, lora_alpha=lora_alpha, lora_dropout=lora_dropout, target_modules=target_modules, bias=bias,
            task_type="CAUSAL_LM",
        )  # fmt: skip
        return get_peft_model(model, config)


@pytest.fixture(autouse=True)
def unsloth(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("unsloth")
    module.FastLanguageModel = FastLanguageModel
    monkeypatch.setitem(sys.modules, "unsloth", module)
    monkeypatch.setattr("emolib.finetune.unsloth._require_gpu", lambda: None)
    monkeypatch.setattr("emolib.finetune.precision.keep_precision", lambda *_: Precision("float32", "a test"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base")
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def asked(base: str, **changes: object) -> TrainSettings:
    return settings(base, **{"engine": "unsloth", "max_steps": 2, "eval_steps": 1, "batch_size": 4, **changes})


def small(held_out: int = 3) -> Any:
    whole = corpus(12)
    return corpus(12, held_out_texts=whole.texts[:held_out], held_out_labels=whole.labels[:held_out])


@pytest.mark.parametrize("loss_on", ["response", "all"])
def test_a_run_ends_with_an_adapter_and_evaluations(loss_on: str, base: str, tmp_path: Path) -> None:
    run = train(small(), tmp_path / "run", asked(base, loss_on=loss_on))
    assert run.config["engine"] == "unsloth"
    assert [line["step"] for line in run.log if "loss" in line] == [1, 2]
    assert [line["step"] for line in run.log if "eval_loss" in line] == [1, 2]
    assert load_emotion_model(run.path).encoder.prompt.name == "paper"


@pytest.mark.parametrize("changes", [{"eval_steps": 0}, {"eval_examples": 0}])
def test_an_evaluation_at_the_end_only_or_never(changes: dict, base: str, tmp_path: Path) -> None:
    held_out = 0 if "eval_examples" in changes else 3
    run = train(small(held_out), tmp_path / "run", asked(base, **changes))
    assert [line["step"] for line in run.log if "eval_loss" in line] == ([2] if held_out else [])


def test_a_run_starts_from_another_adapter(base: str, tmp_path: Path) -> None:
    first = train(small(), tmp_path / "first", asked(base, learning_rate=1e-2))
    second = train(small(), tmp_path / "second", asked(base, start_from=str(first.path), learning_rate=1e-9))
    for name, tensor in weights(second).items():
        torch.testing.assert_close(tensor, weights(first)[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("in_4bit", "here", "loaded"),
    [(True, None, "Qwen/Qwen2.5-7B"), (True, Path("/here"), "/here"), (False, None, "/downloaded")],
)
def test_weights_in_4_bits_are_unsloth_s_own_unless_others_are_here(
    in_4bit: bool, here: Path | None, loaded: str, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emolib.finetune.unsloth import _weights

    found = BaseModel("qwen2.5-7b", "hub", here, hub_id="Qwen/Qwen2.5-7B")
    monkeypatch.setattr("emolib.models.resolve_base", lambda name: found)
    monkeypatch.setattr("emolib.models.model_folder", lambda base: base.where or Path("/downloaded"))
    assert _weights(TrainSettings(load_in_4bit=in_4bit)) == loaded
