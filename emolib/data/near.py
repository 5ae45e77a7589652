"""Near-duplicates: texts that share almost all of their words and word pairs.

MinHash signatures come from rensa. Texts whose signatures agree in a band are candidates; those whose whole
signatures agree about as often as near-duplicates' do are compared exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

__all__ = ["near_duplicates", "similarity"]

#: Values of a signature that have to agree for two texts to be candidates.
_BAND_ROWS = 4
#: Of the pairs at the threshold, the share that the bands may miss.
_MISSED = 0.001
#: Neighbours in a bucket that are looked at before all of a larger bucket counts as suspicious.
_NEIGHBOURS = 32
_CHUNK = 20_000
_ROUNDING = 1e-9
_SEED = 1


def near_duplicates(frame: pl.DataFrame, threshold: float) -> list[int]:
    """The rows of `frame` (its column `index`) that are near-duplicates of a row that stays.

    `frame` has `index`, `key` (the normalised text) and `group` (rows are compared within a group only). Rows are
    taken in the order of their keys, and each is compared with those that stay. The similarity is Jaccard's, over
    words and pairs of neighbouring words; from `threshold` on two texts are near-duplicates. The number of bands
    follows the threshold: of the pairs exactly there 99 % are found, of those above more.
    """
    if frame.height < 2:
        return []
    signatures = _Signatures.of(frame, threshold)
    suspicious = frame.select("index", "key").with_row_index("place").filter(_suspicious(frame, signatures, threshold))
    kept: dict[tuple[int, int], list[int]] = {}
    keys: dict[int, str] = {}
    gone = []
    for place, index, key in suspicious.sort("key", "index").rows():
        near = signatures.near(place, kept)
        if any(similarity(keys[other], key) >= threshold for other in near):
            gone.append(index)
            continue
        keys[place] = key
        for bucket in signatures.buckets(place):
            kept.setdefault(bucket, []).append(place)
    return gone


def similarity(left: str, right: str) -> float:
    """Jaccard's similarity of the words and word pairs of two texts, in [0, 1]."""
    a, b = _shingles(left), _shingles(right)
    return len(a & b) / len(a | b) if a or b else 1.0


def _shingles(text: str) -> set[str | tuple[str, str]]:
    words = text.split()
    return {*words, *pairwise(words)}


@dataclass(frozen=True)
class _Signatures:
    """MinHash signatures [N, values], the bucket of each text in each band [bands, N], and what counts as near.

    Two texts may be near-duplicates where `agreeing` values of their signatures are the same.
    """

    values: np.ndarray
    bands: np.ndarray
    agreeing: float

    @classmethod
    def of(cls, frame: pl.DataFrame, threshold: float) -> _Signatures:
        import numpy as np

        number = _bands_for(threshold)
        size = number * _BAND_ROWS
        values = np.empty((frame.height, size), dtype=np.uint32)
        for start in range(0, frame.height, _CHUNK):
            values[start : start + _CHUNK] = _signatures(frame["key"].slice(start, _CHUNK), size)
        groups = frame["group"].rank("dense").to_numpy().astype(np.uint64)
        bands = np.empty((number, frame.height), dtype=np.uint64)
        for band, bucket in enumerate(bands):
            bucket[:] = groups
            for column in range(band * _BAND_ROWS, (band + 1) * _BAND_ROWS):
                bucket[:] = (bucket ^ values[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        # Values agree like coin tosses that come up `threshold` of the time: three deviations are left as room.
        spread = math.sqrt(threshold * (1 - threshold) / size)
        return cls(values, bands, (threshold - 3 * spread) * size)

    def buckets(self, place: int) -> list[tuple[int, int]]:
        """What the text at `place` is filed under: a band and the number of its bucket in it."""
        return list(enumerate(self.bands[:, place].tolist()))

    def near(self, place: int, filed: dict[tuple[int, int], list[int]]) -> list[int]:
        """The texts of `filed` that may be near-duplicates of the one at `place`."""
        import numpy as np

        others = {other for bucket in self.buckets(place) for other in filed.get(bucket, ())}
        if not others:
            return []
        candidates = np.fromiter(others, dtype=np.int64, count=len(others))
        return candidates[self.agree(candidates, place)].tolist()

    def agree(self, left: np.ndarray, right: np.ndarray | int) -> np.ndarray:
        """True where the signatures at `left` and at `right` agree often enough."""
        return (self.values[left] == self.values[right]).sum(axis=1) >= self.agreeing


def _bands_for(threshold: float) -> int:
    """How many bands two texts of similarity `threshold` need to agree in one of them, but for _MISSED."""
    agree = threshold**_BAND_ROWS
    return 1 if agree == 1 else math.ceil(math.log(_MISSED) / math.log(1 - agree))


def _suspicious(frame: pl.DataFrame, signatures: _Signatures, threshold: float) -> np.ndarray:
    """True [N] for each text that has a near-duplicate, or stands in a bucket too large to tell."""
    import numpy as np
    import polars as pl

    found = np.zeros(frame.height, dtype=bool)
    pairs = []
    for buckets in signatures.bands:
        order = np.argsort(buckets, kind="stable")
        ordered = buckets[order]
        left = np.arange(len(order))
        for distance in range(1, _NEIGHBOURS + 2):
            left = left[left + distance < len(order)]
            left = left[ordered[left] == ordered[left + distance]]
            alike = signatures.agree(order[left], order[left + distance])
            pairs.append(np.stack([order[left[alike]], order[left[alike] + distance]]))
        for distance in range(_NEIGHBOURS + 2):
            found[order[left + distance]] = True
    left, right = np.sort(np.concatenate(pairs, axis=1), axis=0)
    for some in pl.DataFrame({"left": left, "right": right}).unique().iter_slices(_CHUNK):
        found[_near_pairs(frame["key"], some, threshold).to_numpy().ravel()] = True
    return found


def _near_pairs(keys: pl.Series, pairs: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """Those of `pairs` of places (columns left and right) whose texts are at least `threshold` similar."""
    import numpy as np
    import polars as pl

    places = pl.concat([pairs["left"], pairs["right"]]).unique()
    tokens, offsets = _tokens(keys.gather(places))
    owners = np.repeat(places.to_numpy(), np.diff(offsets.astype(np.int64)))
    sets = pl.DataFrame({"place": owners, "token": tokens}).unique().group_by("place").agg("token")
    sets = sets.with_columns(size=pl.col("token").list.len())
    sizes = sets.select("place", "size")
    pairs = pairs.join(sizes, left_on="left", right_on="place").join(sizes, left_on="right", right_on="place")
    smaller, larger = pl.min_horizontal("size", "size_right"), pl.max_horizontal("size", "size_right")
    pairs = pairs.filter(smaller / larger >= threshold - _ROUNDING)
    pairs = pairs.join(sets, left_on="left", right_on="place", suffix="_of_left")
    pairs = pairs.join(sets, left_on="right", right_on="place", suffix="_of_right")
    shared = pl.col("token").list.set_intersection("token_of_right").list.len()
    similar = shared / (pl.col("size") + pl.col("size_right") - shared) >= threshold - _ROUNDING
    return pairs.filter(similar).select("left", "right")


def _signatures(keys: pl.Series, size: int) -> np.ndarray:
    """MinHash signatures [texts, size] of words and word pairs."""
    import numpy as np
    from rensa import RMinHash

    matrix = RMinHash.digest_matrix_from_flat_token_hashes(*_tokens(keys), size, _SEED)
    return np.fromiter(chain.from_iterable(matrix.to_rows()), dtype=np.uint32).reshape(-1, size)


def _tokens(keys: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the words and word pairs of all texts in a row, and where each text begins (and the last ends)."""
    import numpy as np

    words = keys.str.split(" ")
    lengths = words.list.len().to_numpy().astype(np.int64)
    hashes = words.explode().hash(seed=_SEED).to_numpy()
    tokens = np.empty(2 * len(hashes), dtype=np.uint64)
    tokens[0::2] = hashes
    tokens[1:-1:2] = (hashes[:-1] * np.uint64(0xD6E8FEB86659FD93)) ^ hashes[1:]
    # Behind each word stands its pair with the next one; the last word of a text has none.
    whole = np.ones(len(tokens), dtype=bool)
    whole[2 * np.cumsum(lengths) - 1] = False
    return tokens[whole], np.concatenate([[0], np.cumsum(2 * lengths - 1)]).astype(np.uint64)
