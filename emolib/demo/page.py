"""The report of the demo: one HTML file that carries its figures and its sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emolib.evaluate.baselines import baselines_of
from emolib.html_pages import data_url, write_page

if TYPE_CHECKING:
    from emolib.demo.folder import DemoFolder
    from emolib.plots import Chart

__all__ = ["write_report"]

#: Misclassified texts that are shown.
_ERRORS = 12
_WAVE_POINTS = 160
_TITLES = {
    "training_loss": "Training loss",
    "cross_entropy_loss": "Loss and accuracy on held-out texts",
    "training_grad_norm": "Norm of the gradient",
    "confusion_matrix": "Which emotion was taken for which",
    "reliability": "Confidence beside accuracy",
    "latency_waterfall": "Where the time of the spoken turn went",
}


def write_report(folder: DemoFolder) -> None:
    """Write `folder.report` from what the steps left on disk; nothing in it points to another file."""
    from emolib.plots import latency_waterfall, run_charts

    ready_made = folder.read(folder.ready_made)
    turn = ready_made["question"]
    charts = [*run_charts(folder.run), *([latency_waterfall(turn)] if turn.get("spans") else [])]
    metrics = folder.read(folder.metrics)
    write_page(
        "demo.html",
        folder.report,
        metrics=metrics,
        bars=_bars(folder, metrics),
        start=_start(folder),
        tfidf=baselines_of(metrics)["TF-IDF"]["accuracy"],
        corpus=folder.read(folder.corpus / "report.json"),
        figures=[_figure(chart) for chart in charts],
        errors=_errors(folder),
        files=folder.read(folder.gguf / "manifest.json")["files"],
        lines=ready_made["lines"],
        tones=[
            {**told, "taken_as": emotion, "sound": _sound(folder.tone(emotion))}
            for emotion, told in ready_made["tones"].items()
        ],
        turn=turn,
        question=_sound(folder.question),
        answer=_sound(folder.answer),
        seconds=folder.seconds(),
    )


def _bars(folder: DemoFolder, metrics: dict[str, Any]) -> list[tuple[str, float]]:
    """The four accuracies on the same texts: what stands beside the trained adapter, and it."""
    minutes = folder.seconds().get("train", 0) / 60
    return [
        ("the base model", metrics["baseline"]["accuracy"]),
        ("TF-IDF with logistic regression", baselines_of(metrics)["TF-IDF"]["accuracy"]),
        (f"trained here in {minutes:.0f} minutes", metrics["accuracy"]),
        ("the bundled adapter everyday", folder.read(folder.comparison)["everyday"]),
    ]


def _start(folder: DemoFolder) -> dict[str, Any] | None:
    """The bundled adapter that the training began from, with its accuracy before; None if it began afresh."""
    name = folder.read(folder.run / "config.json").get("settings", {}).get("start_from")
    return {"name": name, "accuracy": folder.read(folder.comparison)[name]} if name else None


def _figure(chart: Chart) -> dict[str, str]:
    from emolib.plots.svg import chart_svg

    title = _TITLES.get(chart.name, chart.name.replace("_", " "))
    return {"name": chart.name, "svg": chart_svg(chart, title)}


def _errors(folder: DemoFolder) -> list[dict[str, Any]]:
    """The first texts whose answer is not their label."""
    from emolib.data import load_split

    path = folder.run / "predictions.json"
    if not path.exists():
        return []
    predictions = folder.read(path)
    texts = load_split(folder.corpus, "test").texts
    judged = zip(predictions["rows"], predictions["gold"], predictions["generated"], strict=True)
    wrong = ({"text": texts[row], "gold": gold, "answer": answer} for row, gold, answer in judged if answer != gold)
    return [found for found, _ in zip(wrong, range(_ERRORS), strict=False)]


def _sound(path: Path) -> dict[str, Any]:
    """A recording of the page: its URL, its seconds, and the line of its waveform in a box of _WAVE_POINTS by 2."""
    from emolib.audio import read_audio

    clip = read_audio(path)
    peaks = [float(np.abs(piece).max(initial=0)) for piece in np.array_split(clip.samples, _WAVE_POINTS)]
    loudest = max(peaks) or 1.0
    line = " ".join(f"M{x} {1 - peak / loudest:.2f}V{1 + peak / loudest:.2f}" for x, peak in enumerate(peaks))
    return {"url": data_url(path.read_bytes(), "audio/wav"), "seconds": clip.seconds, "line": line}
