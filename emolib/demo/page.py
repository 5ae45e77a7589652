"""The report of the demo: one HTML file that carries its figures and its sound."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.emotions import EMOTIONS
from emolib.files import write_text

if TYPE_CHECKING:
    from emolib.demo.folder import DemoFolder

__all__ = ["write_report"]

_STYLE = """
:root { --ink: #1d2433; --soft: #5b6475; --line: #dfe3ea; --page: #fbfbfd; --accent: #0072b2; }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--page);
       max-width: 56rem; margin: 3rem auto; padding: 0 1.25rem; }
h1 { font-size: 2rem; margin-bottom: .2rem; } h2 { margin-top: 2.6rem; font-size: 1.25rem; }
p.lead, .note { color: var(--soft); } img { max-width: 100%; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; margin: .8rem 0; } th, td { padding: .35rem .9rem .35rem 0; text-align: left; }
th { border-bottom: 2px solid var(--line); } td { border-bottom: 1px solid var(--line); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; } audio { width: 100%; margin: .4rem 0 1rem; }
blockquote { margin: .3rem 0; padding: .6rem 1rem; background: #fff; border-left: 4px solid var(--accent); }
.bar { display: inline-block; height: .8rem; background: var(--accent); border-radius: 2px; vertical-align: middle; }
.big { font-size: 2.2rem; font-weight: 650; } .pair { display: flex; gap: 3rem; flex-wrap: wrap; }
code { background: #eef1f5; padding: .1rem .3rem; border-radius: 3px; overflow-wrap: anywhere; }
"""


def write_report(folder: DemoFolder) -> None:
    """Write `folder.report` from what the steps left on disk; nothing in it points to another file."""
    metrics = folder.read(folder.metrics)
    sections = [
        _lead(),
        _accuracy(metrics),
        _corpus(folder.read(folder.corpus / "report.json")),
        _figures(folder),
        _export(folder.read(folder.gguf / "manifest.json")),
        _conversation(folder, folder.read(folder.turn)),
        _times(folder.seconds()),
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>emolib demo</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style>\n<body>\n" + "\n".join(sections) + "\n</body>\n</html>\n"
    )
    write_text(folder.report, page)


def _lead() -> str:
    return (
        "<h1>A language model learns to hear emotion</h1>"
        '<p class="lead">Made on this machine by <code>emolib demo</code>: a corpus cleaned, SmolLM2-135M fine-tuned'
        " with LoRA, judged, exported to GGUF, and asked a spoken question. Every number and sound on this page"
        " comes from that run.</p>"
    )


def _accuracy(metrics: dict[str, Any]) -> str:
    base, floor = metrics["baseline"], metrics["linear_floor"]
    per_label = [
        (label, *(f"{scores[key]:.2f}" for key in ("precision", "recall", "f1")), f"{scores['support']}")
        for label, scores in metrics["per_label"].items()
    ]
    return (
        "<h2>Accuracy before and after</h2>"
        f'<div class="pair"><div><div class="big">{base["accuracy"]:.1%}</div>base model,'
        f" {base['format_errors']} format errors</div>"
        f'<div><div class="big">{metrics["accuracy"]:.1%}</div>with the adapter,'
        f" {metrics['format_errors']} format errors</div>"
        f'<div><div class="big">{floor["accuracy"]:.1%}</div>the linear floor: TF-IDF, all training texts</div></div>'
        f'<p class="note">Strict exact match of freely generated text on {metrics["n"]} held-out sentences; anything'
        f" that is not one of the six labels is a format error. Macro-F1 {metrics['macro_f1']:.3f}.</p>"
        + _table(("emotion", "precision", "recall", "F1", "texts"), per_label)
    )


def _corpus(report: dict[str, Any]) -> str:
    counts = [(key, f"{report[key]:,}") for key in ("read", "kept", "dropped", "rejected") if key in report]
    return "<h2>The corpus</h2>" + _table(("rows", "count"), counts)


def _figures(folder: DemoFolder) -> str:
    shown = [
        f'<figure><img alt="{html.escape(path.stem.replace("_", " "))}" src="{_data_url(path, "image/png")}"></figure>'
        for path in sorted(folder.figures.glob("*.png"), key=_figure_order)
    ]
    return "<h2>The training, and where the model errs</h2>" + "".join(shown)


def _figure_order(path: Path) -> tuple[int, str]:
    order = ["training_loss", "cross_entropy_loss", "training_grad_norm", "confusion_matrix"]
    return (order.index(path.stem) if path.stem in order else len(order), path.stem)


def _export(manifest: dict[str, Any]) -> str:
    rows = [
        (f"<code>{html.escape(item['file'])}</code>", item["type"], f"{item['bytes'] / 1e6:.1f} MB")
        for item in manifest["files"]
    ]
    return "<h2>Files for llama.cpp</h2>" + _table(("file", "type", "size"), rows)


def _conversation(folder: DemoFolder, turn: dict[str, Any]) -> str:
    bars = [
        (label, f'<span class="bar" style="width:{turn["probabilities"][label] * 12:.2f}rem"></span>'
                f" {turn['probabilities'][label]:.0%}")
        for label in EMOTIONS
    ]  # fmt: skip
    stages = [(stage, f"{milliseconds:,.0f} ms") for stage, milliseconds in turn["latency_ms"].items()]
    felt = html.escape(turn["emotion"])
    return (
        "<h2>A spoken question and its answer</h2>"
        f"<p>The question, spoken by the embedded voice:</p>{_audio(folder.question)}"
        f"<p>What was heard:</p><blockquote>{html.escape(turn['transcript'])}</blockquote>"
        f"<p>What was felt: <strong>{felt}</strong></p>{_table(('emotion', 'probability'), bars)}"
        f"<p>The reply:</p><blockquote>{html.escape(turn['reply'])}</blockquote>{_audio(folder.answer)}"
        + _table(("stage", "time"), stages)
    )


def _times(times: dict[str, float]) -> str:
    return "<h2>What it took</h2>" + _table(("step", "time"), [(step, f"{s:.1f} s") for step, s in times.items()])


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def cells(tag: str, values: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{'' if i == 0 else ' class=n' if tag == 'th' else ''}>{v}</{tag}>" for i, v in enumerate(values)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><tr>{cells('th', columns)}</tr>{body}</table>"


def _audio(path: Path) -> str:
    return f'<audio controls src="{_data_url(path, "audio/wav")}"></audio>'


def _data_url(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
