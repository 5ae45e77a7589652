"""The figures of metrics.json as Markdown that reads well in a terminal too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emolib.evaluate.baselines import baselines_of
from emolib.tables import markdown_table, percent

__all__ = ["metrics_table"]


def metrics_table(metrics: dict[str, Any]) -> str:
    """The tables of one evaluation: the models side by side, the labels, the confusion, the format errors."""
    models = _multi_label_models if metrics.get("multi_label") else _models
    parts = [
        _heading(metrics),
        models(metrics),
        _missing(metrics),
        _few_shot(metrics),
        _labels(metrics),
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


def _models(metrics: dict[str, Any]) -> str:
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
    return markdown_table(["", *columns], rows)


def _labels(metrics: dict[str, Any]) -> str:
    rows = [
        [label, *(f"{found[name]:.3f}" for name in ("precision", "recall", "f1")), f"{found['support']:,}"]
        for label, found in metrics["per_label"].items()
    ]
    return markdown_table(["label", "precision", "recall", "F1", "rows"], rows)


def _confusion(metrics: dict[str, Any]) -> str:
    confusion = metrics.get("confusion")
    if not confusion:
        return ""
    rows = [[label, *map(str, counts.values())] for label, counts in confusion.items()]
    return markdown_table(["true \\ predicted", *next(iter(confusion.values()))], rows)


def _format_errors(metrics: dict[str, Any]) -> str:
    lines = []
    for name, found in (("base", metrics["baseline"]), ("fine-tuned", metrics)):
        examples = {error["kind"]: error["generated"] for error in reversed(found["format_error_examples"])}
        for kind, count in found["format_error_kinds"].items():
            example = examples[kind].replace("|", "\\|")
            lines.append([name, kind, f"{count:,}", f"`{example}`"])
    return markdown_table(["format errors", "kind", "count", "for example"], lines) if lines else ""


def _interval(interval: Sequence[float]) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
