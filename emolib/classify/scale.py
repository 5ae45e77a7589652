"""Classification on many machines: the classifier as an actor of Ray Data.

    import ray
    from emolib.classify import classify_dataset

    texts = ray.data.read_json("big/")                     # a column "text"
    classify_dataset(texts, workers=8).write_parquet("labels/")

Each worker loads the model once. Ray gives the rows of a worker that dies to another one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emolib.emotions import DEFAULT_EMOTION_MODEL
from emolib.errors import MissingDependency, UsageError

if TYPE_CHECKING:
    from ray.data import Dataset

__all__ = ["ClassifyWorker", "classify_dataset"]

Batch = dict[str, np.ndarray]


class ClassifyWorker:
    """What runs on each worker: batches of rows in, the same rows with their emotions out."""

    def __init__(self, model: str, column: str) -> None:
        from emolib.classify.classifier import EmotionClassifier

        self._classifier = EmotionClassifier.load(model)
        self._column = column

    def __call__(self, batch: Batch) -> Batch:
        """`batch` with `label`, `confidence`, `abstained`, and a probability for each label, a column each."""
        scores = self._classifier.classify([str(text) for text in batch[self._column]])
        found = {
            "label": np.array([one.label for one in scores]),
            "confidence": np.array([one.confidence for one in scores]),
            "abstained": np.array([one.abstained for one in scores]),
            **{label: np.array([one.probabilities[label] for one in scores]) for label in self._classifier.labels},
        }
        return {**batch, **found}


def classify_dataset(
    dataset: Dataset,
    model: str | Path = DEFAULT_EMOTION_MODEL,
    *,
    column: str = "text",
    workers: int = 2,
    batch_size: int = 256,
    **resources: Any,
) -> Dataset:
    """The rows of `dataset` with their emotions, as `ClassifyWorker` adds them; nothing runs until it is read.

    `model` is what `EmotionClassifier.load` takes, and has to be there on every machine. `resources` are what a
    worker needs (`num_gpus=1`, `num_cpus=2`, …). UsageError for an empty pool, MissingDependency without Ray.
    """
    if workers < 1 or batch_size < 1:
        raise UsageError(f"a pool has at least one worker and one row a batch, not {workers} and {batch_size}")
    try:
        from ray.data import ActorPoolStrategy
    except ImportError:
        raise MissingDependency("ray", extra="scale") from None
    return dataset.map_batches(
        ClassifyWorker,
        fn_constructor_args=(str(model), column),
        compute=ActorPoolStrategy(size=workers),
        batch_size=batch_size,
        **resources,
    )
