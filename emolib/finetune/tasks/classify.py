"""The task `classify`: one of six labels after the text, in the instruction prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.finetune.tasks.base import TaskExamples
from emolib.finetune.training_data import TrainingData, load_training_data
from emolib.prompting.encoding import Example, PromptEncoder, collate, end_token_id
from emolib.prompting.templates import get_prompt

if TYPE_CHECKING:
    from emolib.data import Corpus
    from emolib.finetune.objective import PromptLoss
    from emolib.finetune.settings import TrainSettings

__all__ = ["ClassifyExamples", "ClassifyTask"]

_BATCH = 32


@dataclass(frozen=True)
class ClassifyTask:
    """Teaches the label of a text (a `Task`)."""

    name: str = "classify"
    cpu_preset: str = "cpu"
    default_steps: int = 60
    planned_rows: int = 16_000
    planned_tokens: int = 128

    def load(
        self, data: str | Path | Corpus | TrainingData, validation: str | Path | None, settings: TrainSettings
    ) -> TrainingData:
        """Return the texts and labels of a folder made by `emolib clean`, a corpus file, or a corpus."""
        return load_training_data(data, validation, settings)

    def examples(self, data: TrainingData, settings: TrainSettings, base: Any, tokenizer: Any) -> ClassifyExamples:
        """Return the texts and labels in tokens."""
        encoder = PromptEncoder(
            tokenizer, get_prompt(settings.prompt), end_id=end_token_id(base, tokenizer), max_length=settings.max_length
        )
        return ClassifyExamples(data, encoder, loss_on=settings.loss_on)

    def notes(self, settings: TrainSettings) -> dict[str, Any]:
        """Return the task and the name of its prompt template."""
        return {"task": self.name, "prompt": settings.prompt}

    def count_rows(self, data: str | Path) -> int:
        """Return the number of texts in `data`."""
        from emolib.data import load_split

        return len(load_split(data))

    def learnt_tokens(self, tokens: int) -> int:
        """Return 2: the label and the end token."""
        return 2


class ClassifyExamples(TaskExamples):
    """Texts with hard or soft labels, turned into tokens when they are asked for."""

    def __init__(self, data: TrainingData, encoder: PromptEncoder, *, loss_on: str) -> None:
        self.data = data
        self.encoder = encoder
        self.loss_on = loss_on
        self.prefix_ids = encoder.prefix_ids
        self.lengths = encoder.token_counts(data.texts)
        self.held_out = data.held_out_texts

    def __len__(self) -> int:
        return len(self.data.texts)

    def __getitem__(self, index: int) -> Example:
        text = self.data.texts[index]
        if self.data.soft is not None:
            return self.encoder.soft_example(text, self.data.soft[index], loss_on=self.loss_on)
        return self.encoder.example(text, self.data.labels[index], loss_on=self.loss_on)

    def evaluate(self, loss: PromptLoss, *, pad_id: int) -> dict[str, float]:
        """Return the cross-entropy per response token and the accuracy of the best first label token.

        The prefix is run once for all held-out texts.
        """
        import torch

        from emolib.prompting.prefix import run_prefix

        texts, labels, model = self.data.held_out_texts, self.data.held_out_labels, loss.model
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        total = weight = 0.0
        correct = 0
        was_training = model.training
        model.eval()
        with torch.no_grad():
            prefix = run_prefix(model, self.prefix_ids)
            for start in range(0, len(order), _BATCH):
                chosen = order[start : start + _BATCH]
                examples = [self.encoder.example(texts[index], labels[index]) for index in chosen]
                loss_of_batch, hits = self._judge(model, prefix, examples, [labels[index] for index in chosen], pad_id)
                total += loss_of_batch
                correct += hits
                weight += sum(sum(example.target_weights) for example in examples)
        model.train(was_training)
        return {"eval_loss": total / weight, "eval_accuracy": correct / len(order), "eval_examples": len(order)}

    def _judge(
        self, model: Any, prefix: Any, examples: Sequence[Example], labels: Sequence[str], pad_id: int
    ) -> tuple[float, int]:
        """The summed loss of a batch, and how many of its labels are predicted."""
        import torch
        from torch.nn.functional import cross_entropy

        from emolib.prompting.prefix import head, run_suffixes

        device = prefix.hidden.device
        batch = {name: tensor.to(device) for name, tensor in collate(examples, pad_id=pad_id).items()}
        hidden = run_suffixes(model, prefix, batch["input_ids"])
        logits = head(model, hidden[batch["target_rows"], batch["target_at"]]).float()
        losses = cross_entropy(logits, batch["target_ids"], reduction="none")
        starts = torch.tensor([0, *[len(example.target_ids) for example in examples[:-1]]]).cumsum(0)
        best = logits[starts][:, list(self.encoder.first_label_ids)].argmax(-1).tolist()
        hits = sum(self.encoder.labels[index] == label for index, label in zip(best, labels, strict=True))
        return (losses * batch["target_weights"]).sum().item(), hits
