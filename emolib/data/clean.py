"""Cleaning: named rules in a fixed order, each of which can be switched off and is counted.

The rules that change a text come first (`emolib.data.repair`), then those that drop rows:

    empty               texts of no or one character
    too_long            texts longer than the model takes
    conflicts           equal texts with different labels (policy: drop, majority or soft)
    duplicates          equal texts with one label
    near_duplicates     texts with one label that share almost all words (MinHash)
    leakage             texts that stand in another split: dropped from train, never from test

Two texts are equal when their words are: letters and digits, whatever their case and what stands between them.
"""

from __future__ import annotations

import importlib
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.data.clean_settings import CleanSettings
from emolib.data.frames import FRAME, Frame, is_frame
from emolib.data.labels import LabelReader, is_numeric_label
from emolib.data.readers import Columns, find_sources, read_source
from emolib.data.repair import REPAIRS, SIMPLE, repair
from emolib.data.report import CleanReport, RuleCount, find_conflicts
from emolib.data.split import divide
from emolib.data.table import LABELS_FILE, SPLITS, Reject, Table
from emolib.errors import InputError
from emolib.files import atomic_path, storage_errors, write_json, write_text
from emolib.labels import CARER, SEPARATOR, LabelSet

if TYPE_CHECKING:
    import polars as pl

__all__ = ["clean_corpus", "clean_frame"]

#: What a split may not share with: texts of the test go from everywhere else, those of validation from train.
_PRIORITY = ("test", "validation", "train")
_EXAMPLES = 3
#: What a text has that is not its own key: capitals, anything but ASCII letters and digits, or odd spaces.
_NOT_ITS_OWN_KEY = r"[^a-z0-9 ]|  |^ | $|^$"


def clean_corpus(
    sources: Sequence[str | Path | Frame] | str | Path | Frame,
    out: str | Path,
    settings: CleanSettings | None = None,
    *,
    progress: Callable[[str], None] = lambda stage: None,
) -> CleanReport:
    """Read `sources`, clean them, and write the splits and the report into the folder `out`.

    A source is a file, a folder, a hub name, or a table in memory: a DataFrame of pandas or polars, a
    `datasets.Dataset`, or a mapping of splits to these.

    `out` gets train.jsonl, validation.jsonl and test.jsonl (those that have rows; text, label, and soft where
    there is one), labels.json (the label set), rejects.jsonl, report.json and report.html; with `arrow` a `datasets`
    folder too. Files of other
    names in `out` are left alone. Sources named train, validation or test keep their split; the rest is divided.
    `progress` is called with the name of each stage. Raises InputError where no row is left.
    """
    settings = settings or CleanSettings()
    out = Path(out)
    columns = Columns(settings.text_column, settings.label_column)
    progress("reading")
    found = find_sources([sources] if isinstance(sources, str | Path) or is_frame(sources) else sources)
    tables = [table for source in found for table in read_source(source, columns)]
    reader = LabelReader(tables, settings.label_rules)
    frame, rejects, orders, unknown = _frame(tables, reader)
    read = frame.height + len(rejects)
    if frame.is_empty():
        first = f"; the first: {rejects[0].reason} ({rejects[0].file}, line {rejects[0].line})" if rejects else ""
        raise InputError(f"{_named(found)}: no usable row among {read}{first}")
    # Polars leaves the interpreter free, and the plots of the report need matplotlib, which is slow to import.
    threading.Thread(target=importlib.import_module, args=("matplotlib.figure",), daemon=True).start()
    progress("counting what is wrong")
    findings = find_conflicts(frame, reader.labels)
    kept, counts = clean_frame(frame, settings, progress, labels=reader.labels)
    if kept.is_empty():
        raise InputError(f"{_named(found)}: the rules drop every one of the {read} rows; see conflicts")
    report = CleanReport.of(read, rejects, kept, counts, findings, orders, settings, reader.labels, unknown)
    progress("writing")
    _write(kept, rejects, report, out, reader.labels)
    if settings.arrow:
        _write_arrow(kept, out / "arrow", reader.labels)
    return report


def _named(sources: Sequence[str | Path | Frame]) -> str:
    return ", ".join(FRAME if is_frame(source) else str(source) for source in sources)


def clean_frame(
    frame: pl.DataFrame,
    settings: CleanSettings,
    progress: Callable[[str], None] = lambda stage: None,
    *,
    labels: LabelSet = CARER,
) -> tuple[pl.DataFrame, list[RuleCount]]:
    """Apply the rules to a frame with index, split, text, label and soft; what is kept, and a count a rule.

    `split` is null where no official split is known; in what is kept it is always one of the three.
    """
    import polars as pl

    progress("repairing texts")
    frame, counts = _repair(frame, settings)
    frame = frame.with_columns(key=_keys(frame["text"]), pool=pl.col("split").fill_null("train"))
    steps: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
        "empty": lambda rows: rows.filter(pl.col("text").str.len_chars() >= 2),
        "too_long": lambda rows: _without_too_long(rows, settings),
        "conflicts": lambda rows: _without_conflicts(rows, settings.conflicts, labels),
        "duplicates": lambda rows: _first_of_each(rows, ["pool", "key", "label"]),
        "near_duplicates": lambda rows: _without_near_duplicates(rows, settings.near_threshold),
        "leakage": _without_leaks,
    }
    for name, apply in steps.items():
        if name not in settings.rules:
            counts.append(RuleCount(name, on=False))
            continue
        progress(name.replace("_", " "))
        after = apply(frame)
        lost = frame.head(0) if after.height == frame.height else frame.join(after, on="index", how="anti")
        counts.append(RuleCount(name, dropped=lost.height, examples=tuple(lost["text"].head(_EXAMPLES))))
        frame = after
    return divide(frame, settings.validation_share, settings.test_share, settings.seed).sort("index"), counts


def _frame(
    tables: Sequence[Table], reader: LabelReader
) -> tuple[pl.DataFrame, list[Reject], dict[str, str], dict[str, int]]:
    """Return all rows with a known label in one frame, the others as rejects, how each table's labels were read, and
    how many rows have each unknown label."""
    import polars as pl

    frames, rejects, orders = [], [], {}
    counts: Counter[str] = Counter()
    for number, table in enumerate(tables):
        rejects += table.rejects
        meanings, orders[table.name] = reader.meanings(table)
        unknown = {label for label, meaning in meanings.items() if meaning is None}
        frame = pl.DataFrame(
            {
                "source": pl.repeat(number, len(table.texts), dtype=pl.UInt16, eager=True),
                "line": table.lines,
                "split": pl.repeat(table.split, len(table.texts), dtype=pl.String, eager=True),
                "text": table.texts,
                "label": table.labels,
                "soft": _soft_column(table, reader.labels),
            }
        )
        if unknown:
            bad = frame.filter(pl.col("label").is_in(list(unknown)))
            counts.update(label.strip() for label in bad["label"] if not is_numeric_label(label))
            rejects += [
                Reject(table.name, line, text[:200], reader.why_unknown(label, table))
                for line, text, label in zip(bad["line"], bad["text"], bad["label"], strict=True)
            ]
            frame = frame.filter(~pl.col("label").is_in(list(unknown)))
        known = {label: meaning for label, meaning in meanings.items() if meaning is not None}
        frames.append(frame.with_columns(pl.col("label").replace_strict(known, return_dtype=pl.String)))
    return (
        pl.concat(frames).with_row_index("index"),
        sorted(rejects, key=lambda reject: (reject.file, reject.line)),
        orders,
        dict(counts.most_common()),
    )


def _soft_column(table: Table, labels: LabelSet) -> pl.Series:
    import polars as pl

    if not any(table.soft):
        return pl.repeat(None, len(table.texts), dtype=pl.List(pl.Float64), eager=True)
    values = [soft and [float(soft.get(label, 0.0)) for label in labels] for soft in table.soft]
    return pl.Series(values, dtype=pl.List(pl.Float64))


def _repair(frame: pl.DataFrame, settings: CleanSettings) -> tuple[pl.DataFrame, list[RuleCount]]:
    """Repair the texts; those that no rule could change are told by one expression and left alone."""
    import polars as pl

    rules = frozenset(settings.rules) & frozenset(REPAIRS)
    plain = frame["text"].str.contains(SIMPLE) & ~frame["text"].str.contains("(?i)href|http|www")
    places = (~plain).arg_true()
    texts, changed = frame["text"].gather(places).to_list(), dict.fromkeys(REPAIRS, 0)
    examples: dict[str, list[str]] = {name: [] for name in REPAIRS}
    repaired = []
    for text in texts:
        after, names = repair(text, rules)
        repaired.append(after)
        for name in names:
            changed[name] += 1
            if len(examples[name]) < _EXAMPLES:
                examples[name].append(text[:200])
    counts = [
        RuleCount(name, on=name in rules, changed=changed[name], examples=tuple(examples[name])) for name in REPAIRS
    ]
    if not repaired:
        return frame, counts
    text = frame["text"].scatter(places, pl.Series(repaired, dtype=pl.String))
    return frame.with_columns(text=text), counts


def _key(text: pl.Expr) -> pl.Expr:
    """What makes two texts equal: their letters and digits. Texts without any are their own key."""
    import polars as pl

    words = text.str.to_lowercase().str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " ").str.strip_chars()
    return pl.when(words == "").then(text).otherwise(words)


def _keys(texts: pl.Series) -> pl.Series:
    """The key of each text; most texts of a clean corpus are their own, and cost no more than the look."""
    import polars as pl

    others = texts.str.contains(_NOT_ITS_OWN_KEY).arg_true()
    keys = texts.gather(others).to_frame("text").select(_key(pl.col("text")))["text"]
    return texts.scatter(others, keys) if len(others) else texts


def _first_of_each(frame: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """One row for each value of `by`: the one whose text sorts first, whatever the order of the rows."""
    import polars as pl

    shared = frame.select(by).is_duplicated()
    if not shared.any():
        return frame
    first = frame.filter(shared).sort("text", "index").unique(subset=by, keep="first", maintain_order=True)
    return pl.concat([frame.filter(~shared), first]).sort("index")


def _without_too_long(frame: pl.DataFrame, settings: CleanSettings) -> pl.DataFrame:
    import polars as pl

    # A token has at least one byte, so only a text of more bytes than the limit can pass it.
    suspects = frame.filter(pl.col("text").str.len_bytes() > settings.max_tokens)
    if suspects.is_empty():
        return frame
    from emolib.models import load_tokenizer

    tokenizer = load_tokenizer(settings.tokenizer)
    long = [
        index
        for index, text in zip(suspects["index"], suspects["text"], strict=True)
        if len(tokenizer(text, add_special_tokens=False)["input_ids"]) > settings.max_tokens
    ]
    return frame.filter(~pl.col("index").is_in(long))


def _without_conflicts(frame: pl.DataFrame, policy: str, labels: LabelSet) -> pl.DataFrame:
    import polars as pl

    same_text = ["pool", "key"]
    contested = (
        frame.filter(frame.select(same_text).is_duplicated())
        .group_by(same_text)
        .agg(pl.col("label").n_unique().alias("labels"))
        .filter(pl.col("labels") > 1)
    ).select(same_text)
    if contested.is_empty():
        return frame
    calm = frame.join(contested, on=same_text, how="anti")
    disputed = frame.join(contested, on=same_text, how="semi")
    if policy == "drop":
        return calm
    votes = disputed.group_by(*same_text, "label").len("votes")
    top = votes.filter(pl.col("votes") == pl.col("votes").max().over(same_text))
    if policy == "majority":
        winners = top.filter(pl.len().over(same_text) == 1).select(*same_text, "label")
        return pl.concat([calm, disputed.join(winners, on=[*same_text, "label"], how="semi")]).sort("index")
    return pl.concat([calm, _with_soft_labels(disputed, same_text, labels)]).sort("index")


def _with_soft_labels(disputed: pl.DataFrame, same_text: list[str], labels: LabelSet) -> pl.DataFrame:
    """One row a text: the share of each label, and as its label the one with the largest share."""
    import polars as pl

    own = [pl.when(pl.col("label") == label).then(1.0).otherwise(0.0) for label in labels]
    weights = pl.when(pl.col("soft").is_null()).then(pl.concat_list(own)).otherwise(pl.col("soft"))
    rows = disputed.with_columns(soft=weights)
    shares = rows.group_by(same_text).agg(
        pl.concat_list([pl.col("soft").list.get(place).mean() for place in range(len(labels))]).alias("soft")
    )
    first = _first_of_each(rows, same_text).drop("soft", "label").join(shares, on=same_text)
    names = pl.col("soft").list.arg_max().replace_strict(dict(enumerate(labels)), return_dtype=pl.String)
    return first.with_columns(label=names).select(disputed.columns)


def _without_near_duplicates(frame: pl.DataFrame, threshold: float) -> pl.DataFrame:
    import polars as pl

    from emolib.data.near import near_duplicates

    rows = frame.select("index", "key", group=pl.col("pool") + " " + pl.col("label"))
    gone = near_duplicates(rows, threshold)
    return frame.filter(~pl.col("index").is_in(gone)) if gone else frame


def _without_leaks(frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    for place, split in enumerate(_PRIORITY[:-1]):
        held = frame.filter(pl.col("pool") == split).select("key").unique()
        below = pl.col("pool").is_in(_PRIORITY[place + 1 :])
        leaks = frame.filter(below).join(held, on="key", how="semi").select("index")
        frame = frame.join(leaks, on="index", how="anti")
    return frame


def _write(kept: pl.DataFrame, rejects: Sequence[Reject], report: CleanReport, out: Path, labels: LabelSet) -> None:
    import json

    from emolib.data.page import write_page

    for split in SPLITS:
        rows = kept.filter(split=split)
        path = out / f"{split}.jsonl"
        if rows.is_empty():
            path.unlink(missing_ok=True)
        else:
            with atomic_path(path) as temporary:
                _json_rows(rows, labels).write_ndjson(temporary)
    write_json(out / LABELS_FILE, labels.as_dict())
    lines = [json.dumps(reject.__dict__, ensure_ascii=False) + "\n" for reject in rejects]
    write_text(out / "rejects.jsonl", "".join(lines))
    write_page(report, out / "report.html")
    write_json(out / "report.json", report.as_dict())


def _json_rows(rows: pl.DataFrame, labels: LabelSet) -> pl.DataFrame:
    import polars as pl

    if labels.multi_label:
        return rows.select("text", label=pl.col("label").str.split(SEPARATOR))
    if rows["soft"].is_null().all():
        return rows.select("text", "label")
    weights = pl.struct([pl.col("soft").list.get(place).alias(label) for place, label in enumerate(labels)])
    return rows.select("text", "label", soft=pl.when(pl.col("soft").is_null()).then(None).otherwise(weights))


def _write_arrow(kept: pl.DataFrame, folder: Path, labels: LabelSet) -> None:
    """The splits as a `datasets.DatasetDict` on disk."""
    import shutil

    import datasets

    temporary = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    with storage_errors(folder):
        splits: dict[str, Any] = {
            split: datasets.Dataset.from_list(_json_rows(kept.filter(split=split), labels).to_dicts())
            for split in SPLITS
            if not kept.filter(split=split).is_empty()
        }
        datasets.DatasetDict(splits).save_to_disk(temporary)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
