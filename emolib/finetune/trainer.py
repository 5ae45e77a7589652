"""`train`: from a corpus to a run folder with a LoRA adapter in it.

The loop, its checkpoints and its many devices are those of transformers' Trainer (`emolib.finetune.loop`);
the loss, the order of the examples, the evaluation and the guards are ours.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.errors import DeviceError, InputError
from emolib.finetune.run_folder import RunFolder
from emolib.finetune.settings import TrainSettings, preset

if TYPE_CHECKING:
    from emolib.data import Corpus

__all__ = ["TrainingData", "load_training_data", "train"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """What a run trains on, and what it is judged by meanwhile.

    `soft` holds a probability for each label and row, or None; `name`, `sha256` identify the corpus.
    """

    name: str
    sha256: str
    texts: Sequence[str]
    labels: Sequence[str]
    soft: Sequence[Mapping[str, float]] | None
    held_out_texts: Sequence[str]
    held_out_labels: Sequence[str]


def train(
    data: str | Path | Corpus | TrainingData,
    out: str | Path,
    settings: TrainSettings | None = None,
    *,
    validation: str | Path | None = None,
    resume: bool = True,
) -> RunFolder:
    """Fine-tune a LoRA adapter on `data` and return the run folder `out`.

    `data` is a folder made by `emolib clean`, a corpus file, or a corpus. The held-out examples of the
    evaluation are those of `validation`, else of the folder's validation split, else a few of `data`, which
    are then not trained on. `settings` are by default those of the preset that fits this machine.

    With `resume` a run that was stopped goes on to the same weights as one that was not, and a finished one
    is returned as it is; UsageError where `out` holds a run with other settings or data. Without it, `out`
    starts afresh.

    Ctrl-C and SIGTERM save a checkpoint, then raise KeyboardInterrupt. DivergedError where the loss is no
    number, naming the last good checkpoint; StorageError where the disk is full.
    """
    from emolib.finetune.provenance import claim, describe
    from emolib.finetune.storage import readable_failures
    from emolib.models import resolve_base

    settings = settings or preset("auto")
    run = RunFolder(Path(out))
    training_data = load_training_data(data, validation, settings)
    base = resolve_base(settings.base_model)
    fit = _fit
    if settings.engine == "unsloth":
        from emolib.finetune.unsloth import fit_with_unsloth as fit
    with readable_failures(run.path):
        config = describe(settings, base, training_data)
        if claim(run, config, resume=resume):
            fit(run, settings, training_data, config)
    return RunFolder.open(run.path)


def load_training_data(
    data: str | Path | Corpus | TrainingData, validation: str | Path | None, settings: TrainSettings
) -> TrainingData:
    """The rows to train on and the held-out ones, chosen by the seed; InputError where there are none."""
    if isinstance(data, TrainingData):
        return data
    corpus = _load(data, "train")
    if not len(corpus):
        raise InputError(f"the corpus {corpus.name} has no rows to train on; see its report.json and rejects.jsonl")
    held_out = _validation(data, validation) if settings.eval_examples else None
    kept = range(len(corpus))
    shuffle = random.Random(settings.seed)
    if held_out is None:
        order = shuffle.sample(range(len(corpus)), len(corpus))
        size = min(settings.eval_examples, len(corpus) // 10)
        held_out, chosen, kept = corpus, order[:size], sorted(order[size:])
    else:
        chosen = shuffle.sample(range(len(held_out)), min(settings.eval_examples, len(held_out)))
    return TrainingData(
        name=corpus.name,
        sha256=corpus.sha256,
        texts=[corpus.texts[index] for index in kept],
        labels=[corpus.labels[index] for index in kept],
        soft=None if corpus.soft is None else [corpus.soft[index] for index in kept],
        held_out_texts=[held_out.texts[index] for index in chosen],
        held_out_labels=[held_out.labels[index] for index in chosen],
    )


def _load(data: str | Path | Corpus, split: str) -> Corpus:
    if not isinstance(data, (str, Path)):
        return data
    from emolib.data import load_split

    return load_split(data, split)


def _validation(data: str | Path | Corpus, validation: str | Path | None) -> Corpus | None:
    if validation is not None:
        return _load(validation, "validation")
    if isinstance(data, (str, Path)) and (Path(data) / "validation.jsonl").is_file():
        return _load(data, "validation")
    return None


def _fit(run: RunFolder, settings: TrainSettings, data: TrainingData, config: dict[str, Any]) -> None:
    """Load the model, train, and write the adapter; micro-batches that do not fit into memory are halved."""
    from emolib.finetune.checkpoints import last_checkpoint
    from emolib.finetune.loop import Loop, is_out_of_memory

    loop = Loop.prepare(run, settings, data, config)
    while True:
        try:
            loop.run(last_checkpoint(run.checkpoints))
            break
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            smaller = _smaller_micro_batch(loop.settings)
        _log.warning(
            "out of memory: micro-batches of %d examples instead of %d, %d of them a step",
            smaller.batch_size,
            loop.settings.batch_size,
            smaller.accumulation_steps,
        )
        loop = loop.with_settings(smaller)
    loop.save()


def _smaller_micro_batch(settings: TrainSettings) -> TrainSettings:
    if settings.batch_size == 1:
        raise DeviceError(
            "out of memory with one example at a time; choose a smaller base model (--model), load it in 4 bits,"
            " or lower max_length"
        )
    total = settings.effective_batch
    size = next(size for size in range(settings.batch_size // 2, 0, -1) if total % size == 0)
    return settings.replace(batch_size=size, accumulation_steps=total // size)
