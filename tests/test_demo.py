"""The demo goes on where it stopped, and its report carries everything it shows."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from emolib.audio import AudioClip, write_wav
from emolib.demo import DemoFolder, prepare, steps
from emolib.demo.page import write_report
from emolib.demo.ready_made import TONES
from emolib.demo.recipe import Recipe, embedded
from emolib.demo.steps import Step
from emolib.emotions import EMOTIONS
from emolib.errors import InputError, UsageError


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the real steps by three that write their names; the names in the order they were made."""
    calls: list[str] = []

    def quick_steps(folder: DemoFolder, recipe: Recipe) -> list[Step]:
        def make(folder: DemoFolder) -> None:
            name = ("first", "second", "third")[len(set(calls))]
            calls.append(name)
            folder.path.mkdir(parents=True, exist_ok=True)
            (folder.path / name).write_text(name)
            if (folder.path / "fail").exists() and name == "second":
                raise InputError("the second step failed")

        return [Step(name, f"Do the {name}", folder.path / name, make) for name in ("first", "second", "third")]

    monkeypatch.setattr(steps, "_training_steps", quick_steps)
    return calls


def test_a_finished_step_is_not_run_again(made: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(tmp_path, until="second")
    prepare(tmp_path, until="second")
    assert made == ["first", "second"]
    assert capsys.readouterr().out.count("finished before") == 2


def test_a_step_that_failed_half_way_is_run_again(made: list[str], tmp_path: Path) -> None:
    (tmp_path / "fail").touch()
    with pytest.raises(InputError, match="second step failed"):
        prepare(tmp_path, until="third")
    assert (tmp_path / "second").exists()
    assert list(DemoFolder(tmp_path).seconds()) == ["first"]
    folder = DemoFolder(tmp_path)
    assert not Step("second", "", tmp_path / "second", lambda _: None).finished(folder)


def test_a_result_that_was_deleted_is_made_again(made: list[str], tmp_path: Path) -> None:
    prepare(tmp_path, until="first")
    (tmp_path / "first").unlink()
    made.clear()
    prepare(tmp_path, until="first")
    assert made == ["first"]


def test_a_run_of_another_length_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = DemoFolder(tmp_path)
    for path in (folder.corpus / "report.json", folder.run / "adapter" / "weights"):
        path.parent.mkdir(parents=True)
        path.touch()
    (folder.run / "config.json").write_text('{"settings": {"max_steps": 24}}')
    folder.times.write_text('{"clean": 1.0, "train": 30.0}')
    prepare(tmp_path, until="train", recipe=embedded(60))
    assert (
        f"24 steps, not 60 (those are trained once {tmp_path} is deleted): finished before" in capsys.readouterr().out
    )
    prepare(tmp_path, until="train", recipe=embedded(24))
    assert "24 steps: finished before" in capsys.readouterr().out


def test_an_unknown_step_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="clean, train, evaluate, compare, plot, export"):
        prepare(tmp_path, until="dance")


def scores(accuracy: float) -> dict:
    per_label = {label: {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 4} for label in EMOTIONS}
    return {"accuracy": accuracy, "format_errors": 0, "macro_f1": 0.5, "n": 24, "per_label": per_label}


@pytest.fixture
def folder(tmp_path: Path) -> DemoFolder:
    demo = DemoFolder(tmp_path)
    for path in (demo.corpus, demo.run, demo.figures, demo.gguf):
        path.mkdir()
    confusion = {label: {label: 4} for label in EMOTIONS}
    metrics = {**scores(0.75), "confusion": confusion, "baseline": scores(0.125), "baselines": {"TF-IDF": scores(0.5)}}
    turn = {
        "transcript": "a <b>bold</b> question",
        "emotion": "joy",
        "probabilities": dict.fromkeys(EMOTIONS, 1 / 6),
        "reply": "fine",
        "latency_ms": {"recognise": 12, "total": 34},
        "words": None,
        "voice_emotion": {"happy": 0.6, "sad": 0.4},
        "voice": {"emotion": "joy", "intensity": 0.5},
        "problems": [],
        "spans": [{"stage": "recognise", "start_ms": 0.0, "end_ms": 12.0}],
        "marks_ms": {"first_sound": 34},
    }
    tones = {emotion: {**turn, "reply": f"so you feel {emotion}"} for emotion in TONES}
    written = {
        demo.metrics: metrics,
        demo.comparison: {"carer": 0.31, "everyday": 0.8},
        demo.ready_made: {"lines": [{**turn, "transcript": "a <i>line</i>"}], "question": turn, "tones": tones},
        demo.corpus / "report.json": {"read": 30, "kept": 24, "dropped": 4, "rejected": 2},
        demo.gguf / "manifest.json": {"files": [{"file": "model.gguf", "type": "q8_0", "bytes": 1_500_000}]},
        demo.times: {"clean": 1.5, "train": 120},
    }
    for path, content in written.items():
        path.write_text(json.dumps(content))
    (demo.run / "adapter").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (demo.run / "adapter" / name).write_text("{}")
    (demo.run / "config.json").write_text('{"settings": {"start_from": "carer"}}')
    lines = [{"step": step, "loss": 3.0 / step, "grad_norm": 1.0 + step} for step in range(1, 9)]
    lines += [{"step": step, "eval_loss": 2.0 / step, "eval_accuracy": step / 10} for step in (4, 8)]
    (demo.run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [{"text": "I lost <it> all", "label": "sadness"}, {"text": "what a day", "label": "joy"}]
    (demo.corpus / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = {"rows": [0, 1], "gold": ["sadness", "joy"], "generated": ["anger", "joy"]}
    (demo.run / "predictions.json").write_text(json.dumps(judged))
    tone = (np.sin(np.arange(8000) / 5) * np.sin(np.arange(8000) / 600)).astype(np.float32)
    write_wav(demo.question, AudioClip(0.3 * tone, 16_000))
    for answer in (demo.answer, *map(demo.tone, TONES)):
        write_wav(answer, AudioClip(0.2 * tone, 16_000))
    return demo


def test_the_report_shows_what_the_steps_left(folder: DemoFolder) -> None:
    write_report(folder)
    page = folder.report.read_text(encoding="utf-8")
    for shown in (
        "12.5%",
        "75.0%",
        "50.0%",
        "80.0%",
        "trained here in 2 minutes",
        "model.gguf",
        "1.5 MB",
        "fine",
        "clean",
    ):
        assert shown in page
    assert "&lt;b&gt;bold" in page
    assert "&lt;i&gt;line" in page
    assert all(f"so you feel {emotion}" in page for emotion in TONES)


@pytest.mark.parametrize(("accuracy", "said"), [(0.75, "beats TF-IDF"), (0.4, "does not beat TF-IDF")])
def test_the_report_says_whether_the_training_was_worth_it_and_where_it_began(
    folder: DemoFolder, accuracy: float, said: str
) -> None:
    folder.metrics.write_text(json.dumps({**folder.read(folder.metrics), "accuracy": accuracy}))
    write_report(folder)
    page = " ".join(folder.report.read_text(encoding="utf-8").split())
    assert said in page
    assert "continues from <code>carer</code>, which learned from other texts and alone names 31.0%" in page
    (folder.run / "config.json").write_text('{"settings": {"start_from": ""}}')
    write_report(folder)
    assert "did not begin from nothing" not in folder.report.read_text(encoding="utf-8")


def test_the_report_is_one_file(folder: DemoFolder) -> None:
    write_report(folder)
    page = folder.report.read_text(encoding="utf-8")
    sources = [source for source in re.findall(r'(?:src|href)="([^"]*)"', page) if not source.startswith("#")]
    assert sum(source.startswith("data:audio/wav") for source in sources) == 4
    assert all(source.startswith("data:") for source in sources)
    assert base64.b64encode(folder.answer.read_bytes()).decode() in page


def test_the_report_has_the_value_of_each_point_and_the_errors_to_read(folder: DemoFolder) -> None:
    write_report(folder)
    page = folder.report.read_text(encoding="utf-8")
    assert "<title>each step: optimiser step 2, 1.5</title>" in page
    assert "<title>joy answered as joy: 4</title>" in page
    assert "<title>recognise: 12 ms, from 0 ms on</title>" in page
    assert "I lost &lt;it&gt; all" in page
    assert "what a day" not in page, "its answer is right"
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids)), "each chart has names of its own"
