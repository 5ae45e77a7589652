"""A training run: what it leaves behind, that it repeats itself, and how it meets trouble."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import SENTENCES, tiny_model, tiny_tokenizer

from emolib.emotions import EMOTIONS
from emolib.errors import DeviceError, InputError, ModelError, StorageError, UsageError
from emolib.finetune import RunFolder, TrainSettings, preset, train
from emolib.finetune import loop as loop_module
from emolib.finetune.loop import DivergedError
from emolib.finetune.objective import PromptLoss
from emolib.finetune.training_data import TrainingData
from emolib.prompting.templates import Prompt


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base")
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def corpus(rows: int = 40, **changes: object) -> TrainingData:
    texts = [f"{SENTENCES[index % len(SENTENCES)]} {index}" for index in range(rows)]
    labels = [EMOTIONS[index % len(EMOTIONS)] for index in range(rows)]
    values = {
        "name": "tiny",
        "sha256": "0" * 64,
        "texts": texts,
        "labels": labels,
        "soft": None,
        "held_out_texts": texts[:6],
        "held_out_labels": labels[:6],
    }
    return TrainingData(**{**values, **changes})


def settings(base: str, **changes: object) -> TrainSettings:
    values = {"base_model": base, "max_steps": 6, "checkpoint_steps": 2, "eval_steps": 3, "tracking": "off"}
    return preset("cpu", **{"warmup_steps": 1, "dtype": "float32", **values, **changes})


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(run.adapter / "adapter_model.safetensors")


def same(one: RunFolder, other: RunFolder) -> bool:
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def finished(base: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(corpus(), tmp_path_factory.mktemp("runs") / "finished", settings(base))


def test_a_run_folder_says_what_was_done(finished: RunFolder, base: str) -> None:
    config = finished.config
    assert config["settings"] == settings(base).as_dict()
    assert config["data"] == {"name": "tiny", "sha256": "0" * 64, "rows": 40}
    assert config["base_model"]["sha256"]
    assert config["engine"] == "prefix"
    assert config["verification"]["gradient_error"] < 1e-5
    assert config["precision"] == {"dtype": "float32", "reason": "asked for"}
    assert {"torch", "transformers", "peft"} <= set(config["versions"])


def test_the_log_has_a_line_a_step_and_the_evaluations(finished: RunFolder) -> None:
    steps = [line for line in finished.log if "loss" in line]
    evaluations = [line for line in finished.log if "eval_loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "grad_norm", "learning_rate", "seconds"} <= set(steps[0])
    assert [line["step"] for line in evaluations] == [3, 6]
    assert {"eval_loss", "eval_accuracy"} <= set(evaluations[0])
    assert "loss" in finished.summary()


def test_the_adapter_is_peft_s_and_names_its_base(finished: RunFolder) -> None:
    files = {path.name for path in finished.adapter.iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors", "emolib.json"}
    notes = json.loads((finished.adapter / "emolib.json").read_text())
    assert notes["prompt"] == "paper"
    assert notes["base_model"] == finished.config["base_model"]


def test_training_lowers_the_loss(base: str, tmp_path: Path) -> None:
    run = train(corpus(), tmp_path / "run", settings(base, max_steps=30, learning_rate=1e-2))
    losses = [line["loss"] for line in run.log if "loss" in line]
    # A random model with frozen embeddings can learn only how often each token comes.
    assert sum(losses[-3:]) < sum(losses[:3]) - 0.3


def test_the_seed_decides_the_weights(finished: RunFolder, base: str, tmp_path: Path) -> None:
    again = train(corpus(), tmp_path / "again", settings(base))
    other = train(corpus(), tmp_path / "other", settings(base, seed=1))
    assert same(finished, again)
    assert not same(finished, other)


@pytest.mark.parametrize("loss_on", ["response", "all"])
def test_the_plain_engine_takes_the_same_steps(base: str, tmp_path: Path, loss_on: str) -> None:
    runs = [
        train(corpus(), tmp_path / engine, settings(base, engine=engine, loss_on=loss_on, max_steps=3))
        for engine in ("prefix", "plain")
    ]
    losses = [[line["loss"] for line in run.log if "loss" in line] for run in runs]
    assert [run.config["engine"] for run in runs] == ["prefix", "plain"]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_accumulated_micro_batches_take_the_same_steps(finished: RunFolder, base: str, tmp_path: Path) -> None:
    run = train(corpus(), tmp_path / "run", settings(base, batch_size=2, accumulation_steps=4))
    expected = [line["loss"] for line in finished.log if "loss" in line]
    assert [line["loss"] for line in run.log if "loss" in line] == pytest.approx(expected, rel=1e-4)


def test_a_shared_prefix_that_does_not_fit_is_left_for_whole_prompts(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("emolib.finetune.objective.TOLERANCES", {"float32": -1.0})
    run = train(corpus(), tmp_path / "run", settings(base, max_steps=2))
    assert run.config["engine"] == "plain"
    assert "training goes on with whole prompts" in caplog.text


def test_a_finished_run_is_not_trained_again(finished: RunFolder, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emolib.finetune.loop.Loop.prepare", pytest.fail)
    assert train(corpus(), finished.path, settings(base)).path == finished.path


@pytest.mark.parametrize(
    ("changes", "named"), [({"learning_rate": 5e-4}, "learning_rate"), ({"lora_rank": 8}, "lora_rank")]
)
def test_a_folder_of_another_run_is_refused(finished: RunFolder, base: str, changes: dict, named: str) -> None:
    with pytest.raises(UsageError, match=f"another {named}.*--no-resume"):
        train(corpus(), finished.path, settings(base, **changes))


def test_a_folder_of_something_else_is_refused(base: str, tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("not ours")
    with pytest.raises(UsageError, match="no run folder"):
        train(corpus(), tmp_path, settings(base))
    assert (tmp_path / "holiday.txt").exists()


def stop_at(step: int, action: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do `action` while `step` is in hand."""
    plain = loop_module._Trainer.training_step

    def step_and_act(self: object, *arguments: object, **options: object) -> torch.Tensor:
        if self.state.global_step == step - 1:
            action()
        return plain(self, *arguments, **options)

    monkeypatch.setattr(loop_module._Trainer, "training_step", step_and_act)


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals need the main thread")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_run_goes_on_to_the_same_weights(
    finished: RunFolder, base: str, tmp_path: Path, number: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_at(3, lambda: signal.raise_signal(number), patch)
        with pytest.raises(KeyboardInterrupt):
            train(corpus(), tmp_path / "run", settings(base))
    with pytest.raises(ModelError, match="no finished adapter"):
        RunFolder.open(tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / "checkpoint-3" / "complete.json").exists()
    run = train(corpus(), tmp_path / "run", settings(base))
    assert same(finished, run)
    assert [line["step"] for line in run.log if "loss" in line] == [1, 2, 3, 4, 5, 6]


def test_a_half_written_checkpoint_is_passed_over(finished: RunFolder, base: str, tmp_path: Path) -> None:
    def lose_power() -> None:
        half = tmp_path / "run" / "checkpoints" / "checkpoint-4"
        half.mkdir()
        (half / "trainer_state.json").write_text("{")
        raise OSError("power")

    with pytest.MonkeyPatch.context() as patch:
        stop_at(4, lose_power, patch)
        with pytest.raises(OSError, match="power"):
            train(corpus(), tmp_path / "run", settings(base))
    assert same(finished, train(corpus(), tmp_path / "run", settings(base)))


def test_a_loss_that_is_no_number_names_the_last_good_checkpoint(base: str, tmp_path: Path) -> None:
    plain = PromptLoss.forward
    with pytest.MonkeyPatch.context() as patch:
        stop_at(
            4,
            lambda: patch.setattr(
                PromptLoss, "forward", lambda *a, **k: {"loss": plain(*a, **k)["loss"] * float("nan")}
            ),
            patch,
        )
        with pytest.raises(DivergedError, match=r"loss is nan at step 4; .*checkpoint-2"):
            train(corpus(), tmp_path / "run", settings(base))


def test_out_of_memory_halves_the_micro_batch(
    finished: RunFolder, base: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = PromptLoss.forward

    def short_of_memory(self: PromptLoss, *arguments: object, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        if len(batch["input_ids"]) > 2:
            raise torch.OutOfMemoryError("no")
        return plain(self, *arguments, **batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PromptLoss, "forward", short_of_memory)
        run = train(corpus(), tmp_path / "run", settings(base))
    assert run.config["micro_batch"] == [2, 4]
    assert "micro-batches of 4 examples instead of 8" in caplog.text
    expected = [line["loss"] for line in finished.log if "loss" in line]
    assert [line["loss"] for line in run.log if "loss" in line] == pytest.approx(expected, rel=1e-4)


def test_out_of_memory_with_one_example_says_what_to_do(base: str, tmp_path: Path) -> None:
    def always(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError("no")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PromptLoss, "forward", always)
        with pytest.raises(DeviceError, match="smaller base model"):
            train(corpus(), tmp_path / "run", settings(base, batch_size=1, accumulation_steps=2))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_in_a_sentence(base: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        stop_at(3, lambda: _fill_the_disk(tmp_path / "run" / "log.jsonl"), patch)
        with pytest.raises(StorageError, match=r"no space left.*run"):
            train(corpus(), tmp_path / "run", settings(base))
    assert (tmp_path / "run" / "checkpoints" / "checkpoint-2" / "complete.json").exists()


def _fill_the_disk(log: Path) -> None:
    log.unlink()
    log.symlink_to("/dev/full")


def test_soft_labels_are_trained_on(base: str, tmp_path: Path) -> None:
    soft = [{"joy": 0.5, "love": 0.5}, *[{"fear": 1.0}] * 39]
    run = train(corpus(soft=soft), tmp_path / "run", settings(base, max_steps=2))
    assert run.config["verification"]["gradient_error"] < 1e-5


def test_a_corpus_smaller_than_a_batch_is_one_batch(base: str, tmp_path: Path) -> None:
    run = train(corpus(rows=3, held_out_texts=[], held_out_labels=[]), tmp_path / "run", settings(base, max_steps=3))
    assert len([line for line in run.log if "loss" in line]) == 3
    assert not any("eval_loss" in line for line in run.log)


def test_an_empty_corpus_is_refused(base: str, tmp_path: Path) -> None:
    from emolib.data import Corpus

    with pytest.raises(InputError, match="no rows"):
        train(Corpus("nothing", [], []), tmp_path / "run", settings(base))


def test_an_unknown_label_is_refused_before_training(base: str, tmp_path: Path) -> None:
    file = tmp_path / "corpus.txt"
    file.write_text("i feel fine;joy\ni feel odd;boredom\n")
    with pytest.raises(InputError, match="boredom"):
        train(file, tmp_path / "run", settings(base))
    assert not (tmp_path / "run").exists()


def test_cuda_asked_for_and_absent(base: str, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceError, match="--preset cpu"):
        train(corpus(), tmp_path / "run", settings(base, load_in_4bit=True))
    with pytest.raises(DeviceError, match="--preset cpu"):
        train(corpus(), tmp_path / "run2", settings(base, engine="unsloth"))


def test_a_run_starts_from_another_adapter(finished: RunFolder, base: str, tmp_path: Path) -> None:
    run = train(corpus(), tmp_path / "run", settings(base, start_from=str(finished.path), max_steps=1))
    assert run.log[0]["loss"] < finished.log[0]["loss"]


def test_an_adapter_of_another_base_model_is_refused(finished: RunFolder, tmp_path: Path) -> None:
    tiny_model(seed=1).save_pretrained(tmp_path / "other")
    tiny_tokenizer().save_pretrained(tmp_path / "other")
    with pytest.raises(ModelError, match="was trained on"):
        train(corpus(), tmp_path / "run", settings(str(tmp_path / "other"), start_from=str(finished.path)))


def test_an_adapter_of_another_rank_is_refused(finished: RunFolder, base: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="rank 16"):
        train(corpus(), tmp_path / "run", settings(base, start_from=str(finished.path), lora_rank=4))


def test_dropout_is_refused_by_the_shared_prefix_and_trained_with_whole_prompts(base: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"prefix needs lora_dropout 0, not 0\.1"):
        settings(base, engine="prefix", lora_dropout=0.1)
    run = train(corpus(), tmp_path / "run", settings(base, lora_dropout=0.1, max_steps=1))
    assert run.config["engine"] == "plain"


@pytest.mark.parametrize("template", ["no slot at all", "only {}", "{} and {} and {}", "{} then {} and more"])
def test_a_template_without_its_two_slots_is_refused(template: str) -> None:
    with pytest.raises(UsageError, match="needs two slots"):
        Prompt.from_template("mine", template)
