"""The order in which the examples of a run are seen."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

__all__ = ["LengthBuckets"]

#: Batches that are sorted by length together: more of them waste less padding, fewer are more random.
_BATCHES_IN_A_BUCKET = 50


class LengthBuckets(Sampler[int]):
    """A shuffled order of `lengths`' indices in which neighbours are about as long as each other.

    The order is a function of `seed` and the epoch (`set_epoch`) alone. `batch_size` counts the examples of
    an optimiser step on all devices, so that micro-batches and devices can be split in any way without a
    step seeing other examples.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of `epoch`; the training loop calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        shuffle = random.Random(f"{self.seed}/{self.epoch}")
        order = list(range(len(self.lengths)))
        shuffle.shuffle(order)
        batches = []
        size = self.batch_size * _BATCHES_IN_A_BUCKET
        for start in range(0, len(order), size):
            bucket = sorted(order[start : start + size], key=lambda index: self.lengths[index])
            batches += [bucket[at : at + self.batch_size] for at in range(0, len(bucket), self.batch_size)]
        # A short batch comes last, so that no step in the middle straddles two batches.
        whole = [batch for batch in batches if len(batch) == self.batch_size]
        shuffle.shuffle(whole)
        for batch in [*whole, *(batch for batch in batches if len(batch) < self.batch_size)]:
            yield from batch
