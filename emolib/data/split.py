"""Dividing texts into train, validation and test: stratified, grouped, and the same for every order of the rows."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

__all__ = ["divide"]


def divide(frame: pl.DataFrame, validation_share: float, test_share: float, seed: int) -> pl.DataFrame:
    """`frame` with a split in every row.

    Rows with an official split keep it. The others all become train where the sources bring a test or a
    validation split; where they bring none, the shares are drawn from each label by a hash of `seed` and `key`,
    so that equal texts stay together.
    """
    import polars as pl

    free = frame["split"].is_null()
    official = set(frame["split"].drop_nulls().unique())
    if not free.any() or official & {"validation", "test"}:
        return frame.with_columns(pl.col("split").fill_null("train"))
    groups = frame.filter(free).group_by("key").agg(pl.col("label").min())
    draws = [_draw(key, seed) for key in groups["key"]]
    groups = groups.with_columns(draw=pl.Series(draws, dtype=pl.UInt64)).sort("label", "draw", "key")
    place, size = pl.int_range(pl.len()).over("label"), pl.len().over("label")
    tests = (size * test_share).round().cast(pl.Int64)
    validations = (size * validation_share).round().cast(pl.Int64)
    split = (
        pl.when(place < tests)
        .then(pl.lit("test"))
        .when(place < tests + validations)
        .then(pl.lit("validation"))
        .otherwise(pl.lit("train"))
    )
    drawn = groups.with_columns(drawn=split).select("key", "drawn")
    joined = frame.join(drawn, on="key", how="left", maintain_order="left")
    return joined.with_columns(split=pl.coalesce("split", "drawn")).drop("drawn")


def _draw(key: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed} {key}".encode(), digest_size=8).digest())
