"""Turning texts and labels into tokens: a constant prefix, and a suffix for each text.

The prompt is `prefix + text + bridge + label`. The prefix is the same for every text, so it is tokenised
once and run once (`emolib.prompting.prefix`); each text becomes a *suffix*: its own tokens, those of
the bridge, and those of its label with the end token.

    prefix_ids   [P]            shared by all
    suffix       [text … bridge … label … end]; the last token is a target only and is never run

A soft label (a probability for each label) hangs one *branch* for each label with weight on the same
text; a branch sees the prefix, the text and itself (`Example.branches`), so the loss is exactly the
weighted mean of the losses of the label sequences, at the price of a few tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emolib.errors import InputError, ModelError, UsageError
from emolib.labels import CARER, LabelSet
from emolib.prompting.label_trie import LabelTrie
from emolib.prompting.templates import Prompt

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Example", "PromptEncoder", "collate", "end_token_id", "pad_texts"]

#: What the prefix is tried with when its tokens are fixed: starts of texts that a tokenizer may join to it.
_PROBES = ("a", "A", "1", ".", "é", "(", '"')


@dataclass(frozen=True)
class Example:
    """One text with its label as tokens to run and targets to predict.

    `input_ids[i]` is run at position `prefix length + positions[i]` and belongs to `branches[i]`: 0 for the
    text, k ≥ 1 for the k-th label. Target j is token `target_ids[j]`, predicted by the token at
    `target_at[j]` (-1: by the last token of the prefix), with weight `target_weights[j]`.
    """

    input_ids: tuple[int, ...]
    positions: tuple[int, ...]
    branches: tuple[int, ...]
    target_at: tuple[int, ...]
    target_ids: tuple[int, ...]
    target_weights: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.input_ids)


def end_token_id(model: Any, tokenizer: Any) -> int:
    """The token that ends a response: the model's first end token, else the tokenizer's.

    The model's configuration comes first because tokenizers read from GGUF files name the wrong one.
    """
    for source in (getattr(model, "generation_config", None), getattr(model, "config", None), tokenizer):
        found = getattr(source, "eos_token_id", None)
        if found is not None:
            return int(found[0]) if isinstance(found, (list, tuple)) else int(found)
    raise ModelError("the model names no end-of-text token; set eos_token_id in its configuration")


class PromptEncoder:
    """Tokens of one prompt under one tokenizer.

    `prefix_ids` are the constant tokens, `label_ids[label]` the tokens of each label without the end token,
    `trie` the decisions that lead to a label, `end_id` the token that ends a response. Texts are stripped of white
    space at both ends: it carries nothing, and it could be joined to the prefix's last token.

    Raises ModelError if two labels are the same tokens, or if a label's tokens depend on what stands before it.
    """

    def __init__(
        self, tokenizer: Any, prompt: Prompt, *, end_id: int, labels: LabelSet = CARER, max_length: int = 2048
    ) -> None:
        self.tokenizer = tokenizer
        self.prompt = prompt
        self.labels = labels
        self.max_length = max_length
        self.end_id = end_id
        self.prefix_ids: tuple[int, ...] = self._find_prefix()
        self.label_ids: dict[str, tuple[int, ...]] = {label: self._find_label(label) for label in self.labels}
        self._refuse_equal_labels()
        self.trie = LabelTrie.of(list(self.label_ids.values()), end_id)
        longest_label = max(len(ids) for ids in self.label_ids.values())
        self._suffix_limit = max_length - len(self.prefix_ids) - longest_label - 1
        if self._suffix_limit < len(self._suffix("a")):
            raise UsageError(
                f"max_length is {max_length} tokens, and the prompt {prompt.name!r} alone takes"
                f" {max_length - self._suffix_limit + len(self._suffix('a'))}; raise it"
            )

    def suffix_ids(self, text: str) -> tuple[int, ...]:
        """The tokens of `text` and the bridge: what follows the prefix up to where the label begins.

        A text that would pass `max_length` with the prompt is cut at its end (`too_long` tells).
        """
        text = text.strip()
        ids = self._suffix(text)
        while len(ids) > self._suffix_limit and len(text) > 1:
            text = self._cut(text, len(ids) - self._suffix_limit)
            ids = self._suffix(text)
        return ids

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text by itself, at most `max_length`: what batches are sorted by."""
        if not texts:
            return []
        ids = self.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [min(len(tokens), self.max_length) for tokens in ids]

    def too_long(self, text: str) -> bool:
        """True if `text` does not fit into `max_length` with the prompt and is cut."""
        return len(self._suffix(text.strip())) > self._suffix_limit

    def example(self, text: str, label: str, *, loss_on: str = "response") -> Example:
        """`text` with one hard label; see `soft_example`."""
        if label not in self.label_ids:
            raise InputError(f"unknown label {label!r}; known: {self.labels.shown()}")
        return self.soft_example(text, {label: 1.0}, loss_on=loss_on)

    def soft_example(self, text: str, weights: Mapping[str, float], *, loss_on: str = "response") -> Example:
        """`text` with a probability for each label (those absent are 0).

        `loss_on` is "response" (targets are the label and the end token) or "all" (the text and the bridge
        too; the prefix's own targets are added if the prefix is run).
        """
        unknown = [label for label in weights if label not in self.label_ids]
        total = sum(weights.values())
        if unknown or abs(total - 1.0) > 1e-3 or min(weights.values()) < 0:
            raise InputError(
                f"a soft label needs probabilities of {self.labels.shown()} that sum to 1"
                f" (unknown: {unknown}, sum: {total:.4f})"
            )
        trunk = self.suffix_ids(text)
        ids, positions, branches = list(trunk), list(range(len(trunk))), [0] * len(trunk)
        at: list[int] = []
        targets: list[int] = []
        target_weights: list[float] = []
        if loss_on == "all":
            at, targets, target_weights = list(range(-1, len(trunk) - 1)), list(trunk), [1.0] * len(trunk)
        elif loss_on != "response":
            raise UsageError(f"loss_on is 'response' or 'all', not {loss_on!r}")
        for branch, (label, weight) in enumerate(
            ((label, weight) for label, weight in weights.items() if weight > 0), start=1
        ):
            label_ids = self.label_ids[label]
            start = len(ids)
            ids += label_ids
            positions += range(len(trunk), len(trunk) + len(label_ids))
            branches += [branch] * len(label_ids)
            at += [len(trunk) - 1, *range(start, start + len(label_ids))]
            targets += [*label_ids, self.end_id]
            target_weights += [weight] * (len(label_ids) + 1)
        return Example(tuple(ids), tuple(positions), tuple(branches), tuple(at), tuple(targets), tuple(target_weights))

    def _tokens(self, text: str) -> list[int]:
        # split_special_tokens: a text that spells "<|im_end|>" is text, not a control token.
        return self.tokenizer(text, split_special_tokens=True)["input_ids"]

    def _find_prefix(self) -> tuple[int, ...]:
        ids = self._tokens(self.prompt.prefix)
        shared = len(ids)
        for probe in _PROBES:
            joint = self._tokens(self.prompt.prefix + probe)
            shared = min(shared, _common_length(ids, joint))
        if shared == 0:
            raise ModelError(f"the tokenizer leaves no constant tokens before the text in prompt {self.prompt.name!r}")
        return tuple(ids[:shared])

    def _suffix(self, text: str) -> tuple[int, ...]:
        joint = self._tokens(self.prompt.prefix + text + self.prompt.bridge)
        if tuple(joint[: len(self.prefix_ids)]) == self.prefix_ids:
            return tuple(joint[len(self.prefix_ids) :])
        # The tokenizer joined the text to the prefix: its tokens are taken apart, which spells the same string.
        rest = self.prompt.prefix[len(self._prefix_text()) :]
        return tuple(
            self.tokenizer(rest + text + self.prompt.bridge, split_special_tokens=True, add_special_tokens=False)[
                "input_ids"
            ]
        )

    def _prefix_text(self) -> str:
        return self.tokenizer.decode(self.prefix_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _cut(self, text: str, excess: int) -> str:
        offsets = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        keep = max(len(offsets) - excess, 1)
        cut = text[: offsets[keep - 1][1]].rstrip()
        return cut if 0 < len(cut) < len(text) else text[:-1]

    def _find_label(self, label: str) -> tuple[int, ...]:
        found = set()
        for text in ("a", "It rained.", "what now?!"):
            before = self._suffix(text)
            joint = self._tokens(self.prompt.render(text, label))[len(self.prefix_ids) :]
            if tuple(joint[: len(before)]) != before:
                raise ModelError(
                    f"the tokenizer joins the label {label!r} to the prompt before it; end the bridge of the prompt"
                    f" {self.prompt.name!r} with a line break"
                )
            found.add(tuple(joint[len(before) :]))
        if len(found) != 1 or not min(found):
            raise ModelError(f"the tokens of the label {label!r} depend on the text before it; use another label word")
        return found.pop()

    def _refuse_equal_labels(self) -> None:
        by_tokens: dict[tuple[int, ...], str] = {}
        for label, ids in self.label_ids.items():
            if ids in by_tokens:
                raise ModelError(
                    f"the labels {by_tokens[ids]!r} and {label!r} are the same tokens under this tokenizer, so it"
                    " cannot tell them apart; choose another base model, or other labels"
                )
            by_tokens[ids] = label


def _common_length(a: Sequence[int], b: Sequence[int]) -> int:
    for index, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return index
    return min(len(a), len(b))


def collate(examples: Sequence[Example], *, pad_id: int) -> dict[str, Tensor]:
    """Right-padded tensors of a batch of B examples, S tokens long, with N targets in all.

    `input_ids`, `positions`, `branches` are [B, S] (branch -1 marks padding); `target_rows`, `target_at`,
    `target_ids`, `target_weights` are [N].
    """
    import torch

    length = max(len(example) for example in examples)

    def padded(name: str, fill: int) -> Tensor:
        rows = [list(getattr(example, name)) + [fill] * (length - len(example)) for example in examples]
        return torch.tensor(rows, dtype=torch.long)

    def joined(name: str, dtype: torch.dtype) -> Tensor:
        return torch.tensor([value for example in examples for value in getattr(example, name)], dtype=dtype)

    rows = [row for row, example in enumerate(examples) for _ in example.target_ids]
    return {
        "input_ids": padded("input_ids", pad_id),
        "positions": padded("positions", 0),
        "branches": padded("branches", -1),
        "target_rows": torch.tensor(rows, dtype=torch.long),
        "target_at": joined("target_at", torch.long),
        "target_ids": joined("target_ids", torch.long),
        "target_weights": joined("target_weights", torch.float32),
    }


def pad_texts(suffixes: Sequence[Sequence[int]], *, pad_id: int) -> tuple[Tensor, Tensor]:
    """Suffixes without labels as `input_ids` [B, S], right-padded, and the index of each one's last token [B]."""
    import torch

    length = max(len(ids) for ids in suffixes)
    rows = [list(ids) + [pad_id] * (length - len(ids)) for ids in suffixes]
    last = [len(ids) - 1 for ids in suffixes]
    return torch.tensor(rows, dtype=torch.long), torch.tensor(last, dtype=torch.long)
