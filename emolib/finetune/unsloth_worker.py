"""The process in which Unsloth trains: FastLanguageModel in 4 bits and TRL's SFTTrainer.

    python -m emolib.finetune.unsloth_worker FOLDER

FOLDER holds `job.json`, which `emolib.finetune.unsloth` wrote; an error is left there as `error.json`. Nothing imports
transformers before Unsloth, which rewrites it. The evaluation lines of the log carry `eval_loss` only.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emolib.errors import EmolibError
from emolib.files import write_json
from emolib.finetune.run_folder import RunFolder
from emolib.finetune.settings import TrainSettings
from emolib.finetune.training_data import TrainingData
from emolib.labels import LabelSet

__all__ = ["conversations", "total_steps", "train_here"]


def train_here(run: RunFolder, settings: TrainSettings, data: TrainingData, config: dict[str, Any]) -> None:
    """Train `run` with Unsloth in this process, and write its log; KeyboardInterrupt if it was stopped."""
    from unsloth import FastLanguageModel

    from emolib.finetune.adapters import start_from
    from emolib.finetune.checkpoints import last_checkpoint, save_adapter
    from emolib.finetune.loop import stop_signals
    from emolib.finetune.precision import keep_precision
    from emolib.finetune.recorder import Recorder
    from emolib.finetune.tasks import get_task

    precision = keep_precision(config.get("precision"), settings.dtype, "cuda")
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=_weights(settings),
        max_seq_length=settings.max_length,
        dtype=precision.torch_dtype,
        load_in_4bit=settings.load_in_4bit,
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=settings.lora_rank,
        target_modules=list(settings.target_modules),
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        bias="none",
        use_gradient_checkpointing="unsloth" if settings.gradient_checkpointing else False,
        random_state=settings.seed,
    )
    model.peft_config["default"].base_model_name_or_path = config["base_model"]["name"]
    if settings.start_from:
        start_from(model, settings.start_from, config["base_model"])
    config = {
        **config,
        "engine": "unsloth",
        "precision": {"dtype": precision.dtype, "reason": precision.reason},
        "parameters": {"trainable": sum(p.numel() for p in model.parameters() if p.requires_grad)},
    }
    write_json(run.config_path, config)
    trainer = _trainer(run, settings, data, model, tokenizer, precision.dtype)
    checkpoint = last_checkpoint(run.checkpoints)
    with stop_signals() as stop:
        trainer.add_callback(Recorder(run, settings, config, stop, followed=False))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if stop.is_set():
        raise KeyboardInterrupt
    notes = {"load_in_4bit": settings.load_in_4bit, **get_task(settings.task).notes(settings, data)}
    save_adapter(model, run.adapter, {"base_model": config["base_model"], **notes})


def _weights(settings: TrainSettings) -> str:
    """Return what Unsloth is to load: the folder of the weights, or of a hub model that is not here yet its id.

    For 4 bits Unsloth takes its own copy in 4 bits by that id, a third of the download.
    """
    from emolib.models import model_folder, resolve_base

    base = resolve_base(settings.base_model)
    if settings.load_in_4bit and base.where is None and base.hub_id:
        return base.hub_id
    return str(model_folder(base))


def total_steps(data: TrainingData, settings: TrainSettings) -> int:
    """The optimiser steps of a training on `data`."""
    if settings.max_steps != -1:
        return settings.max_steps
    rows = len(conversations(data, settings, ""))
    return math.ceil(rows * settings.epochs / settings.effective_batch)


def conversations(data: TrainingData, settings: TrainSettings, end: str) -> list[dict[str, str]]:
    """The rows as TRL takes them: prompt and completion, or one text where the loss is on all of it.

    A soft label, which TRL cannot take, becomes its most probable label, and a text with several labels a row for each.
    """
    labels = data.labels if data.soft is None else [max(row, key=lambda label: row[label]) for row in data.soft]
    return _rows(data.texts, labels, data.label_set, settings, end)


def _rows(
    texts: Sequence[str], labels: Sequence[str], label_set: LabelSet, settings: TrainSettings, end: str
) -> list[dict[str, str]]:
    from emolib.prompting.templates import get_prompt

    prompt = get_prompt(settings.prompt, label_set)
    rows = [
        (prompt.render(text.strip()), label + end)
        for text, written in zip(texts, labels, strict=True)
        for label in label_set.labels_of(written)
    ]
    if settings.loss_on == "all":
        return [{"text": before + after} for before, after in rows]
    return [{"prompt": before, "completion": after} for before, after in rows]


def _trainer(
    run: RunFolder, settings: TrainSettings, data: TrainingData, model: Any, tokenizer: Any, dtype: str
) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = conversations(data, settings, tokenizer.eos_token)
    held_out = _rows(data.held_out_texts, data.held_out_labels, data.label_set, settings, tokenizer.eos_token)
    return SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(held_out) if held_out else None,
        args=SFTConfig(
            output_dir=str(run.checkpoints),
            per_device_train_batch_size=settings.batch_size,
            per_device_eval_batch_size=settings.batch_size,
            gradient_accumulation_steps=settings.accumulation_steps,
            eval_strategy="steps" if held_out and settings.eval_steps else "no",
            eval_steps=settings.eval_steps or None,
            learning_rate=settings.learning_rate,
            lr_scheduler_type=settings.schedule,
            warmup_steps=settings.warmup_steps,
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
            optim=settings.optimizer,
            max_steps=total_steps(data, settings),
            max_length=settings.max_length,
            completion_only_loss=settings.loss_on == "response",
            bf16=dtype == "bfloat16",
            fp16=dtype == "float16",
            seed=settings.seed,
            logging_steps=1,
            logging_nan_inf_filter=False,
            save_steps=settings.checkpoint_steps,
            save_total_limit=2,
            report_to="none",
            disable_tqdm=True,
        ),
    )


def main(folder: Path) -> int:
    """Do the job in `folder`; the exit status."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    job["settings"]["target_modules"] = tuple(job["settings"]["target_modules"])
    labels = LabelSet.from_dict(job["data"].pop("label_set"))
    data = TrainingData(**job["data"], label_set=labels)
    try:
        train_here(RunFolder(Path(job["run"])), TrainSettings(**job["settings"]), data, job["config"])
    except KeyboardInterrupt:
        return 130
    except EmolibError as error:
        write_json(folder / "error.json", {"kind": type(error).__name__, "message": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
