"""The figures of metrics.json as Markdown that reads well in a terminal too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emolib.evaluate.baselines import baselines_of
from emolib.tables import Table, markdown_table, percent

__all__ = ["abstention_table", "format_error_table", "label_table", "metrics_table", "model_table"]


def metrics_table(metrics: dict[str, Any]) -> str:
    """The tables of one evaluation: the models side by side, the labels, the confusion, the format errors."""
    models = _multi_label_models if metrics.get("multi_label") else model_table
    parts = [
        _heading(metrics),
        str(models(metrics)),
        _missing(metrics),
        _few_shot(metrics),
        str(label_table(metrics)),
        _confusion(metrics),
        _format_errors(metrics),
    ]
    return "\n\n".join(part for part in parts if part)


def _heading(metrics: dict[str, Any]) -> str:
    n, rows = metrics["n"], metrics["rows"]
    judged = f"PARTIAL: {n:,} of {rows:,} rows" if metrics["partial"] else f"{n:,} rows"
    test = metrics["mcnemar_against_baseline"]
    return (
        f"{judged} of {metrics['data']['name']} in {metrics['seconds']:.0f} s."
        f" Same text, other label: no classifier can pass {percent(metrics['conflict_ceiling'])}."
        f" Base against fine-tuned, McNemar: p = {test['p_value']:.2g}."
    )


def _columns(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the metrics of each model, by the heading of its column."""
    return {"base": metrics["baseline"], **baselines_of(metrics), "fine-tuned": metrics}


def _missing(metrics: dict[str, Any]) -> str:
    reason = metrics.get("encoder_missing")
    return f"Without the baseline on a sentence encoder: {reason}." if reason else ""


def _few_shot(metrics: dict[str, Any]) -> str:
    """Return the learning curves of the baselines: mean and standard deviation over the draws."""
    entries = metrics.get("few_shot")
    if not entries:
        return ""
    rows = [
        [
            entry["baseline"],
            f"{entry['rows_per_label'] or 'all'}",
            f"{entry['rows']:,.0f}",
            f"{100 * entry['accuracy']['mean']:.1f} ± {100 * entry['accuracy']['std']:.1f} %",
            f"{entry['macro_f1']['mean']:.3f} ± {entry['macro_f1']['std']:.3f}",
        ]
        for entry in entries
    ]
    return markdown_table(["baseline", "rows per label", "rows", "accuracy", "macro-F1"], rows)


def _multi_label_models(metrics: dict[str, Any]) -> str:
    columns = _columns(metrics)
    rows = [
        ["all labels right, strict set match", *(percent(found["accuracy"]) for found in columns.values())],
        ["  95 % interval", *(_interval(found["accuracy_interval"]) for found in columns.values())],
        ["micro-F1", *(f"{found['micro_f1']:.3f}" for found in columns.values())],
        ["macro-F1", *(f"{found['macro_f1']:.3f}" for found in columns.values())],
        ["free answer is one of the labels", *(percent(found["answers_in_set"]) for found in columns.values())],
        ["format errors", *(f"{found['format_errors']:,}" for found in columns.values())],
    ]
    return markdown_table(["", *columns], rows)


def model_table(metrics: dict[str, Any]) -> Table:
    """Return base, baselines and fine-tuned model side by side: strict and constrained accuracy, format errors."""
    columns = _columns(metrics)

    def constrained(found: dict[str, Any], *names: str) -> str:
        value = found["constrained"]
        for name in names:
            value = value and value[name]
        return "" if value is None else percent(value)

    rows = [
        ["accuracy, strict exact match", *(percent(found["accuracy"]) for found in columns.values())],
        ["  95 % interval", *(_interval(found["accuracy_interval"]) for found in columns.values())],
        ["macro-F1", *(f"{found['macro_f1']:.3f}" for found in columns.values())],
        ["format errors", *(f"{found['format_errors']:,}" for found in columns.values())],
        ["accuracy, constrained to the labels", *(constrained(found, "accuracy") for found in columns.values())],
        ["calibration error", *(constrained(found, "calibration", "ece") for found in columns.values())],
    ]
    return Table(["", *columns], rows)


def label_table(metrics: dict[str, Any]) -> Table:
    """Return precision, recall, F1 and number of rows of each label."""
    rows = [
        [label, *(f"{found[name]:.3f}" for name in ("precision", "recall", "f1")), f"{found['support']:,}"]
        for label, found in metrics["per_label"].items()
    ]
    return Table(["label", "precision", "recall", "F1", "rows"], rows)


def abstention_table(metrics: dict[str, Any], thresholds: Sequence[float] = (0.0, 0.3, 0.5, 0.7, 0.9)) -> Table:
    """Return what abstaining below each confidence keeps and gains; thresholds that were not measured are left out."""
    steps = metrics["constrained"]["calibration"]["abstention"]
    rows = [
        [f"{step['threshold']:.2f}", percent(step["coverage"]), percent(step["accuracy"])]
        for step in steps
        if step["accuracy"] is not None and any(abs(step["threshold"] - one) < 1e-9 for one in thresholds)
    ]
    return Table(["abstains below", "texts answered", "accuracy of these"], rows)


def format_error_table(metrics: dict[str, Any]) -> Table:
    """Return the kinds of format error of base and fine-tuned model, how often each occurs, and an example."""
    return Table(["model", "kind", "count", "for example"], _format_error_rows(metrics))


def _confusion(metrics: dict[str, Any]) -> str:
    confusion = metrics.get("confusion")
    if not confusion:
        return ""
    rows = [[label, *map(str, counts.values())] for label, counts in confusion.items()]
    return markdown_table(["true \\ predicted", *next(iter(confusion.values()))], rows)


def _format_errors(metrics: dict[str, Any]) -> str:
    rows = [
        [model, kind, count, "`" + example.replace("|", "\\|") + "`"]
        for model, kind, count, example in _format_error_rows(metrics)
    ]
    return markdown_table(["format errors", "kind", "count", "for example"], rows) if rows else ""


def _format_error_rows(metrics: dict[str, Any]) -> list[list[str]]:
    rows = []
    for name, found in (("base", metrics["baseline"]), ("fine-tuned", metrics)):
        examples = {error["kind"]: error["generated"] for error in reversed(found["format_error_examples"])}
        rows += [[name, kind, f"{count:,}", examples[kind]] for kind, count in found["format_error_kinds"].items()]
    return rows


def _interval(interval: Sequence[float]) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
