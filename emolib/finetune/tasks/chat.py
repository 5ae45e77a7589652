"""The task `chat`: the assistant's turns of conversations, in the base model's own chat template."""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.errors import InputError, UsageError
from emolib.finetune.tasks.base import TaskExamples
from emolib.finetune.training_data import hold_out
from emolib.prompting.chat import CHAT_SYSTEM
from emolib.prompting.chat_encoding import ChatEncoder, ChatTokens, chat_example, common_prefix
from emolib.prompting.encoding import Example, collate

if TYPE_CHECKING:
    from emolib.data import ConversationCorpus
    from emolib.data.table import Reject
    from emolib.finetune.objective import PromptLoss
    from emolib.finetune.settings import TrainSettings

__all__ = ["ChatData", "ChatExamples", "ChatTask"]

_log = logging.getLogger(__name__)

_BATCH = 8
#: The file beside the adapter with the conversations that examples come from.
_EXAMPLES = "examples.jsonl"
#: Of the messages in training, the share without an example. A model has to do without one where nothing resembles.
_NO_EXAMPLE = 0.15
#: Which of the exchanges that resemble a message is shown, in training: to somebody else's message the nearest is less
#: near than to one that was written for the same corpus.
_NEAREST = (1, 1, 2, 3)


@dataclass(frozen=True)
class ChatData:
    """Conversations in tokens, those to train on and those held out, and the rows that cannot be used.

    `examples` are the conversations as JSON lines, if exchanges of them are shown to the model.
    """

    name: str
    sha256: str
    conversations: Sequence[ChatTokens]
    held_out: Sequence[ChatTokens]
    rejects: Sequence[Reject] = ()
    examples: str = ""

    @property
    def rows(self) -> int:
        """The number of conversations to train on."""
        return len(self.conversations)

    @property
    def held_out_rows(self) -> int:
        """The number of conversations to evaluate on."""
        return len(self.held_out)


@dataclass(frozen=True)
class ChatTask:
    """Teaches the assistant's turns of conversations (a `Task`)."""

    name: str = "chat"
    cpu_preset: str = "companion"
    default_steps: int = -1
    planned_rows: int = 1_200
    planned_tokens: int = 256

    def load(
        self,
        data: str | Path | ConversationCorpus | ChatData,
        validation: str | Path | None,
        settings: TrainSettings,
    ) -> ChatData:
        """Return the conversations of a JSON lines file in tokens (`emolib.data.conversations` has the format).

        ModelError if the base model has no chat template, UsageError for the engine unsloth, InputError if no
        conversation is left to train on.
        """
        if isinstance(data, ChatData):
            return data
        if settings.engine == "unsloth":
            raise UsageError("the engine unsloth trains the task classify only; use engine=auto for chat")
        from emolib.data import load_conversations
        from emolib.models import load_tokenizer

        corpus = load_conversations(data)
        other = load_conversations(validation) if validation is not None and settings.eval_examples else None
        written = _json_lines(corpus) if settings.examples else ""
        if settings.examples:
            corpus, other = _with_examples(corpus, other, settings.seed)
        encoder = ChatEncoder(load_tokenizer(settings.base_model), settings.base_model, max_length=settings.max_length)
        conversations, rejects = _encode(corpus, encoder)
        others, more = _encode(other, encoder) if other else (None, [])
        kept, held_out = hold_out(conversations, others, settings)
        return ChatData(corpus.name, corpus.sha256, kept, held_out, [*rejects, *more], written)

    def examples(self, data: ChatData, settings: TrainSettings, base: Any, tokenizer: Any) -> ChatExamples:
        """Return the conversations after the tokens that all of them begin with."""
        return ChatExamples(data, loss_on=settings.loss_on)

    def notes(self, settings: TrainSettings, data: ChatData) -> dict[str, Any]:
        """Return the task and the system message that the adapter is trained under."""
        notes = {"task": self.name, "system": CHAT_SYSTEM}
        return notes | ({"examples": _EXAMPLES} if settings.examples else {})

    def count_rows(self, data: str | Path) -> int:
        """Return the number of conversations in `data` that can be used."""
        from emolib.data import load_conversations

        return len(load_conversations(data))

    def learnt_tokens(self, tokens: int) -> int:
        """Return half of the tokens: what the assistant says is about as long as what it is told."""
        return math.ceil(tokens / 2)


class ChatExamples(TaskExamples):
    """Conversations as examples: each one sequence, with the loss on the assistant's turns."""

    def __init__(self, data: ChatData, *, loss_on: str) -> None:
        self.data = data
        self.loss_on = loss_on
        self.prefix_ids = common_prefix([*data.conversations, *data.held_out])
        self.lengths = [len(tokens) for tokens in data.conversations]
        self.held_out = data.held_out

    def __len__(self) -> int:
        return len(self.data.conversations)

    def files(self) -> Mapping[str, str]:
        """Return the conversations that examples come from, if the model is shown any."""
        return {_EXAMPLES: self.data.examples} if self.data.examples else {}

    def __getitem__(self, index: int) -> Example:
        return chat_example(self.data.conversations[index], len(self.prefix_ids), loss_on=self.loss_on)

    def evaluate(self, loss: PromptLoss, *, pad_id: int) -> dict[str, float]:
        """Return cross-entropy per token of the held-out replies, and perplexity, its exponential."""
        import torch

        rows = sorted(self.held_out, key=len)
        examples = [chat_example(tokens, len(self.prefix_ids)) for tokens in rows]
        total = 0.0
        device = next(loss.parameters()).device
        was_training = loss.training
        loss.eval()
        with torch.no_grad():
            for start in range(0, len(examples), _BATCH):
                batch = collate(examples[start : start + _BATCH], pad_id=pad_id)
                batch = {name: tensor.to(device) for name, tensor in batch.items()}
                total += loss.total(batch, loss_on="response").item()
        loss.train(was_training)
        mean = total / sum(len(example.target_ids) for example in examples)
        return {"eval_loss": mean, "eval_perplexity": math.exp(min(mean, 700.0)), "eval_examples": len(examples)}


def _with_examples(
    corpus: ConversationCorpus, other: ConversationCorpus | None, seed: int
) -> tuple[ConversationCorpus, ConversationCorpus | None]:
    """Return both with examples: exchanges of `corpus` that resemble a message, from other conversations."""
    from emolib.reply_examples import ReplyExamples

    known = ReplyExamples(corpus.conversations, seed=seed)
    chance = random.Random(seed)
    shown = []
    for number, conversation in enumerate(corpus.conversations):
        found = []
        for message in conversation:
            if message.role == "user" and message.example is None and chance.random() >= _NO_EXAMPLE:
                said = {earlier.content for earlier in found if earlier.role == "assistant"}
                nth = chance.choice(_NEAREST)
                example = known.find(message.content, message.emotion, besides=said, outside=number, nth=nth)
                message = replace(message, example=example)
            found.append(message)
        shown.append(tuple(found))
    others = other and [tuple(known.attached(conversation)) for conversation in other.conversations]
    return replace(corpus, conversations=shown), other and replace(other, conversations=others)


def _json_lines(corpus: ConversationCorpus) -> str:
    rows = (
        {"messages": [{**message.as_dict(), "emotion": message.emotion} for message in conversation]}
        for conversation in corpus.conversations
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _encode(corpus: ConversationCorpus, encoder: ChatEncoder) -> tuple[list[ChatTokens], list[Reject]]:
    """The conversations of `corpus` in tokens, and its rejects with those that the encoder refuses."""
    from emolib.data.table import Reject

    rows, rejects = [], list(corpus.rejects)
    for line, conversation in zip(corpus.lines, corpus.conversations, strict=True):
        try:
            rows.append(encoder.encode(conversation))
        except InputError as problem:
            rejects.append(Reject(corpus.name, line, conversation[0].content[:200], str(problem)))
    rejects.sort(key=lambda reject: reject.line)
    if not rows:
        raise InputError(
            f"{corpus.name} has no conversation that can be trained on (line {rejects[0].line}: {rejects[0].reason})"
        )
    _warn(corpus.name, len(rows), rejects, sum(tokens.cut for tokens in rows))
    return rows, rejects


def _warn(name: str, rows: int, rejects: Sequence[Reject], cut: int) -> None:
    if rejects:
        first = rejects[0]
        _log.warning(
            "%s: %d of %d rows cannot be used and are left out, the first on line %d: %s",
            name,
            len(rejects),
            rows + len(rejects),
            first.line,
            first.reason,
        )
    if cut:
        _log.warning("%s: %d exchanges at the end of long conversations pass max_length and are left out", name, cut)
