"""The face that every task shows to the training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from emolib.data.table import Reject
    from emolib.finetune.objective import PromptLoss
    from emolib.finetune.settings import TrainSettings
    from emolib.prompting.encoding import Example

__all__ = ["Task", "TaskData", "TaskExamples"]


class TaskData(Protocol):
    """The rows of a run: those it trains on, those held out, and those that cannot be used."""

    @property
    def name(self) -> str:
        """The name of the corpus."""

    @property
    def sha256(self) -> str:
        """The hash of the corpus."""

    @property
    def rejects(self) -> Sequence[Reject]:
        """The rows that cannot be used."""

    @property
    def rows(self) -> int:
        """The number of rows to train on."""

    @property
    def held_out_rows(self) -> int:
        """The number of rows to evaluate on during training."""


class TaskExamples(ABC):
    """The rows of a run in tokens: a sequence of `Example`s after one shared prefix."""

    #: Tokens that all examples begin with.
    prefix_ids: tuple[int, ...]
    #: Tokens of each example: batches are sorted by them.
    lengths: Sequence[int]
    #: The rows to evaluate on; empty = no evaluation.
    held_out: Sequence[Any]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Example: ...

    def files(self) -> Mapping[str, str]:
        """Return the texts that inference needs beside the adapter, by the names of their files."""
        return {}

    @abstractmethod
    def evaluate(self, loss: PromptLoss, *, pad_id: int) -> dict[str, float]:
        """Return the metrics of the held-out rows, `eval_loss` (nats per learnt token) among them."""


class Task(Protocol):
    """What a training teaches. Its name stands in the settings, the run folder and the adapter's notes."""

    name: str
    #: The preset of a machine without a GPU.
    cpu_preset: str
    #: Optimiser steps of `emolib train` without --steps (-1 = by epochs).
    default_steps: int
    #: The size of the corpus that `emolib plan` assumes, and the tokens of its longest row.
    planned_rows: int
    planned_tokens: int

    def load(self, data: Any, validation: str | Path | None, settings: TrainSettings) -> TaskData:
        """Return the rows of `data`; InputError if there are none, UsageError if the settings do not fit the task."""

    def examples(self, data: Any, settings: TrainSettings, base: Any, tokenizer: Any) -> TaskExamples:
        """Return the rows of `data` (what `load` returned) in tokens."""

    def notes(self, settings: TrainSettings, data: TaskData) -> dict[str, Any]:
        """Return what inference has to know about an adapter of this task, its name among it."""

    def count_rows(self, data: str | Path) -> int:
        """Return the number of rows in the corpus `data`."""

    def learnt_tokens(self, tokens: int) -> int:
        """Return about how many of a row's `tokens` are learnt with the loss on the response."""
