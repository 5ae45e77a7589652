"""Data sets of the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from emolib.data.columns import Columns, find_columns
from emolib.data.frames import class_names
from emolib.data.rows import label_text
from emolib.data.table import Table
from emolib.errors import InputError, MissingDependency, StorageError
from emolib.hub import LOG_IN, NO_SPACE_FOR_HUB, hub_is_offline, hub_problem

__all__ = ["is_hub_name", "read_hub"]

_NAME = re.compile(r"[\w-]+/[\w.-]+(:[\w.-]+)?")


def is_hub_name(source: str) -> bool:
    """Return whether `source` is `owner/name` or `owner/name:configuration`, and does not end like a file."""
    return bool(_NAME.fullmatch(source)) and not re.fullmatch(r"\.[a-z]{2,7}", Path(source).suffix.lower())


def read_hub(source: str) -> list[Table]:
    """Read every split of the data set `source`.

    CARER's `unsplit` configuration holds the rows of its `split` one, so its test and validation splits are
    read beside it and cleaning takes them out. Raises InputError within 5 s if the hub does not answer.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependency("the package datasets", extra="train") from error
    name, _, configuration = source.partition(":")
    # If the hub is switched off, datasets answers from its own cache.
    offline = datasets.config.HF_DATASETS_OFFLINE or hub_is_offline()
    if not offline and (problem := hub_problem()):
        raise InputError(
            f"{source} cannot be downloaded ({problem}); give a file of the corpus, or use the sample corpus"
        )
    try:
        loaded = datasets.load_dataset(name, configuration or None)
        tables = [_table(source, split, rows) for split, rows in loaded.items()]
        if name == "dair-ai/emotion" and configuration == "unsplit":
            official = datasets.load_dataset(name, "split")
            tables = [_table(source, None, loaded["train"])]
            tables += [_table(f"{name}:split", split, official[split]) for split in ("validation", "test")]
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        if any(sign in str(error) for sign in ("No space left", "Not enough disk space")):
            raise StorageError(NO_SPACE_FOR_HUB.format(datasets.config.HF_DATASETS_CACHE)) from error
        if "gated" in str(error):
            raise InputError(f"the data set {name} is gated: accept its licence on its page, then {LOG_IN}") from error
        raise InputError(
            f"the hub has no data set {source} that can be loaded ({str(error).splitlines()[0]})"
        ) from error
    return tables


def _table(source: str, split: str | None, rows: Any) -> Table:
    import polars as pl

    text, label = _columns(source, list(rows.features))
    return Table(
        f"{source}/{split or 'all'}",
        split,
        pl.Series(range(1, len(rows) + 1), dtype=pl.UInt32),
        pl.Series(list(rows[text]), dtype=pl.String),
        pl.Series([label_text(written) or "" for written in rows[label]], dtype=pl.String),
        label_names=class_names(rows.features[label]),
    )


def _columns(source: str, names: list[str]) -> tuple[str, str]:
    found = find_columns(source, names, Columns())
    if found is None:
        raise InputError(f"{source} has the columns {', '.join(names)}, none of them for text and label")
    return names[found[0]], names[found[1]]
