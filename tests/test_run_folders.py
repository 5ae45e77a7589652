"""A run folder keeps what belongs to it, loses nothing that does not, and goes on as it began."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from test_training import corpus, same, settings, stop_at, weights
from tiny_models import tiny_model, tiny_tokenizer

from emolib.errors import ModelError, UsageError
from emolib.finetune import RunFolder, TrainSettings, train
from emolib.finetune.tracking import LogFile, WandbTracker, make_tracker


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base")
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


RESULTS = ("metrics.json", "predictions.json", "continuity.json", "figures/confusion.png")


def judge(run: RunFolder) -> None:
    """Leave what an evaluation leaves."""
    for name in RESULTS:
        path = run.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")


def few(base: str, **changes: object) -> TrainSettings:
    return settings(base, **{"max_steps": 2, "eval_examples": 0, **changes})


def small() -> object:
    return corpus(16, held_out_texts=[], held_out_labels=[])


# --- what is deleted -----------------------------------------------------------------------------


@pytest.mark.parametrize("config", [None, "{}", '{"model_type": "llama"}', "not JSON", "[]"])
def test_starting_afresh_touches_no_folder_that_was_never_a_run(config: str | None, base: str, tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    files = ["adapter/adapter_model.safetensors", "checkpoints", "metrics.json", "log.jsonl"]
    files += ["config.json"] if config is not None else []
    for name in files:
        (tmp_path / name).write_text(config or "mine")
    with pytest.raises(UsageError, match=r"exists and is no run folder; choose another --out"):
        train(small(), tmp_path, few(base), resume=False)
    assert all((tmp_path / name).is_file() for name in files)


def test_starting_afresh_in_an_empty_folder_is_a_first_start(base: str, tmp_path: Path) -> None:
    assert train(small(), tmp_path, few(base), resume=False).has_adapter


def test_starting_afresh_takes_every_result_of_the_old_run_away_and_nothing_else(base: str, tmp_path: Path) -> None:
    run = train(small(), tmp_path / "run", few(base))
    judge(run)
    (run.path / "notes.txt").write_text("mine")
    train(small(), run.path, few(base, learning_rate=5e-4), resume=False)
    assert not [name for name in RESULTS if (run.path / name).exists()]
    assert (run.path / "notes.txt").read_text() == "mine"
    assert [line["step"] for line in run.log if "loss" in line] == [1, 2]


# --- more steps ----------------------------------------------------------------------------------


def test_a_finished_run_goes_on_when_it_is_asked_for_more_steps(base: str, tmp_path: Path) -> None:
    run = train(small(), tmp_path / "run", few(base))
    before = weights(run)
    judge(run)
    longer = train(small(), run.path, few(base, max_steps=4))
    assert [line["step"] for line in longer.log if "loss" in line] == [1, 2, 3, 4]
    assert any(not torch.equal(before[name], tensor) for name, tensor in weights(longer).items())
    kept = run.path / "until-2-steps"
    assert sorted(path.name for path in kept.iterdir()) == [
        "adapter", "continuity.json", "figures", "metrics.json", "predictions.json"
    ]  # fmt: skip
    assert not [name for name in RESULTS if (run.path / name).exists()]
    assert train(small(), run.path, few(base, max_steps=4)).config == longer.config


def test_fewer_steps_are_another_run(base: str, tmp_path: Path) -> None:
    run = train(small(), tmp_path / "run", few(base))
    with pytest.raises(UsageError, match="another max_steps"):
        train(small(), run.path, few(base, max_steps=1))


def test_a_run_without_checkpoints_says_how_to_go_on(base: str, tmp_path: Path) -> None:
    import shutil

    run = train(small(), tmp_path / "run", few(base))
    shutil.rmtree(run.checkpoints)
    with pytest.raises(UsageError, match=r"no checkpoint to go on from.*--set start_from="):
        train(small(), run.path, few(base, max_steps=4))
    assert run.has_adapter


# --- precision -----------------------------------------------------------------------------------


def test_a_run_keeps_the_precision_that_it_began_with(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gains = iter([1.0, 9.0])
    monkeypatch.setattr("emolib.finetune.precision._bfloat16_gain", lambda: next(gains))

    def lose_power() -> None:
        raise OSError("power")

    with pytest.MonkeyPatch.context() as patch:
        stop_at(3, lose_power, patch)
        with pytest.raises(OSError, match="power"):
            train(small(), tmp_path / "run", few(base, dtype="auto", max_steps=4))
    began = RunFolder(tmp_path / "run").config["precision"]
    assert began["dtype"] == "float32"
    assert train(small(), tmp_path / "run", few(base, dtype="auto", max_steps=4)).config["precision"] == began
    assert next(gains) == 9.0


# --- the log -------------------------------------------------------------------------------------


@pytest.mark.parametrize("torn", ['{"step": 2, "lo', "\x00\x00\x00", "{", '{"step": 2, "loss": 1.0, "seconds": 2}'])
def test_a_torn_last_line_swallows_no_other(torn: str, tmp_path: Path) -> None:
    whole = '{"step": 1, "loss": 1.0, "seconds": 1}\n'
    (tmp_path / "log.jsonl").write_text(whole + torn)
    LogFile(RunFolder(tmp_path), 1).write(step=2, loss=0.5)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [1.0, 0.5]


def test_bytes_that_are_no_text_are_left_out_of_a_log(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(b'{"step": 1, "loss": 1.0, "seconds": 1}\n\xff\xfe\x00')
    assert [line["step"] for line in RunFolder(tmp_path).log] == [1]


# --- starting from another adapter ---------------------------------------------------------------


@pytest.mark.parametrize(
    "lora", [{"lora_alpha": 64}, {"use_rslora": True}, {"alpha_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 99}}]
)
def test_a_run_begins_as_the_function_that_the_other_adapter_is(lora: dict, base: str, tmp_path: Path) -> None:
    from runs import random_adapter

    from emolib.finetune.adapters import add_adapter, start_from
    from emolib.models import load_base

    other = random_adapter(load_base(base)[0], 0.3, **{"r": 16, "lora_alpha": 16, **lora})
    other.save_pretrained(tmp_path / "other")
    ours = add_adapter(load_base(base)[0], few(base, lora_alpha=8), base)
    start_from(ours, str(tmp_path / "other"), {"name": base})
    ids = torch.arange(1, 20)[None]
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(ids).logits, other(ids).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("lora", "named"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "whole modules"),
        ({"rank_pattern": {"q_proj": 8}}, "other ranks"),
    ],
)
def test_an_adapter_that_is_more_than_lora_is_refused(lora: dict, named: str, base: str, tmp_path: Path) -> None:
    from runs import random_adapter

    from emolib.models import load_base

    random_adapter(load_base(base)[0], 0.3, **{"r": 16, "lora_alpha": 16, **lora}).save_pretrained(tmp_path / "other")
    with pytest.raises(ModelError, match=named):
        train(small(), tmp_path / "run", few(base, start_from=str(tmp_path / "other")))


# --- gradient checkpointing ----------------------------------------------------------------------


def test_whole_prompts_recompute_their_activations_if_the_settings_say_so(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    passes = []
    plain = LlamaDecoderLayer.forward

    def count(self: object, *arguments: object, **options: object) -> object:
        passes.append(torch.is_grad_enabled())
        return plain(self, *arguments, **options)

    monkeypatch.setattr(LlamaDecoderLayer, "forward", count)
    runs, counts = {}, {}
    for engine, wanted in (("plain", True), ("plain", False)):
        passes.clear()
        runs[engine, wanted] = train(
            small(), tmp_path / f"{engine}{wanted}", few(base, engine=engine, gradient_checkpointing=wanted)
        )
        counts[wanted] = len(passes)
    assert counts[True] == 2 * counts[False]
    assert same(runs["plain", True], runs["plain", False])


# --- Weights & Biases ----------------------------------------------------------------------------


@pytest.fixture
def no_wandb_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    return tmp_path


@pytest.mark.parametrize("host", ["api.wandb.ai", "api.forge.coreweave.com", "other.example"])
def test_a_user_of_wandb_login_is_online(host: str, no_wandb_login: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    modes = []
    monkeypatch.setattr(WandbTracker, "__init__", lambda self, run, settings, config, mode: modes.append(mode))
    make_tracker(RunFolder(no_wandb_login), TrainSettings(), {})
    (no_wandb_login / "netrc").write_text(f"machine {host}\n  login user\n  password {'0' * 40}\n")
    make_tracker(RunFolder(no_wandb_login), TrainSettings(), {})
    assert modes == ["offline", "offline" if host == "other.example" else "online"]


@pytest.mark.parametrize("key", ["0" * 40, "short"])
def test_a_key_without_a_network_is_logged_offline_and_said_so(
    key: str, no_wandb_login: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("emolib.finetune.tracking._ONLINE_SECONDS", 3)
    run = RunFolder(no_wandb_login / "run")
    run.path.mkdir()
    with caplog.at_level(logging.WARNING):
        tracker = make_tracker(run, TrainSettings(), {})
    tracker.show({"step": 1, "loss": 1.0})
    LogFile(run, 0).write(step=1, loss=1.0)
    tracker.close()
    assert "the run is logged offline; send it later with: wandb sync" in caplog.text
    assert list(run.path.glob("wandb/offline-run-*"))
