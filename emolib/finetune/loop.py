"""The training loop: transformers' Trainer with our loss, order, evaluation, checkpoints and guards."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from accelerate import PartialState
from transformers import TrainingArguments
from transformers.trainer_callback import PrinterCallback

from emolib.errors import EmolibError, ModelError
from emolib.files import write_json
from emolib.finetune.checkpoints import load_adapter_weights, save_adapter, write_adapter
from emolib.finetune.objective import PromptLoss, verify
from emolib.finetune.precision import Precision, keep_precision
from emolib.finetune.recorder import Recorder
from emolib.finetune.run_folder import RunFolder
from emolib.finetune.sampling import LengthBuckets
from emolib.finetune.settings import TrainSettings
from emolib.finetune.tasks import get_task
from emolib.prompting.encoding import collate, end_token_id
from emolib.quiet import quiet_transformers

if TYPE_CHECKING:
    from emolib.finetune.tasks.base import TaskData, TaskExamples

__all__ = ["DivergedError", "Loop", "is_out_of_memory", "stop_signals"]

_log = logging.getLogger(__name__)

#: Examples of the first batch with which the shared prefix is held against whole prompts.
_VERIFIED_EXAMPLES = 4


class DivergedError(EmolibError):
    """The loss or the gradient is no longer a number."""


@dataclass
class Loop:
    """One training: the model with its adapter, what it learns from, and where it writes."""

    run_folder: RunFolder
    settings: TrainSettings
    data: TaskData
    config: dict[str, Any]
    model: Any
    pad_id: int
    examples: TaskExamples
    precision: Precision
    initial: dict[str, torch.Tensor]

    @classmethod
    def prepare(cls, run_folder: RunFolder, settings: TrainSettings, data: TaskData, config: dict[str, Any]) -> Loop:
        """Load the base model and put a fresh adapter on it, by the seed."""
        from emolib.finetune.adapters import add_adapter, load_trainable_base, start_from

        device = "cuda" if torch.cuda.is_available() else "cpu"
        device = "cuda" if settings.load_in_4bit else device
        precision = keep_precision(config.get("precision"), settings.dtype, device)
        with quiet_transformers():
            base, tokenizer = load_trainable_base(settings, precision)
        examples = get_task(settings.task).examples(data, settings, base, tokenizer)
        model = add_adapter(base, settings, config["base_model"]["name"])
        if settings.start_from:
            start_from(model, settings.start_from, config["base_model"])
        trainable = {name: p.detach().cpu().clone() for name, p in model.named_parameters() if p.requires_grad}
        config = {
            **config,
            "precision": {"dtype": precision.dtype, "reason": precision.reason},
            "parameters": {
                "trainable": sum(tensor.numel() for tensor in trainable.values()),
                "base": sum(p.numel() for p in model.parameters()) - sum(t.numel() for t in trainable.values()),
            },
        }
        pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end_token_id(base, tokenizer)
        return cls(run_folder, settings, data, config, model, pad_id, examples, precision, trainable)

    @property
    def is_main_process(self) -> bool:
        """True on the one process that writes files."""
        return PartialState().is_main_process

    def with_settings(self, settings: TrainSettings) -> Loop:
        """The same training from its start under `settings`."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if name in self.initial:
                    parameter.copy_(self.initial[name])
                    parameter.grad = None
        return replace(self, settings=settings)

    def run(self, checkpoint: Path | None) -> None:
        """Train from `checkpoint`, or from the start, to the end."""
        transformers.set_seed(self.settings.seed)
        with quiet_transformers():
            loss = PromptLoss(
                self.model,
                self.examples.prefix_ids,
                loss_on=self.settings.loss_on,
                shared=self.settings.engine in ("auto", "prefix") and self.settings.lora_dropout == 0,
            )
            trainer = _Trainer(self, loss)
            if loss.shared:
                loss.shared = self._shared_prefix_holds(trainer)
            if self.settings.gradient_checkpointing and not loss.shared:
                self.model.gradient_checkpointing_enable({"use_reentrant": False})
            self._record_engine(loss.shared)
            with stop_signals() as stop:
                trainer.train_until(stop, checkpoint)
        if stop.is_set():
            raise KeyboardInterrupt

    def save(self) -> None:
        """Write the trained adapter, with what inference has to know about it, into the run folder."""
        task = get_task(self.settings.task)
        notes = {
            "base_model": self.config["base_model"],
            "load_in_4bit": self.settings.load_in_4bit,
            **task.notes(self.settings, self.data),
        }
        if self.is_main_process:
            save_adapter(self.model, self.run_folder.adapter, notes, self.examples.files())
        PartialState().wait_for_everyone()

    def _record_engine(self, shared: bool) -> None:
        self.config["engine"] = "prefix" if shared else "plain"
        self.config["micro_batch"] = [self.settings.batch_size, self.settings.accumulation_steps]
        if self.is_main_process:
            write_json(self.run_folder.config_path, self.config)

    def _shared_prefix_holds(self, trainer: _Trainer) -> bool:
        """Whether the shared prefix gives this model's own loss and gradient; says so where it does not."""
        count = min(_VERIFIED_EXAMPLES, len(trainer.train_dataset))
        examples = [trainer.train_dataset[index] for _, index in zip(range(count), trainer.sampler, strict=False)]
        batch = {name: t.to(trainer.args.device) for name, t in collate(examples, pad_id=self.pad_id).items()}
        try:
            with trainer.accelerator.autocast():
                result = verify(
                    self.model,
                    self.examples.prefix_ids,
                    batch,
                    loss_on=self.settings.loss_on,
                    dtype=self.precision.dtype,
                )
        except ModelError as error:
            _log.warning("%s: training goes on with whole prompts", error)
            return False
        self.config["verification"] = {
            "loss_error": result.loss_error,
            "gradient_error": result.gradient_error,
            "tolerance": result.tolerance,
        }
        if not result.passed:
            _log.warning(
                "the shared prefix does not fit this model (relative error of the loss %.1e, of the gradient %.1e,"
                " allowed %.0e): training goes on with whole prompts",
                result.loss_error,
                result.gradient_error,
                result.tolerance,
            )
        return result.passed


class _Trainer(transformers.Trainer):
    """transformers' Trainer over a `PromptLoss`."""

    def __init__(self, loop: Loop, loss: PromptLoss) -> None:
        self.loop = loop
        self.prompt_loss = loss
        settings, examples = loop.settings, loop.examples
        super().__init__(
            model=loss,
            args=_arguments(loop),
            data_collator=lambda batch: collate(batch, pad_id=loop.pad_id),
            train_dataset=examples,
            eval_dataset=examples.held_out,
        )
        self.model_accepts_loss_kwargs = True
        self.remove_callback(PrinterCallback)
        step_examples = settings.effective_batch * self.args.world_size
        self.sampler = LengthBuckets(examples.lengths, step_examples, settings.seed)

    def train_until(self, stop: threading.Event, checkpoint: Path | None) -> None:
        """Train; `stop` ends it after the step in hand, with a checkpoint."""
        self.add_callback(Recorder(self.loop.run_folder, self.loop.settings, self.loop.config, stop, self.sampler))
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return the task's metrics of the held-out examples."""
        with self.accelerator.autocast():
            metrics = self.loop.examples.evaluate(self.prompt_loss, pad_id=self.loop.pad_id)
        self.log(metrics)
        # What transformers' own evaluate ends with: it takes the wish to evaluate back.
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def training_step(self, *arguments: Any, **options: Any) -> torch.Tensor:
        loss = super().training_step(*arguments, **options)
        if not torch.isfinite(loss):
            raise self._diverged("loss", float(loss))
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        # Before the optimiser's step, so that no checkpoint ever holds a weight that is no number. With
        # float16 the gradient scaler meets infinite gradients by design, and skips their step.
        if not self.args.fp16 and not math.isfinite(float(norm)):
            raise self._diverged("gradient norm", float(norm))
        return norm

    def _diverged(self, what: str, value: float) -> DivergedError:
        from emolib.finetune.checkpoints import last_checkpoint

        good = last_checkpoint(self.loop.run_folder.checkpoints)
        kept = f"the last good checkpoint is {good}" if good else "there is no checkpoint yet"
        return DivergedError(
            f"the {what} is {value} at step {self.state.global_step + 1}; {kept}. Lower the learning rate"
            f" ({self.args.learning_rate:g}) and train again with --no-resume"
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthBuckets:
        return self.sampler

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> torch.Tensor:
        items = sum(self.model.items(batch) for batch in batch_samples).to(device)
        return self.accelerator.gather(items).sum() if self.args.world_size > 1 else items

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        write_adapter(self.loop.model, Path(output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_adapter_weights(self.loop.model, Path(resume_from_checkpoint))


def _arguments(loop: Loop) -> TrainingArguments:
    settings, cuda = loop.settings, torch.cuda.is_available()
    evaluates = bool(loop.data.held_out_rows)
    return TrainingArguments(
        output_dir=str(loop.run_folder.checkpoints),
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation_steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup" if settings.schedule == "constant" else settings.schedule,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        optim=settings.optimizer if cuda else "adamw_torch",
        max_steps=settings.max_steps,
        num_train_epochs=settings.epochs,
        seed=settings.seed,
        bf16=loop.precision.dtype == "bfloat16",
        fp16=loop.precision.dtype == "float16",
        use_cpu=not cuda,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=settings.checkpoint_steps,
        save_total_limit=2,
        eval_strategy="steps" if evaluates and settings.eval_steps else "no",
        eval_steps=settings.eval_steps or None,
        eval_on_start=False,
        remove_unused_columns=False,
        dataloader_pin_memory=cuda,
        ddp_find_unused_parameters=False,
        report_to="none",
        disable_tqdm=True,
    )


def is_out_of_memory(error: BaseException) -> bool:
    """True for CUDA's and the CPU allocator's way of saying that memory is short."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; a second Ctrl-C interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
