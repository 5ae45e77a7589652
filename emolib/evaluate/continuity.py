"""Dialogue continuity: what is left of a chat model after fine-tuning, merged into it or switched off.

`conversations.jsonl` holds conversations that were written for this project, in four kinds: a fact said earlier, a
change of topic, a follow-up question, emotional support. Each has its turns (the user's first, the user's last), the
words of which one must stand in a reply that goes on with the conversation (`uses`), and a reply to measure
perplexity on (`reference`).

A model answers them greedily, in its own chat template. Measured are, over its replies:

    format_lock    share of replies that are a bare emotion label: the model has unlearned to talk
    continues      share of replies with one of the conversation's `uses`
    distinct_1, _2 different words and pairs of words, as shares of all (Li et al., 2016)
    repetition     share of four-word sequences that occurred before in the same reply (Welleck et al., 2020)
    words          mean length of a reply
    perplexity     of the reference replies, a token, after their conversations
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.errors import InputError, ModelError
from emolib.files import write_json
from emolib.finetune.run_folder import RunFolder
from emolib.labels import CARER, LabelSet
from emolib.plots import forgetting
from emolib.tables import markdown_table, percent

if TYPE_CHECKING:
    from emolib.emotion_model import EmotionModel

__all__ = [
    "Continuity",
    "Conversation",
    "DialogueScores",
    "answer_three_ways",
    "conversations",
    "dialogue_scores",
    "greedy_replies",
    "measure_continuity",
]

_FILE = Path(__file__).with_name("conversations.jsonl")
_WORD = re.compile(r"\w+(?:'\w+)*")
_BATCH = 16


@dataclass(frozen=True)
class Conversation:
    """A conversation up to the user's last turn, and how a reply to it is judged."""

    kind: str
    turns: tuple[str, ...]
    uses: tuple[str, ...]
    reference: str

    @property
    def messages(self) -> list[dict[str, str]]:
        """The turns as chat messages, the user's and the assistant's in turn."""
        return [{"role": ("user", "assistant")[at % 2], "content": turn} for at, turn in enumerate(self.turns)]

    def continued_by(self, reply: str) -> bool:
        """True if `reply` has one of the words or beginnings of words in `uses`."""
        return any(re.search(rf"(?<!\w){re.escape(word)}", reply, re.IGNORECASE) for word in self.uses)


@dataclass(frozen=True)
class DialogueScores:
    """The figures of one model; see the module. Shares are between 0 and 1."""

    format_lock: float
    continues: float
    distinct_1: float
    distinct_2: float
    repetition: float
    words: float
    perplexity: float


@dataclass(frozen=True)
class Continuity:
    """The base model, the model with the adapter merged into it, and the base with the adapter switched off.

    `switched_equals_base` is the share of conversations that the last answers token for token as the first.
    """

    steps: int
    scores: dict[str, DialogueScores]
    switched_equals_base: float
    replies: dict[str, list[str]]

    def as_dict(self) -> dict[str, Any]:
        """For continuity.json."""
        scores = {
            name: {key: round(value, 4) for key, value in asdict(found).items()} for name, found in self.scores.items()
        }
        return {
            "steps": self.steps,
            "scores": scores,
            "switched_equals_base": self.switched_equals_base,
            "replies": self.replies,
        }

    def table(self) -> str:
        """The figures as a Markdown table, a column a model."""

        def line(title: str, show: Callable[[DialogueScores], str]) -> list[str]:
            return [title, *map(show, self.scores.values())]

        rows = [
            line("replies that are a bare label", lambda found: percent(found.format_lock)),
            line("replies that go on with the conversation", lambda found: percent(found.continues)),
            line("distinct words, pairs", lambda found: f"{found.distinct_1:.2f}, {found.distinct_2:.2f}"),
            line("repeated four-word sequences", lambda found: percent(found.repetition)),
            line("words a reply", lambda found: f"{found.words:.1f}"),
            line("perplexity of reference replies", lambda found: f"{found.perplexity:.1f}"),
        ]
        return (
            markdown_table(["", *self.scores], rows)
            + f"\n\nSwitched off, {percent(self.switched_equals_base)} of the replies equal the base model's token for"
            " token."
        )


def conversations() -> list[Conversation]:
    """The fixed set, in the order of its file."""
    rows = [json.loads(line) for line in _FILE.read_text(encoding="utf-8").splitlines()]
    return [Conversation(row["kind"], tuple(row["turns"]), tuple(row["uses"]), row["reference"]) for row in rows]


def measure_continuity(
    run: str | Path, *, max_new_tokens: int = 48, chosen: Sequence[Conversation] | None = None
) -> Continuity:
    """Hold the conversations with the base, merged and switched model of `run` (a run folder, or an adapter).

    `max_new_tokens` bounds a reply. Into a run folder it writes continuity.json and the figure of what was forgotten.
    InputError if `run` has no adapter; ModelError if the base model has no chat template.
    """
    from emolib.emotion_model import AdapterSource, find_adapter, load_emotion_model

    source = find_adapter(run)
    if source.adapter is None:
        raise InputError(f"{run} is a base model without an adapter: there is nothing to compare; name a run folder")
    chosen = list(chosen or conversations())
    base = load_emotion_model(AdapterSource(source.base, None))
    tuned = load_emotion_model(source)
    models = (
        ("base", base, nullcontext),
        ("merged", tuned, nullcontext),
        ("switched off", tuned, tuned.without_adapter),
    )
    scores, tokens = {}, {}
    for name, loaded, context in models:
        tokens[name] = greedy_replies(loaded, chosen, context, max_new_tokens)
        texts = loaded.tokenizer.batch_decode(tokens[name], skip_special_tokens=True)
        scores[name] = dialogue_scores(chosen, texts, _perplexity(loaded, chosen, context), source.labels)
    same = [ours == theirs for ours, theirs in zip(tokens["switched off"], tokens["base"], strict=True)]
    replies = {name: base.tokenizer.batch_decode(ids, skip_special_tokens=True) for name, ids in tokens.items()}
    result = Continuity(_steps(source.adapter), scores, sum(same) / len(same), replies)
    if (Path(run) / "adapter").is_dir():
        folder = RunFolder.open(run)
        write_json(folder.path / "continuity.json", result.as_dict())
        forgetting([result.as_dict()]).save(folder.figures)
    return result


def answer_three_ways(model: str | Path, message: str, *, max_new_tokens: int = 40) -> dict[str, str]:
    """Return the greedy replies to one chat message: of the base model, with the adapter merged, and switched off.

    InputError if `model` has no adapter; ModelError if its base has no chat template.
    """
    from emolib.emotion_model import find_adapter, load_emotion_model

    source = find_adapter(model)
    if source.adapter is None:
        raise InputError(f"{model} is a base model without an adapter: there is nothing to compare; name a run folder")
    asked = [Conversation("own", (message,), (), "")]
    base = load_emotion_model(replace(source, adapter=None))
    ids = {"base model": greedy_replies(base, asked, max_new_tokens=max_new_tokens)}
    del base  # a GPU may not hold both
    tuned = load_emotion_model(source)
    ids["adapter switched off"] = greedy_replies(tuned, asked, tuned.without_adapter, max_new_tokens)
    # Last, because merging changes the weights in place.
    ids["adapter merged"] = greedy_replies(tuned.merged(), asked, max_new_tokens=max_new_tokens)
    return {name: tuned.tokenizer.decode(found[0], skip_special_tokens=True) for name, found in ids.items()}


def dialogue_scores(
    chosen: Sequence[Conversation], replies: Sequence[str], perplexity: float, labels: LabelSet = CARER
) -> DialogueScores:
    """Return the figures of N replies to N conversations; `labels` are those that a model may answer with instead."""
    words = [_WORD.findall(reply.lower()) for reply in replies]
    locked = [labels.find(reply.strip().strip(".!\"'")) is not None for reply in replies]
    continued = [talk.continued_by(reply) for talk, reply in zip(chosen, replies, strict=True)]
    return DialogueScores(
        format_lock=_share(locked),
        continues=_share(continued),
        distinct_1=_distinct([_grams(reply, 1) for reply in words]),
        distinct_2=_distinct([_grams(reply, 2) for reply in words]),
        repetition=1 - _distinct_within([_grams(reply, 4) for reply in words]),
        words=sum(map(len, words)) / len(words),
        perplexity=perplexity,
    )


def greedy_replies(
    loaded: EmotionModel,
    chosen: Sequence[Conversation],
    context: Callable[[], AbstractContextManager[None]] = nullcontext,
    max_new_tokens: int = 48,
) -> list[list[int]]:
    """The tokens of a greedy reply to each conversation, without what ends it; `context` switches the adapter."""
    import torch

    prompts = [_prompt_ids(loaded, talk) for talk in chosen]
    end = loaded.encoder.end_id
    replies: list[list[int]] = []
    for start in range(0, len(prompts), _BATCH):
        batch = prompts[start : start + _BATCH]
        longest = max(map(len, batch))
        ids = torch.tensor([[end] * (longest - len(prompt)) + prompt for prompt in batch])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in batch])
        with torch.inference_mode(), context():
            output = loaded.model.generate(
                input_ids=ids.to(loaded.model.device),
                attention_mask=mask.to(loaded.model.device),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                eos_token_id=end,
                pad_token_id=end,
            )
        new = output[:, longest:].tolist()
        replies += [reply[: reply.index(end)] if end in reply else reply for reply in new]
    return replies


def _perplexity(
    loaded: EmotionModel, chosen: Sequence[Conversation], context: Callable[[], AbstractContextManager[None]]
) -> float:
    """exp of the mean cross-entropy of the reference replies' tokens, each after its conversation."""
    import torch
    from torch.nn.functional import cross_entropy

    total, count = 0.0, 0
    for talk in chosen:
        prompt = _prompt_ids(loaded, talk)
        reply = loaded.tokenizer(talk.reference, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([prompt + reply], device=loaded.model.device)
        with torch.inference_mode(), context():
            logits = loaded.model(input_ids=ids, use_cache=False, logits_to_keep=len(reply) + 1).logits[0, :-1]
        total += cross_entropy(logits.float(), ids[0, -len(reply) :], reduction="sum").item()
        count += len(reply)
    return math.exp(total / count)


def _prompt_ids(loaded: EmotionModel, talk: Conversation) -> list[int]:
    if not loaded.tokenizer.chat_template:
        raise ModelError(f"{loaded.source.base} has no chat template: it cannot hold a conversation; use a chat model")
    return loaded.tokenizer.apply_chat_template(talk.messages, add_generation_prompt=True, return_dict=False)


def _steps(adapter: Path) -> int:
    log = adapter.parent / "log.jsonl"
    if not log.is_file():
        return 0
    return max((json.loads(line).get("step", 0) for line in log.read_text(encoding="utf-8").splitlines()), default=0)


def _grams(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]


def _distinct(replies: Sequence[Sequence[tuple[str, ...]]]) -> float:
    every = [gram for reply in replies for gram in reply]
    return len(set(every)) / len(every) if every else 0.0


def _distinct_within(replies: Sequence[Sequence[tuple[str, ...]]]) -> float:
    total = sum(map(len, replies))
    return sum(len(set(reply)) for reply in replies) / total if total else 1.0


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values)
