"""Every figure of emolib, each from a run folder or a metrics file; `plot_run` writes them as PNG beside a CSV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from emolib.plots.chart import Chart
from emolib.plots.conversation import clauses, emotion_bars, latency_waterfall
from emolib.plots.evaluation import (
    confusion_matrix,
    forgetting,
    hidden_state_map,
    label_scores,
    learning_curve,
    model_accuracies,
    reliability,
)
from emolib.plots.lessons import class_balance, lora_drawing, quantised_files, rounding, token_masks
from emolib.plots.sound import (
    endpoint,
    noise_floor,
    pitch_curves,
    spectrogram,
    speech_order,
    speech_probabilities,
    waveform,
)
from emolib.plots.training import (
    cross_entropy_loss,
    gradient_norm,
    learning_rate,
    open_run,
    paper_comparison,
    run_comparison,
    smoothing,
    training_loss,
)

if TYPE_CHECKING:
    from emolib.finetune import RunFolder

__all__ = [
    "Chart",
    "class_balance",
    "clauses",
    "confusion_matrix",
    "cross_entropy_loss",
    "emotion_bars",
    "endpoint",
    "forgetting",
    "gradient_norm",
    "hidden_state_map",
    "label_scores",
    "latency_waterfall",
    "learning_curve",
    "learning_rate",
    "lora_drawing",
    "model_accuracies",
    "noise_floor",
    "paper_comparison",
    "pitch_curves",
    "plot_run",
    "quantised_files",
    "reliability",
    "rounding",
    "run_charts",
    "run_comparison",
    "smoothing",
    "spectrogram",
    "speech_order",
    "speech_probabilities",
    "token_masks",
    "training_loss",
    "waveform",
]


def plot_run(run: RunFolder | Path | str, out: Path | str, *others: RunFolder | Path | str) -> list[Path]:
    """Draw every chart that the run has data for into the folder `out`; the paths of the PNGs.

    The curves of `others` stand beside the run's, and what was measured on their dialogues in the same chart.
    """
    return [chart.save(Path(out)) for chart in run_charts(run, *others)]


def run_charts(run: RunFolder | Path | str, *others: RunFolder | Path | str) -> list[Chart]:
    """The charts of a run: training loss and gradient norm; of evaluations what there is. See `plot_run`."""
    runs = [open_run(one) for one in (run, *others)]
    charts = [training_loss(*runs), gradient_norm(*runs)]
    if all(any("eval_loss" in line for line in one.log) for one in runs):
        charts.insert(1, cross_entropy_loss(*runs))
    if runs[0].metrics_path.exists():
        metrics = json.loads(runs[0].metrics_path.read_text(encoding="utf-8"))
        charts.append(confusion_matrix(metrics))
        if metrics.get("constrained"):
            charts.append(reliability(metrics))
        if metrics.get("few_shot"):
            charts.append(learning_curve(metrics))
    talks = [one.path / "continuity.json" for one in runs]
    if measured := [json.loads(path.read_text(encoding="utf-8")) for path in talks if path.is_file()]:
        charts.append(forgetting(measured))
    return charts
