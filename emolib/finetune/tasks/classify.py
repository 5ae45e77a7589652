"""The task `classify`: a label after the text, in the instruction prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.finetune.tasks.base import TaskExamples
from emolib.finetune.training_data import TrainingData, load_training_data
from emolib.prompting.encoding import Example, PromptEncoder, collate, end_token_id, pad_texts
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
            tokenizer,
            get_prompt(settings.prompt, data.label_set),
            end_id=end_token_id(base, tokenizer),
            labels=data.label_set,
            max_length=settings.max_length,
        )
        return ClassifyExamples(data, encoder, loss_on=settings.loss_on)

    def notes(self, settings: TrainSettings, data: TrainingData) -> dict[str, Any]:
        """Return the task, the name of its prompt template, and the label set."""
        return {"task": self.name, "prompt": settings.prompt, "labels": data.label_set.as_dict()}

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
        return self.encoder.soft_example(text, self._weights(index), loss_on=self.loss_on)

    def _weights(self, index: int) -> Mapping[str, float]:
        if self.data.soft is not None:
            return self.data.soft[index]
        return self.data.label_set.weights(self.data.labels[index])

    def evaluate(self, loss: PromptLoss, *, pad_id: int) -> dict[str, float]:
        """Return the cross-entropy per response token, and how often the best label is one of the text's.

        The prefix is run once for all held-out texts.
        """
        import torch

        from emolib.prompting.prefix import run_prefix

        model, rows = loss.model, self._held_out_rows()
        rows.sort(key=lambda row: len(row.text))
        total = weight = hits = 0.0
        was_training = model.training
        model.eval()
        with torch.no_grad():
            prefix = run_prefix(model, self.prefix_ids)
            for start in range(0, len(rows), _BATCH):
                batch = rows[start : start + _BATCH]
                losses, weights, right = self._judge(model, prefix, batch, pad_id)
                total += losses
                weight += weights
                hits += right
        model.train(was_training)
        texts = len(self.held_out)
        return {"eval_loss": total / weight, "eval_accuracy": hits / texts, "eval_examples": texts}

    def _held_out_rows(self) -> list[_HeldOut]:
        """Return the held-out texts, once for each of their labels."""
        rows = []
        for text, written in zip(self.data.held_out_texts, self.data.held_out_labels, strict=True):
            labels = self.data.label_set.labels_of(written)
            rows += [_HeldOut(text, label, labels) for label in labels]
        return rows

    def _judge(self, model: Any, prefix: Any, rows: Sequence[_HeldOut], pad_id: int) -> tuple[float, float, float]:
        """Return the summed loss of a batch, its weight, and the texts whose best label is one of theirs."""
        import torch
        from torch.nn.functional import cross_entropy

        from emolib.prompting.prefix import head, label_scores, run_suffixes

        examples = [self.encoder.example(row.text, row.label) for row in rows]
        device = prefix.hidden.device
        batch = {name: tensor.to(device) for name, tensor in collate(examples, pad_id=pad_id).items()}
        hidden = run_suffixes(model, prefix, batch["input_ids"])
        logits = head(model, hidden[batch["target_rows"], batch["target_at"]]).float()
        losses = cross_entropy(logits, batch["target_ids"], reduction="none")
        shares = torch.tensor([1.0 / len(row.labels) for row in rows], device=device)
        weights = batch["target_weights"] * shares[batch["target_rows"]]
        if self.encoder.trie.forks:
            trunks = [example.input_ids[: example.branches.count(0)] for example in examples]
            scores = label_scores(model, self.encoder, prefix, *pad_texts(trunks, pad_id=pad_id))
            best = scores.argmax(axis=1).tolist()
        else:
            starts = torch.tensor([0, *[len(example.target_ids) for example in examples[:-1]]]).cumsum(0)
            best = logits[starts][:, list(self.encoder.trie.first_ids)].argmax(-1).tolist()
        names = self.encoder.labels.names
        pairs = zip(best, rows, strict=True)
        hits = sum((names[place] in row.labels) / len(row.labels) for place, row in pairs)
        return (losses * weights).sum().item(), weights.sum().item(), hits


@dataclass(frozen=True)
class _HeldOut:
    """A held-out text with one of its labels."""

    text: str
    label: str
    labels: tuple[str, ...]
