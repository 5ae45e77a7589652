"""A chart shows exactly the points of the log, and is saved as PNG beside a CSV of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from emolib.emotions import EMOTIONS
from emolib.errors import EmolibError, InputError
from emolib.plots import confusion_matrix, cross_entropy_loss, gradient_norm, plot_run, training_loss

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"")
    (folder / "config.json").write_text("{}")
    lines = [
        {"step": step, "loss": 3.0 / step, "grad_norm": 1.0 + step, "learning_rate": 1e-3, "seconds": step * 0.5}
        for step in range(1, 21)
    ]
    lines += [{"step": step, "eval_loss": 2.0 / step, "eval_accuracy": step / 20} for step in (10, 20)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_the_training_loss_shows_every_step(run: Path) -> None:
    chart = training_loss(run)
    assert chart.points == tuple((step, 3.0 / step) for step in range(1, 21))
    curve = chart.figure.axes[0].lines[0]
    assert list(curve.get_xdata()) == list(range(1, 21))


def test_the_gradient_norm_is_the_logged_one(run: Path) -> None:
    assert gradient_norm(run).points[-1] == (20, 21.0)


def test_evaluation_loss_and_accuracy_share_one_chart(run: Path) -> None:
    chart = cross_entropy_loss(run)
    assert chart.points == ((10, 0.2, 0.5), (20, 0.1, 1.0))
    assert len(chart.figure.axes) == 2


def test_plot_run_writes_each_figure_beside_its_points(run: Path, tmp_path: Path) -> None:
    paths = plot_run(run, tmp_path / "figures")
    assert [path.name for path in paths] == ["training_loss.png", "cross_entropy_loss.png", "training_grad_norm.png"]
    for path in paths:
        assert path.read_bytes().startswith(PNG)
    rows = list(csv.reader((tmp_path / "figures" / "training_loss.csv").open()))
    assert rows[0] == ["step", "loss"]
    assert len(rows) == 21


def test_a_confusion_matrix_counts_format_errors_in_a_column_of_their_own() -> None:
    confusion = {label: {other: int(label == other) * 5 for other in EMOTIONS} for label in EMOTIONS}
    for label in EMOTIONS:
        confusion[label]["format error"] = 1
    chart = confusion_matrix({"n": 36, "confusion": confusion})
    assert chart.columns == ("true", *EMOTIONS, "format error")
    assert chart.points[0] == ("sadness", 5, 0, 0, 0, 0, 0, 1)


def test_a_run_without_a_single_step_says_so(run: Path) -> None:
    (run / "log.jsonl").write_text("")
    with pytest.raises(InputError, match="no training loss yet"):
        training_loss(run)


def test_a_folder_that_is_no_run_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EmolibError, match=str(tmp_path)):
        plot_run(tmp_path, tmp_path / "figures")
