"""The examples of a run and the order in which they are seen."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from torch.utils.data import Dataset, Sampler

from emolib.prompting.encoding import Example, PromptEncoder

__all__ = ["Examples", "LengthBuckets"]

#: Batches that are sorted by length together: more of them waste less padding, fewer are more random.
_BATCHES_IN_A_BUCKET = 50


class Examples(Dataset):
    """Texts with hard or soft labels, turned into tokens when they are asked for."""

    def __init__(
        self,
        texts: Sequence[str],
        labels: Sequence[str],
        soft: Sequence[Mapping[str, float]] | None,
        encoder: PromptEncoder,
        *,
        loss_on: str,
    ) -> None:
        self.texts = texts
        self.labels = labels
        self.soft = soft
        self.encoder = encoder
        self.loss_on = loss_on

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> Example:
        if self.soft is not None:
            return self.encoder.soft_example(self.texts[index], self.soft[index], loss_on=self.loss_on)
        return self.encoder.example(self.texts[index], self.labels[index], loss_on=self.loss_on)


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
