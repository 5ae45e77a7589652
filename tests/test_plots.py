"""A chart shows exactly the points of the log, and is saved as PNG beside a CSV of them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from emolib.emotions import EMOTIONS
from emolib.errors import EmolibError, InputError
from emolib.plots import (
    class_balance,
    confusion_matrix,
    cross_entropy_loss,
    forgetting,
    gradient_norm,
    latency_waterfall,
    learning_rate,
    lora_drawing,
    paper_comparison,
    plot_run,
    reliability,
    run_comparison,
    smoothing,
    training_loss,
)
from emolib.plots.svg import chart_svg
from emolib.plots.training import centred_mean

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


def test_two_runs_stand_side_by_side_and_each_point_names_its_run(run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    chart = training_loss(run, other)
    assert len(chart.figure.axes) == 2
    assert chart.columns == ("run", "step", "loss")
    assert {point[0] for point in chart.points} == {"run", "other"}
    assert len(chart.points) == 40


def test_reliability_shows_the_bins_and_what_abstaining_gains() -> None:
    bins = [{"low": 0.4, "high": 0.5, "count": 7, "confidence": 0.45, "accuracy": 0.4}]
    abstention = [
        {"threshold": 0.0, "coverage": 1.0, "accuracy": 0.4},
        {"threshold": 0.9, "coverage": 0.0, "accuracy": None},
    ]
    calibration = {"ece": 0.05, "bins": bins, "abstention": abstention}
    chart = reliability({"n": 7, "constrained": {"calibration": calibration}})
    assert chart.points == ((0.4, 0.5, 7, 0.45, 0.4),)
    assert list(chart.figure.axes[1].lines[0].get_xdata()) == [0.0], "no accuracy is drawn where nothing is answered"
    assert "<title>confidence 0.45, 0.4</title>" in chart_svg(chart, "Reliability")
    with pytest.raises(InputError, match="no label scores"):
        reliability({"n": 7, "constrained": None})


def test_forgetting_begins_with_the_base_model_and_goes_by_steps() -> None:
    def measured(steps: int, perplexity: float) -> dict:
        figures = {"perplexity": 10.0, "format_lock": 0.0}
        merged = {"perplexity": perplexity, "format_lock": 0.5}
        return {"steps": steps, "scores": {"base": figures, "merged": merged, "switched off": figures}}

    chart = forgetting([measured(400, 30.0), measured(60, 20.0)])
    assert [point[:2] for point in chart.points] == [(0, 10.0), (60, 20.0), (400, 30.0)]
    with pytest.raises(InputError, match="--dialogue"):
        forgetting([])


def test_a_run_without_a_single_step_says_so(run: Path) -> None:
    (run / "log.jsonl").write_text("")
    with pytest.raises(InputError, match="no training loss yet"):
        training_loss(run)


def test_a_folder_that_is_no_run_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EmolibError, match=str(tmp_path)):
        plot_run(tmp_path, tmp_path / "figures")


def test_a_waterfall_shows_each_stage_when_it_ran() -> None:
    spans = [{"stage": "reply", "start_ms": 10, "end_ms": 90}, {"stage": "speak", "start_ms": 40, "end_ms": 60}]
    chart = latency_waterfall({"spans": spans, "marks_ms": {"first_sound": 60}})
    assert chart.points == (("reply", 10, 90), ("speak", 40, 60))
    with pytest.raises(InputError, match="--trace"):
        latency_waterfall({"spans": []})


def test_a_chart_as_svg_is_valid_and_has_the_value_of_each_point(run: Path) -> None:
    drawn = chart_svg(training_loss(run), "Loss <of> training")
    root = ElementTree.fromstring(drawn)
    assert root.get("aria-label") == "Loss <of> training"
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert [title for title in titles if title.startswith("each step")][2] == "each step: optimiser step 3, 1"
    assert "currentColor" in drawn


def test_the_centred_mean_keeps_a_straight_line_and_does_not_lag() -> None:
    line = [float(step) for step in range(20)]
    assert centred_mean(line) == pytest.approx(line)
    step = [0.0] * 10 + [1.0] * 10
    assert centred_mean(step)[9:11] == pytest.approx([4 / 9, 5 / 9]), "as much before the jump as after it"
    assert centred_mean([3.0]) == [3.0]


def test_smoothing_shows_both_ways(run: Path) -> None:
    step, loss, trailing, centred = smoothing(run).points[4]
    assert (step, loss) == (5, 0.6)
    assert trailing > centred


def test_the_learning_rate_is_the_logged_one(run: Path) -> None:
    assert learning_rate(run).points[0] == (1, 1e-3)


def test_runs_beside_each_other_have_a_panel_each(run: Path) -> None:
    chart = run_comparison({"one": run, "two": run})
    assert [axes.get_title(loc="left") for axes in chart.figure.axes] == ["one", "two"]
    assert ("two", 20, "held-out loss", 0.1) in chart.points


def test_the_papers_observations_stand_beside_the_run(run: Path) -> None:
    chart = paper_comparison(run)
    assert [axes.get_title(loc="left") for axes in chart.figure.axes] == ["Training loss", "Gradient norm"]
    assert ("loss", 1, 3.0) in chart.points


def test_a_drawing_of_lora_counts_its_parameters() -> None:
    assert [point[-1] for point in lora_drawing(576, 192, 16).points] == [576 * 192, 16 * 192, 576 * 16]


def test_the_balance_has_a_bar_per_label_and_split() -> None:
    chart = class_balance({"train": {"joy": 3, "fear": 1}, "test": {"joy": 1}})
    assert chart.points == (("train", "joy", 3), ("train", "fear", 1), ("test", "joy", 1))
    with pytest.raises(InputError, match="clean a corpus"):
        class_balance({})


def test_a_figure_names_itself_where_it_cannot_be_seen(run: Path) -> None:
    assert repr(training_loss(run)) == "Figure training_loss (20 points)"
