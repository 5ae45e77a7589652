"""`train`: from a corpus to a run folder with a LoRA adapter in it.

The loop, its checkpoints and its many devices are those of transformers' Trainer (`emolib.finetune.loop`);
the loss, the order of the examples, the evaluation and the guards are ours.
"""

from __future__ import annotations

import gc
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.errors import DeviceError
from emolib.finetune.presets import preset
from emolib.finetune.run_folder import RunFolder
from emolib.finetune.settings import TrainSettings
from emolib.finetune.tasks import get_task

if TYPE_CHECKING:
    from emolib.data import ConversationCorpus, Corpus
    from emolib.data.frames import Frame
    from emolib.finetune.tasks.base import TaskData
    from emolib.finetune.tasks.chat import ChatData
    from emolib.finetune.training_data import TrainingData

__all__ = ["train"]

_log = logging.getLogger(__name__)


def train(
    data: str | Path | Corpus | TrainingData | ConversationCorpus | ChatData | Frame,
    out: str | Path,
    settings: TrainSettings | None = None,
    *,
    validation: str | Path | None = None,
    resume: bool = True,
) -> RunFolder:
    """Fine-tune a LoRA adapter on `data` and return the run folder `out`.

    `data` is a folder made by `emolib clean`, a corpus file, a corpus, or a DataFrame (`load_split`); for the task
    `chat` a JSON lines file of conversations (`emolib.data.conversations`), or such a corpus. The held-out examples of
    the evaluation are those of `validation`, else of the validation split of `data`, else a few of `data`, which are
    then not trained on. `settings` are by default those of the preset that fits this machine. Rows that cannot be used
    are written to `rejects.jsonl` in the run folder.

    With `resume` a run that was stopped goes on to the same weights as one that was not, and a finished one
    is returned as it is, or goes on if more steps are asked for (the learning rate then follows the schedule of
    all of them). UsageError where `out` holds a run with other settings or data, or no run. Without it, the run in
    `out` starts afresh.

    Ctrl-C and SIGTERM save a checkpoint, then raise KeyboardInterrupt. DivergedError where the loss is no
    number, naming the last good checkpoint; StorageError where the disk is full.
    """
    from emolib.finetune.provenance import claim, describe
    from emolib.finetune.storage import readable_failures
    from emolib.models import resolve_base

    settings = settings or preset("auto")
    run = RunFolder(Path(out))
    training_data = get_task(settings.task).load(data, validation, settings)
    base = resolve_base(settings.base_model)
    fit = _fit
    if settings.engine == "unsloth":
        from emolib.finetune.unsloth import fit_with_unsloth as fit
    with readable_failures(run.path):
        config = describe(settings, base, training_data)
        if claim(run, config, resume=resume):
            run.write_rejects(training_data.rejects)
            fit(run, settings, training_data, config)
            _release_memory()
    return RunFolder.open(run.path)


def _release_memory() -> None:
    """Free the model of the training, which its trainer keeps in a circle, so that the evaluation has the GPU."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _fit(run: RunFolder, settings: TrainSettings, data: TaskData, config: dict[str, Any]) -> None:
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
