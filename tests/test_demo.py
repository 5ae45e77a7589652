"""The demo goes on where it stopped, and its report carries everything it shows."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest

from emolib.demo import DemoFolder, prepare, steps
from emolib.demo.page import write_report
from emolib.demo.steps import Step
from emolib.emotions import EMOTIONS
from emolib.errors import InputError, UsageError


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the real steps by three that write their names; the names in the order they were made."""
    calls: list[str] = []

    def quick_steps(folder: DemoFolder, train_steps: int) -> list[Step]:
        def make(folder: DemoFolder) -> None:
            name = ("first", "second", "third")[len(set(calls))]
            calls.append(name)
            folder.path.mkdir(parents=True, exist_ok=True)
            (folder.path / name).write_text(name)
            if (folder.path / "fail").exists() and name == "second":
                raise InputError("the second step failed")

        return [Step(name, f"Do the {name}", folder.path / name, make) for name in ("first", "second", "third")]

    monkeypatch.setattr(steps, "_steps", quick_steps)
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
    prepare(tmp_path, until="train", train_steps=60)
    assert (
        f"24 steps, not 60 (those are trained once {tmp_path} is deleted): finished before" in capsys.readouterr().out
    )
    prepare(tmp_path, until="train", train_steps=24)
    assert "24 steps: finished before" in capsys.readouterr().out


def test_an_unknown_step_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="clean, train, evaluate, plot, export, question, talk"):
        prepare(tmp_path, until="dance")


def scores(accuracy: float) -> dict:
    per_label = {label: {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 4} for label in EMOTIONS}
    return {"accuracy": accuracy, "format_errors": 0, "macro_f1": 0.5, "n": 24, "per_label": per_label}


@pytest.fixture
def folder(tmp_path: Path) -> DemoFolder:
    demo = DemoFolder(tmp_path)
    for path in (demo.corpus, demo.run, demo.figures, demo.gguf):
        path.mkdir()
    metrics = {**scores(0.75), "baseline": scores(0.125), "baselines": {"TF-IDF": scores(0.5)}}
    turn = {
        "transcript": "a <b>bold</b> question",
        "emotion": "joy",
        "probabilities": dict.fromkeys(EMOTIONS, 1 / 6),
        "reply": "fine",
        "latency_ms": {"recognise": 12, "total": 34},
    }
    written = {
        demo.metrics: metrics,
        demo.corpus / "report.json": {"read": 30, "kept": 24, "dropped": 4, "rejected": 2},
        demo.gguf / "manifest.json": {"files": [{"file": "model.gguf", "type": "q8_0", "bytes": 1_500_000}]},
        demo.turn: turn,
        demo.times: {"clean": 1.5},
    }
    for path, content in written.items():
        path.write_text(json.dumps(content))
    (demo.figures / "training_loss.png").write_bytes(b"\x89PNG figure")
    demo.question.write_bytes(b"RIFF question")
    demo.answer.write_bytes(b"RIFF answer")
    return demo


def test_the_report_shows_what_the_steps_left(folder: DemoFolder) -> None:
    write_report(folder)
    page = folder.report.read_text(encoding="utf-8")
    for shown in ("12.5%", "75.0%", "50.0%", "model.gguf", "1.5 MB", "fine", "clean"):
        assert shown in page
    assert "&lt;b&gt;bold" in page


def test_the_report_is_one_file(folder: DemoFolder) -> None:
    write_report(folder)
    page = folder.report.read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 3
    assert all(source.startswith("data:") for source in sources)
    assert base64.b64encode(b"RIFF answer").decode() in page
