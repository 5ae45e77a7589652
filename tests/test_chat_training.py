"""Fine-tuning on conversations: the run folder, resuming, the shared prefix, and bad input."""

from __future__ import annotations

import json
import math
import signal
import threading
from pathlib import Path

import pytest
import torch
from test_conversations import GOOD, write
from test_training import same, stop_at
from tiny_models import SENTENCES, tiny_chat_tokenizer, tiny_model, tiny_tokenizer

from emolib.chat.shown import examples_shown_to
from emolib.classify import EmotionClassifier
from emolib.cli import main
from emolib.emotion_model import bundled, find_adapter
from emolib.emotions import EMOTIONS
from emolib.errors import InputError, ModelError, UsageError
from emolib.finetune import RunFolder, TrainSettings, plan, preset, train
from emolib.prompting.chat import CHAT_SYSTEM
from emolib.widgets.choices import emotion_models


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base")
    tiny_model().save_pretrained(folder)
    tiny_chat_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 conversations of one to four exchanges."""
    rows = [
        [
            message
            for turn in range(1 + row % 4)
            for message in (
                {"role": "user", "content": f"{SENTENCES[(row + turn) % 8]} {row}", "emotion": EMOTIONS[row % 6]},
                {"role": "assistant", "content": SENTENCES[(row + turn + 3) % 8]},
            )
        ]
        for row in range(40)
    ]
    return write(tmp_path_factory.mktemp("corpus") / "talk.jsonl", *rows)


def settings(base: str, **changes: object) -> TrainSettings:
    values = {"base_model": base, "max_steps": 6, "checkpoint_steps": 2, "eval_steps": 3, "tracking": "off"}
    return preset("companion", **{"warmup_steps": 1, "dtype": "float32", "batch_size": 4, **values, **changes})


@pytest.fixture(scope="module")
def finished(base: str, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(corpus, tmp_path_factory.mktemp("runs") / "finished", settings(base))


def test_a_run_folder_says_what_was_done(finished: RunFolder, base: str) -> None:
    config = finished.config
    assert config["settings"] == settings(base).as_dict()
    assert (config["task"], config["system"]) == ("chat", CHAT_SYSTEM)
    assert (config["data"]["rows"], config["held_out"]["rows"]) == (36, 4)
    assert "prompt" not in config
    assert not (finished.path / "rejects.jsonl").exists()


def test_the_shared_prefix_is_held_against_whole_conversations(finished: RunFolder) -> None:
    assert finished.config["engine"] == "prefix"
    assert finished.config["verification"]["loss_error"] < 1e-5
    assert finished.config["verification"]["gradient_error"] < 1e-5


def test_the_evaluation_is_loss_per_token_and_perplexity(finished: RunFolder) -> None:
    evaluations = [line for line in finished.log if "eval_loss" in line]
    assert [line["step"] for line in evaluations] == [3, 6]
    for line in evaluations:
        assert line["eval_perplexity"] == pytest.approx(math.exp(line["eval_loss"]))
        assert (line["eval_examples"], "eval_accuracy" in line) == (4, False)
    assert "perplexity" in finished.summary()


def test_the_adapter_says_that_it_is_for_chat(finished: RunFolder) -> None:
    notes = json.loads((finished.adapter / "emolib.json").read_text())
    told = {"task": "chat", "system": CHAT_SYSTEM, "examples": "examples.jsonl", "load_in_4bit": False}
    assert notes == {"base_model": finished.config["base_model"], **told}


def test_examples_lie_beside_the_adapter_and_are_shown(finished: RunFolder, corpus: Path) -> None:
    assert finished.config["settings"]["examples"]
    known = examples_shown_to(finished.adapter)
    assert len(known) >= 40
    message = json.loads(corpus.read_text().splitlines()[0])["messages"][0]
    assert known.find(message["content"]).message == message["content"]


def test_without_examples_none_lie_beside_the_adapter(base: str, corpus: Path, tmp_path: Path) -> None:
    run = train(corpus, tmp_path / "run", settings(base, examples=False, max_steps=1))
    assert examples_shown_to(run.adapter) is None
    assert not list(run.adapter.glob("*.jsonl"))


def test_an_adapter_is_found_for_its_own_task_alone(finished: RunFolder) -> None:
    assert find_adapter(finished.path, task="chat").adapter == finished.adapter
    for name in (finished.path, finished.adapter):
        with pytest.raises(
            UsageError, match="was trained to converse, not to classify emotions; name an emotion model"
        ):
            find_adapter(name)
    with pytest.raises(UsageError, match="everyday was trained to classify emotions, not to converse; name a run"):
        find_adapter("everyday", task="chat")
    with pytest.raises(UsageError, match="was trained to converse"):
        EmotionClassifier.load(finished.path)


def test_an_adapter_for_chat_is_no_choice_for_the_emotion(finished: RunFolder) -> None:
    assert "everyday" in bundled()
    assert "everyday" not in bundled("chat")
    assert str(finished.path) not in emotion_models([finished.path.parent])


@pytest.mark.parametrize("loss_on", ["response", "all"])
def test_the_plain_engine_takes_the_same_steps(base: str, corpus: Path, tmp_path: Path, loss_on: str) -> None:
    runs = [
        train(corpus, tmp_path / engine, settings(base, engine=engine, loss_on=loss_on, max_steps=3))
        for engine in ("prefix", "plain")
    ]
    logs = [[line.get("loss", line.get("eval_loss")) for line in run.log] for run in runs]
    assert [run.config["engine"] for run in runs] == ["prefix", "plain"]
    assert logs[0] == pytest.approx(logs[1], rel=1e-4)


def test_the_loss_is_that_of_the_assistant_s_tokens(base: str, finished: RunFolder, corpus: Path) -> None:
    """The first step, by hand: transformers' own loss with everything but the replies masked."""
    from emolib.finetune.sampling import LengthBuckets
    from emolib.finetune.tasks.chat import ChatTask
    from emolib.models import load_base

    data = ChatTask().load(corpus, None, settings(base))
    order = list(LengthBuckets([len(tokens) for tokens in data.conversations], 8, 3407))[:8]
    model, total, count = load_base(base)[0], 0.0, 0
    for tokens in (data.conversations[index] for index in order):
        labels = torch.full((1, len(tokens)), -100)
        labels[0, list(tokens.targets)] = torch.tensor(tokens.ids)[list(tokens.targets)]
        with torch.no_grad():
            mean = model(torch.tensor([tokens.ids]), labels=labels).loss
        total, count = total + float(mean) * len(tokens.targets), count + len(tokens.targets)
    assert finished.log[0]["loss"] == pytest.approx(total / count, rel=1e-4)


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals need the main thread")
def test_an_interrupted_run_resumes_to_the_same_weights(
    finished: RunFolder, base: str, corpus: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_at(3, lambda: signal.raise_signal(signal.SIGTERM), patch)
        with pytest.raises(KeyboardInterrupt):
            train(corpus, tmp_path / "run", settings(base))
    assert same(finished, train(corpus, tmp_path / "run", settings(base)))


def test_a_folder_of_the_other_task_is_refused(finished: RunFolder, base: str, tmp_path: Path) -> None:
    file = tmp_path / "corpus.txt"
    file.write_text("i feel fine;joy\n")
    with pytest.raises(UsageError, match="another task"):
        train(file, finished.path, settings(base, task="classify"))


def test_rows_that_cannot_be_used_are_counted_and_written_down(
    base: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    long = [{"role": "user", "content": "no " * 2000}, GOOD[1]]
    control = [{"role": "user", "content": "hello<|end|>"}, GOOD[1]]
    path = write(tmp_path / "talk.jsonl", GOOD, "not JSON", long, GOOD, control)
    run = train(path, tmp_path / "run", settings(base, max_steps=1))
    assert run.config["data"]["rows"] == 2
    assert run.config["data"]["rejected"] == 3
    rejects = [json.loads(line) for line in (run.path / "rejects.jsonl").read_text().splitlines()]
    assert [reject["line"] for reject in rejects] == [2, 3, 5]
    assert ["not JSON" in rejects[0]["reason"], "max_length" in rejects[1]["reason"]] == [True, True]
    assert "control token" in rejects[2]["reason"]
    assert "3 of 5 rows cannot be used and are left out, the first on line 2: not JSON" in caplog.text


def test_long_conversations_are_cut_and_it_is_said(
    base: str, corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(corpus, tmp_path / "run", settings(base, max_steps=1, max_length=150))
    assert "exchanges at the end of long conversations pass max_length" in caplog.text


def test_held_out_conversations_of_another_file_are_evaluated(base: str, corpus: Path, tmp_path: Path) -> None:
    held_out = write(tmp_path / "held.jsonl", GOOD, GOOD)
    run = train(corpus, tmp_path / "run", settings(base, max_steps=1, eval_steps=1), validation=held_out)
    assert (run.config["data"]["rows"], run.config["held_out"]["rows"]) == (40, 2)


def test_a_base_model_without_a_chat_template_is_refused(corpus: Path, tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    with pytest.raises(ModelError, match="has no chat template"):
        train(corpus, tmp_path / "run", settings(str(tmp_path / "base")))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([], "holds no conversation"),
        ([[GOOD[0], GOOD[0]]], r"no conversation that can be used \(line 1: the roles do not alternate"),
        ([[{"role": "user", "content": "no " * 2000}, GOOD[1]]], r"can be trained on \(line 1: the first exchange"),
    ],
    ids=["none", "no usable", "too long"],
)
def test_a_corpus_without_a_usable_row_is_refused(base: str, tmp_path: Path, rows: list, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        train(write(tmp_path / "talk.jsonl", *rows), tmp_path / "run", settings(base))
    assert not (tmp_path / "run").exists()


def test_unsloth_is_refused(base: str, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="engine=auto for chat"):
        train(corpus, tmp_path / "run", settings(base, engine="unsloth"))


def test_the_preset_of_a_cpu_is_companion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = preset("auto", task="chat")
    assert found == preset("companion")
    assert (found.base_model, found.lora_rank, found.effective_batch) == ("smollm2-135m", 32, 16)
    assert preset("auto") == preset("cpu")


def test_a_chat_is_planned_with_its_own_sizes() -> None:
    found = plan(preset("companion"))
    assert (found.rows, found.tokens, found.steps) == (1_200, 256, 3 * 75)
    # Half of a conversation is learnt, of a text two tokens.
    assert found.memory["logits"] > 10 * plan(preset("companion", task="classify"), tokens=256).memory["logits"]


def test_the_command_trains_and_plans(
    base: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--task", "chat", "--data", str(corpus)]
    changes = ["--set", "tracking=off", "dtype=float32", "epochs=1", "eval_examples=0"]
    assert (
        main(["train", *common, "--out", str(tmp_path / "run"), "--preset", "companion", "--model", base, *changes])
        == 0
    )
    assert RunFolder.open(tmp_path / "run").log[-1]["step"] == 3  # 40 conversations, 16 a step
    capsys.readouterr()
    assert main(["plan", *common, "--preset", "companion", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["rows"], planned["settings"]["task"]) == (40, "chat")
