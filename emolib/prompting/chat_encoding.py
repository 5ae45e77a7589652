"""Tokens of a conversation under the base model's own chat template, and which of them are learnt.

A conversation is one sequence: the messages of `companion_messages`, rendered and tokenised as a server does it.
What is learnt are the assistant's turns, each up to and including the token that ends it. The tokens before a turn are
those that inference gives the model there (`ChatEncoder.prompt_ids`), so one sequence trains every turn exactly.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emolib.errors import InputError, ModelError
from emolib.prompting.chat import Message, companion_messages
from emolib.prompting.encoding import Example

__all__ = ["ChatEncoder", "ChatTokens", "chat_example", "common_prefix"]

#: Conversations whose replies begin in different ways; a template or a tokenizer that treats one differently is
#: refused.
_PROBES = tuple(
    tuple(Message(role, text) for role, text in zip(("user", "assistant") * 2, texts, strict=True))
    for texts in (("Hi.", "a", "I am late", "1 train"), ("hello?", "(Oh.)", "no", "É!"), ("x", '"Q"', "y", "…"))
)


@dataclass(frozen=True)
class ChatTokens:
    """A conversation in tokens: `ids`, and the places in them of those that are learnt, in order.

    `cut` is the number of exchanges at its end that did not fit.
    """

    ids: tuple[int, ...]
    targets: tuple[int, ...]
    cut: int = 0

    def __len__(self) -> int:
        return len(self.ids)


class ChatEncoder:
    """Conversations in tokens of one tokenizer, by its chat template.

    Raises ModelError if there is no chat template, or if a turn's tokens under it depend on what follows the turn.
    """

    def __init__(self, tokenizer: Any, name: str, *, max_length: int = 2048) -> None:
        if not tokenizer.chat_template:
            raise ModelError(
                f"{name} has no chat template, so there is no telling how it takes a conversation; use an instruct"
                " model, such as smollm2-135m or qwen2.5-0.5b-instruct"
            )
        self.tokenizer = tokenizer
        self.name = name
        self.max_length = max_length
        self._control = sorted(tokenizer.get_added_vocab())
        self._control_ids = frozenset(tokenizer.get_added_vocab().values())
        for probe in _PROBES:
            self._refuse_changing_turns(probe)

    def prompt_ids(self, history: Sequence[Message], tone: str | None = None) -> tuple[int, ...]:
        """Return the tokens that the model is given to answer the last message of `history`."""
        return self._tokens(self._render(companion_messages(history, tone), reply=True))[0]

    def encode(self, conversation: Sequence[Message]) -> ChatTokens:
        """Return the tokens of `conversation`, without the exchanges at its end that pass `max_length`.

        InputError if its first exchange does not fit, or if a message spells a control token.
        """
        self._refuse_control_tokens(conversation)
        ids, turns = self._turns(companion_messages(conversation))
        fitting = [turn for turn in turns if turn[-1] < self.max_length]
        if not fitting:
            raise InputError(
                f"the first exchange has {turns[0][-1] + 1:,} tokens with the prompt, and max_length is"
                f" {self.max_length:,}"
            )
        end = fitting[-1][-1] + 1
        return ChatTokens(ids[:end], tuple(at for turn in fitting for at in turn), cut=len(turns) - len(fitting))

    def _turns(self, messages: Sequence[Mapping[str, str]]) -> tuple[tuple[int, ...], list[range]]:
        """The tokens of `messages`, and where each of the assistant's turns with the token that ends it stands."""
        whole = self._render(messages)
        ids, offsets = self._tokens(whole)
        starts = [first for first, _ in offsets]
        turns = []
        for at, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            text = self._render(messages[: at + 1])
            if not whole.startswith(text):
                raise self._changing_turns()
            first = bisect_left(starts, len(self._render(messages[:at], reply=True)))
            behind = bisect_left(starts, text.rindex(message["content"]) + len(message["content"]))
            ends = (place for place in range(behind, bisect_left(starts, len(text))) if ids[place] in self._control_ids)
            last = next(ends, None)
            if last is None:
                raise ModelError(
                    f"the chat template of {self.name} ends a turn with no token of its own; use another base model"
                )
            turns.append(range(first, last + 1))
        return ids, turns

    def _render(self, messages: Sequence[Mapping[str, str]], *, reply: bool = False) -> str:
        try:
            return self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=reply)
        except Exception as error:  # jinja's, and whatever a template raises by itself
            raise ModelError(f"the chat template of {self.name} refuses a conversation: {error}") from error

    def _tokens(self, text: str) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
        # The template writes the token that begins a text itself.
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return tuple(found["input_ids"]), found["offset_mapping"]

    def _refuse_control_tokens(self, conversation: Sequence[Message]) -> None:
        for number, message in enumerate(conversation, start=1):
            spelt = next((token for token in self._control if token in message.content), None)
            if spelt is not None:
                raise InputError(f"message {number} spells {spelt}, a control token of {self.name}")

    def _refuse_changing_turns(self, probe: Sequence[Message]) -> None:
        ids, turns = self._turns(companion_messages(probe))
        prompts = [self.prompt_ids(probe[: 2 * number + 1]) for number in range(len(turns))]
        if [ids[: turn.start] for turn in turns] != prompts:
            raise self._changing_turns()

    def _changing_turns(self) -> ModelError:
        return ModelError(
            f"under the chat template of {self.name} a turn's tokens depend on what follows it, so a conversation"
            " cannot be trained as one sequence; use another base model"
        )


def chat_example(tokens: ChatTokens, prefix: int, *, loss_on: str = "response") -> Example:
    """Return `tokens` after a shared prefix of `prefix` tokens as an example.

    `loss_on` is "response" (the assistant's turns) or "all" (every token after the prefix).
    """
    last = tokens.targets[-1]
    targets = tokens.targets if loss_on == "response" else range(prefix, last + 1)
    length = last - prefix  # the last token is a target only
    return Example(
        input_ids=tokens.ids[prefix:last],
        positions=tuple(range(length)),
        branches=(1,) * length,
        target_at=tuple(at - prefix - 1 for at in targets),
        target_ids=tuple(tokens.ids[at] for at in targets),
        target_weights=(1.0,) * len(targets),
    )


def common_prefix(conversations: Sequence[ChatTokens]) -> tuple[int, ...]:
    """Return the tokens that all of `conversations` begin with, short of the first one that any of them learns.

    The constant opening of the template with its system message, at least while no conversation has its own.
    """
    first = conversations[0].ids
    shared = min(tokens.targets[0] for tokens in conversations) - 1
    for tokens in conversations:
        shared = next((at for at in range(shared) if tokens.ids[at] != first[at]), shared)
    return first[:shared]
