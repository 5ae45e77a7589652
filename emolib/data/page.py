"""The cleaning report as a page for people: one HTML file with its plots in it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emolib.data.report import CleanReport, RuleCount
from emolib.emotions import EMOTIONS
from emolib.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_page"]

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#8a8a8a"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2433; background: #fbfbfd; max-width: 54rem; margin: 3rem auto;
       padding: 0 1.2rem; } h2 { margin-top: 2.4rem; font-size: 1.2rem; } .note { color: #5b6475; }
table { border-collapse: collapse; } th, td { padding: .3rem 1rem .3rem 0; text-align: left; vertical-align: top;
       border-bottom: 1px solid #dfe3ea; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; } q { color: #5b6475; display: block; overflow-wrap: anywhere; }
"""


def write_page(report: CleanReport, path: Path) -> None:
    """Write the page of `report` to `path`."""
    body = [
        "<h1>Cleaning report</h1>",
        f"<p>{report.read:,} rows read = {report.kept:,} kept + {report.dropped:,} dropped"
        f" + {report.rejected:,} rejected.</p>",
        "<h2>What stood in the sources</h2>",
        _findings(report),
        "<h2>What the rules did</h2>",
        _rules(report.rules),
        "<h2>What is left</h2>",
        _image(_balance_figure(report.balance), "texts a label and split"),
        _image(_length_figure(report.lengths["histogram"]), "words a text"),
    ]
    if report.findings.conflict_pairs:
        body += ["<h2>Which labels contradict each other</h2>"]
        body += [_image(_pairs_figure(report.findings.conflict_pairs), "conflicting texts by pair of labels")]
    if report.reject_reasons:
        rows = [(html.escape(reason), f"{count:,}") for reason, count in report.reject_reasons.items()]
        body += ["<h2>Why rows were rejected</h2>", _table(("reason", "rows"), rows)]
    page = (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Cleaning report</title>\n'
        f"<style>{_STYLE}</style>\n<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )
    write_text(path, page)


def _findings(report: CleanReport) -> str:
    found = report.findings
    rows = [
        (
            split,
            f"{found.rows[split]:,}",
            f"{found.duplicate_rows[split]:,}",
            f"{found.conflicting_texts[split]:,}",
            f"{found.ceiling[split]:.2%}",
        )
        for split in found.rows
    ]
    leaks = [
        (pair.replace("/", " and "), f"{count:,}", f"{found.leaked_with_other_label[pair]:,}")
        for pair, count in found.leaked_texts.items()
    ]
    note = (
        '<p class="note">The ceiling is the best accuracy that any classifier of the text alone can reach on these'
        " rows: a text that stands there with two labels is wrong at least once.</p>"
    )
    table = _table(("split", "rows", "duplicate rows", "texts with two labels", "ceiling"), rows) + note
    return table + (_table(("texts in both", "texts", "with another label"), leaks) if leaks else "")


def _rules(rules: Sequence[RuleCount]) -> str:
    def shown(rule: RuleCount) -> tuple[str, ...]:
        examples = "".join(f"<q>{html.escape(example)}</q>" for example in rule.examples)
        state = "" if rule.on else " (off)"
        return (f"{rule.name}{state}", f"{rule.changed:,}", f"{rule.dropped:,}", rule.description + examples)

    return _table(("rule", "changed", "dropped", "what it is for, and examples"), map(shown, rules))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def cell(value: str) -> str:
        number = value[:1].isdigit()
        return f"<td{' class=n' if number else ''}>{value}</td>"

    head = "".join(f"<th>{column}</th>" for column in columns)
    return f"<table><tr>{head}</tr>{''.join('<tr>' + ''.join(map(cell, row)) + '</tr>' for row in rows)}</table>"


def _image(figure: Figure, what: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<p><img alt="{what}" src="data:image/png;base64,{data}"></p>'


def _figure(title: str) -> tuple[Figure, object]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.2), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _balance_figure(balance: Mapping[str, Mapping[str, int]]) -> Figure:
    figure, axes = _figure("Texts a label")
    width = 0.8 / max(len(balance), 1)
    colours = {"train": _BLUE, "validation": _GREY, "test": _ORANGE}
    for place, (split, counts) in enumerate(balance.items()):
        xs = [index + (place - (len(balance) - 1) / 2) * width for index in range(len(EMOTIONS))]
        axes.bar(xs, [counts.get(label, 0) for label in EMOTIONS], width, label=split, color=colours[split])
    axes.set_xticks(range(len(EMOTIONS)), EMOTIONS)
    axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def _length_figure(histogram: Mapping[str, int]) -> Figure:
    figure, axes = _figure("Words a text (the last bar stands for all longer ones too)")
    longest = max(map(int, histogram))
    texts = [histogram.get(str(length), 0) for length in range(longest + 1)]
    axes.stairs(texts, [length - 0.5 for length in range(longest + 2)], fill=True, color=_BLUE)
    return figure


def _pairs_figure(pairs: Mapping[str, int]) -> Figure:
    figure, axes = _figure("Texts that stand there with both labels")
    shown = list(pairs.items())[:10][::-1]
    axes.barh([pair for pair, _ in shown], [count for _, count in shown], color=_BLUE)
    return figure
