"""The report of the demo: one HTML file that carries its figures and its sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from emolib.emotions import EMOTIONS
from emolib.evaluate.baselines import baselines_of
from emolib.html_pages import Picture, data_url, write_page

if TYPE_CHECKING:
    from emolib.demo.folder import DemoFolder

__all__ = ["write_report"]

_FIGURES = ["training_loss", "cross_entropy_loss", "training_grad_norm", "confusion_matrix"]


def write_report(folder: DemoFolder) -> None:
    """Write `folder.report` from what the steps left on disk; nothing in it points to another file."""
    metrics = folder.read(folder.metrics)
    write_page(
        "demo.html",
        folder.report,
        metrics=metrics,
        baselines=baselines_of(metrics),
        corpus=folder.read(folder.corpus / "report.json"),
        figures=[_picture(path) for path in sorted(folder.figures.glob("*.png"), key=_order)],
        files=folder.read(folder.gguf / "manifest.json")["files"],
        turn=folder.read(folder.turn),
        emotions=EMOTIONS,
        question=data_url(folder.question.read_bytes(), "audio/wav"),
        answer=data_url(folder.answer.read_bytes(), "audio/wav"),
        seconds=folder.seconds(),
    )


def _picture(path: Path) -> Picture:
    return Picture(path.stem.replace("_", " "), data_url(path.read_bytes(), "image/png"))


def _order(path: Path) -> tuple[int, str]:
    return (_FIGURES.index(path.stem) if path.stem in _FIGURES else len(_FIGURES), path.stem)
