"""The two sides of benchmarks.training, each in a process of its own: seconds a step, and the peak memory in MB."""

from __future__ import annotations

import random
import resource
import sys
import time
from pathlib import Path
from typing import Any

from emolib.data import Corpus
from emolib.finetune import TrainSettings, preset, train
from emolib.finetune.training_data import TrainingData

#: Steps of TRL before its clock starts, and steps that are timed, by batch size.
WARM_UP, TIMED = 2, {8: 16, 32: 5}


def rows(path: Path, count: int) -> tuple[list[str], list[str]]:
    """`count` rows, drawn from a fixed seed."""
    lines = path.read_text(encoding="utf-8").splitlines()
    drawn = [line.rpartition(";")[::2] for line in random.Random(3407).sample(lines, count)]
    return [text for text, _ in drawn], [label for _, label in drawn]


def settings(batch: int, steps: int, dtype: str = "float32") -> TrainSettings:
    """The same for both sides, but for the number of steps."""
    return preset(
        "cpu", dtype=dtype, batch_size=batch, max_steps=steps, warmup_steps=0, eval_steps=0, eval_examples=0,
        checkpoint_steps=10_000, tracking="off",
    )  # fmt: skip


def prefix_side(folder: Path, data: Path, batch: int, count: int, dtype: str) -> float:
    """Two passes over `count` rows, the second timed: batches of short and of long texts come in their proportion."""
    texts, labels = rows(data, count)
    corpus = Corpus("carer", texts, labels)
    given = TrainingData(corpus.name, corpus.sha256, texts, labels, None, [], [])
    steps = count // batch
    run = train(given, folder / f"prefix-{batch}-{dtype}", settings(batch, 2 * steps, dtype), resume=False)
    assert run.config["engine"] == "prefix", run.config
    ends = [line["seconds"] for line in run.log if "loss" in line]
    return (ends[-1] - ends[steps - 1]) / steps


def trl_side(folder: Path, data: Path, batch: int, count: int) -> float:
    """Random batches of the same rows, which are all alike: a few of them after a warm-up are timed."""
    chosen = settings(batch, WARM_UP + TIMED[batch])
    ends = timed_steps(sft_trainer(folder / f"trl-{batch}", *rows(data, count), chosen))
    return (ends[-1] - ends[WARM_UP - 1]) / TIMED[batch]


def timed_steps(trainer: Any) -> list[float]:
    """Train, and the seconds of a clock at the end of each step."""
    from transformers import TrainerCallback

    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    trainer.add_callback(Clock())
    trainer.train()
    return ends


def sft_trainer(folder: Path, texts: list[str], labels: list[str], chosen: TrainSettings) -> Any:
    """TRL's trainer over prompts and completions, the loss on the completion, with PEFT's adapter."""
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from emolib.finetune.adapters import add_adapter, load_trainable_base
    from emolib.finetune.precision import choose_precision
    from emolib.prompting.encoding import end_token_id
    from emolib.prompting.templates import get_prompt

    cuda = torch.cuda.is_available()
    precision = choose_precision(chosen.dtype, "cuda" if cuda else "cpu")
    model, tokenizer = load_trainable_base(chosen, precision)
    prompt = get_prompt(chosen.prompt)
    config = SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=chosen.batch_size,
        gradient_accumulation_steps=chosen.accumulation_steps,
        max_steps=chosen.max_steps,
        learning_rate=chosen.learning_rate,
        warmup_steps=0,
        weight_decay=chosen.weight_decay,
        max_length=chosen.max_length,
        completion_only_loss=True,
        eos_token=tokenizer.convert_ids_to_tokens(end_token_id(model, tokenizer)),
        gradient_checkpointing=chosen.gradient_checkpointing,
        optim=chosen.optimizer,
        bf16=precision.dtype == "bfloat16",
        fp16=precision.dtype == "float16",
        use_cpu=not cuda,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=chosen.seed,
    )
    prompts = [prompt.render(text.strip()) for text in texts]
    return SFTTrainer(
        model=add_adapter(model, chosen, chosen.base_model),
        args=config,
        train_dataset=Dataset.from_dict({"prompt": prompts, "completion": labels}),
        processing_class=tokenizer,
    )


def gradient_errors(folder: Path, data: Path, batch: int) -> list[float]:
    """Relative distance of the gradients, and of the losses, of the first `batch` rows under both sides."""
    import torch

    from emolib.finetune.objective import PromptLoss
    from emolib.prompting.encoding import PromptEncoder, collate, end_token_id
    from emolib.prompting.templates import get_prompt

    trainer = sft_trainer(folder / "gradient", *rows(data, batch), settings(batch, 1))
    model = trainer.model
    with torch.no_grad():  # a fresh adapter's second matrices are 0, and so would be half of the gradient
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.01, generator=torch.Generator().manual_seed(0))
    texts, labels = rows(data, batch)
    encoder = PromptEncoder(
        trainer.processing_class,
        get_prompt("paper"),
        end_id=end_token_id(model, trainer.processing_class),
        max_length=512,
    )
    ours = PromptLoss(model, encoder.prefix_ids, loss_on="response", shared=True)
    examples = [encoder.example(text, label) for text, label in zip(texts[:batch], labels[:batch], strict=True)]
    theirs = trainer.data_collator([trainer.train_dataset[index] for index in range(batch)])

    def gradient(loss: Any) -> tuple[Any, float]:
        model.zero_grad()
        loss.backward()
        parts = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        return torch.cat(parts).clone(), loss.item()

    mine, my_loss = gradient(ours(**collate(examples, pad_id=0))["loss"])
    other, other_loss = gradient(trainer.compute_loss(model, theirs))
    return [float((mine - other).norm() / other.norm()), abs(my_loss - other_loss) / abs(other_loss)]


def main(side: str, folder: Path, data: Path, batch: int, count: int) -> None:
    output = sys.stdout
    sys.stdout = sys.stderr  # both trainers print their log lines
    if side == "gradient":
        found = gradient_errors(folder, data, batch)
    else:
        if side == "trl":
            seconds = trl_side(folder, data, batch, count)
        else:
            seconds = prefix_side(folder, data, batch, count, "bfloat16" if side == "bfloat16" else "float32")
        found = [seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]
    print(*found, file=output)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
