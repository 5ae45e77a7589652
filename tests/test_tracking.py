"""What follows a run: the log file, Weights & Biases offline, and the curves in a notebook."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from emolib.finetune import RunFolder, TrainSettings
from emolib.finetune.tracking import LivePlot, LogFile, NoTracker, Progress, draw_curves, make_tracker


def test_a_continued_log_drops_the_lines_after_its_checkpoint(tmp_path: Path) -> None:
    first = LogFile(RunFolder(tmp_path), 0)
    for step in (1, 2, 3):
        first.write(step=step, loss=1.0)
    second = LogFile(RunFolder(tmp_path), 2)
    second.write(step=3, loss=0.5)
    assert [(line["step"], line["loss"]) for line in RunFolder(tmp_path).log] == [(1, 1.0), (2, 1.0), (3, 0.5)]


def test_a_fresh_log_begins_empty(tmp_path: Path) -> None:
    LogFile(RunFolder(tmp_path), 0).write(step=1, loss=1.0)
    LogFile(RunFolder(tmp_path), 0)
    assert RunFolder(tmp_path).log == []


def test_seconds_go_on_from_where_the_run_was_stopped(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 1.0, "seconds": 100.0}\n')
    line = LogFile(RunFolder(tmp_path), 1).write(step=2, loss=0.5)
    assert 100 <= line["seconds"] < 160


def test_a_last_line_cut_short_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 1.0, "seconds": 1}\n{"step": 2, "lo')
    assert [line["step"] for line in RunFolder(tmp_path).log] == [1]


def test_an_offline_run_of_weights_and_biases_holds_every_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run = RunFolder(tmp_path / "first")
    log = LogFile(run, 0)
    tracker = make_tracker(run, TrainSettings(project="feelings"), {"settings": {"learning_rate": 2e-4}})
    for step in (1, 2):
        tracker.show(log.write(step=step, loss=1.0 / step, grad_norm=0.5, learning_rate=1e-4, examples_per_second=3.0))
    tracker.show(log.write(step=2, eval_loss=0.4, eval_accuracy=0.75))
    tracker.close()
    # On a busy machine the service of wandb writes for a moment longer.
    until = time.monotonic() + 20
    while not (found := read_offline_run(run.path))[1] and time.monotonic() < until:
        time.sleep(0.2)
    history, header = found
    assert header == {"project": "feelings", "display_name": "first"}
    assert [float(row["loss"]) for row in history if "loss" in row] == [1.0, 0.5]
    assert [float(row["eval_accuracy"]) for row in history if "eval_accuracy" in row] == [0.75]
    assert any("figures/curves" in key for row in history for key in row)


def read_offline_run(folder: Path) -> tuple[list[dict[str, str]], dict[str, str]]:
    """History rows and the run's name out of `wandb/offline-run-*/run-*.wandb`, a LevelDB log of protobuf records."""
    from wandb.proto.wandb_internal_pb2 import Record

    data = next(folder.glob("wandb/offline-run-*/run-*.wandb")).read_bytes()
    history, header = [], {}
    for payload in leveldb_records(data):
        record = Record()
        record.ParseFromString(payload)
        kind = record.WhichOneof("record_type")
        if kind == "history":
            rows = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            history.append(rows)
        elif kind == "run" and not header:
            header = {"project": record.run.project, "display_name": record.run.display_name}
    return history, header


def leveldb_records(data: bytes) -> list[bytes]:
    """The records of a LevelDB log with a 7-byte file header: blocks of 32 KiB, each record in one or more parts."""
    records, parts, at = [], [], 7
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        if kind == 0:
            at += left
            continue
        parts.append(data[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):
            records.append(b"".join(parts))
            parts = []
    return records


def test_the_environment_can_switch_the_tracking_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert isinstance(make_tracker(RunFolder(tmp_path), TrainSettings(), {}), NoTracker)


def test_the_curves_show_loss_and_accuracy(tmp_path: Path) -> None:
    log = LogFile(RunFolder(tmp_path), 0)
    log.write(step=1, loss=2.0)
    log.write(step=1, eval_loss=1.0, eval_accuracy=0.5)
    left, right = draw_curves(RunFolder(tmp_path)).axes
    assert left.lines[0].get_ydata().tolist() == [2.0]
    assert right.lines[0].get_ydata().tolist() == [0.5]


def test_without_an_accuracy_the_curves_show_the_held_out_loss(tmp_path: Path) -> None:
    log = LogFile(RunFolder(tmp_path), 0)
    log.write(step=1, loss=2.0)
    log.write(step=1, eval_loss=1.0, eval_perplexity=2.7)
    (axes,) = draw_curves(RunFolder(tmp_path)).axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[2.0], [1.0]]


def test_the_bar_shows_the_loss(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Progress(10, 0)
    bar.show({"step": 10, "eval_loss": 1.0, "eval_perplexity": 2.72})
    bar.show({"step": 10, "loss": 0.25})
    bar.close()
    shown = capsys.readouterr().err
    assert "10/10" in shown
    assert "held-out perplexity=2.7" in shown


def test_the_live_plot_changes_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[list[object]] = []

    def display(first: object, *, display_id: bool) -> SimpleNamespace:
        states = [first]
        shown.append(states)
        return SimpleNamespace(update=states.append)

    monkeypatch.setattr("IPython.display.display", display)
    log = LogFile(RunFolder(tmp_path), 0)
    plot = LivePlot(RunFolder(tmp_path), 40)
    for step in (10, 20, 30, 40):
        plot.show(log.write(step=step, loss=1.0 / step))
    plot.close()
    bar, curves = shown
    assert "step 0 of 40" in repr(bar[0])
    assert "step 20 of 40" in repr(bar[2])
    assert "left" in repr(bar[2])
    assert repr(bar[-1]).startswith("█" * 30 + " step 40 of 40")
    assert curves[-1]._repr_png_().startswith(b"\x89PNG")
    assert "<Figure" not in repr(curves[-1])
    assert len(curves) <= 4, "not a drawing per step"
    LivePlot(RunFolder(tmp_path / "short"), 8).close()
    assert len(shown) == 3, "a short run has the bar alone"
