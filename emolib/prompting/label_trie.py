"""The labels' tokens as a tree: which decisions lead to a label.

The model writes a label token by token. Among labels whose first tokens differ, the first token decides. Labels that
begin with the same tokens (`disgust`, `disapproval`) are told apart where they part: at a *fork*. The score of a label
is that of its first token plus, at each fork on its way, the log-probability of its token among those that lead on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Fork", "LabelTrie"]


@dataclass(frozen=True)
class Fork:
    """Where labels part after the tokens `path`: `tokens` are the next ones, `branch_of` says whose is which.

    `branch_of[k]` is the place in `tokens` of the way that label k goes, or -1 if it does not come by.
    """

    path: tuple[int, ...]
    tokens: tuple[int, ...]
    branch_of: tuple[int, ...]


@dataclass(frozen=True)
class LabelTrie:
    """The first tokens of K labels, the place of each label's among them, and the forks after them."""

    first_ids: tuple[int, ...]
    first_of: tuple[int, ...]
    forks: tuple[Fork, ...]

    @classmethod
    def of(cls, label_ids: Sequence[Sequence[int]], end_id: int) -> LabelTrie:
        """Return the tree of labels as tokens; `end_id` ends a label, which tells it from a longer one."""
        ways = [(*ids, end_id) for ids in label_ids]
        first_ids = tuple(dict.fromkeys(way[0] for way in ways))
        paths = dict.fromkeys(way[:depth] for way in ways for depth in range(1, len(way)))
        forks = []
        for path in paths:
            nexts = [way[len(path)] if way[: len(path)] == path else None for way in ways]
            tokens = tuple(dict.fromkeys(token for token in nexts if token is not None))
            if len(tokens) > 1:
                forks.append(Fork(path, tokens, tuple(-1 if t is None else tokens.index(t) for t in nexts)))
        return cls(first_ids, tuple(first_ids.index(way[0]) for way in ways), tuple(forks))

    def scores(self, first: np.ndarray, forks: Sequence[np.ndarray]) -> np.ndarray:
        """Return the scores [N, K] of the labels, equal to log-probabilities up to a constant per row.

        `first` [N, F] are the logits of `first_ids`, `forks[i]` [N, T] those of the tokens of fork i.
        """
        if not self.forks:
            return first
        scores = first[:, list(self.first_of)].astype(np.float32)
        for fork, logits in zip(self.forks, forks, strict=True):
            shares = _log_softmax(logits)
            for label, branch in enumerate(fork.branch_of):
                if branch >= 0:
                    scores[:, label] += shares[:, branch]
        return scores


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
