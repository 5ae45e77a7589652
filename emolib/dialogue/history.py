"""What was said so far: bounded, saved and loaded as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from emolib.chat import Message, count_words
from emolib.chat.guards import nearly_equal
from emolib.errors import InputError
from emolib.files import write_text

__all__ = ["History"]

# English takes about 1.4 tokens a word, Chinese about 1 a character, and each message a few for its frame.
_TOKENS_PER_WORD = 1.4
_TOKENS_PER_MESSAGE = 6
#: No more messages than this are looked at, however long the conversation is.
_NEWEST = 60


class History:
    """The messages of a conversation, of which the newest that fit into `max_tokens` are shown to the model."""

    def __init__(self, messages: Iterable[Message] = (), max_tokens: int = 1200) -> None:
        self.messages = list(messages)
        self.max_tokens = max_tokens

    def add(self, question: str, answer: str, emotion: str | None = None) -> None:
        """Append an exchange; `emotion` is the tone that the question was said in."""
        self.messages += [Message("user", question, emotion), Message("assistant", answer)]

    def recent(self) -> list[Message]:
        """Return the newest messages within `max_tokens` (estimated), beginning with one of the user's.

        A system message at the beginning is always kept. An answer that nearly repeats an earlier one is left out with
        its question, so that a model does not learn to repeat itself.
        """
        # An answer of which nothing was heard has no words, and some servers refuse a message without any.
        messages = [message for message in self.messages if message.content.strip()]
        opening = messages[:1] if messages and messages[0].role == "system" else []
        kept: list[Message] = []
        tokens = 0.0
        for message in reversed(_without_repeats(messages[len(opening) :][-_NEWEST:])):
            tokens += _TOKENS_PER_WORD * count_words(message.content) + _TOKENS_PER_MESSAGE
            if tokens > self.max_tokens:
                break
            kept.append(message)
        kept.reverse()
        while kept and kept[0].role != "user":
            del kept[0]
        return [*opening, *kept]

    def save(self, path: str | Path) -> None:
        """Write all messages, a JSON object a line, through a temporary name."""
        write_text(Path(path), "".join(json.dumps(_row(m), ensure_ascii=False) + "\n" for m in self.messages))

    @classmethod
    def load(cls, path: str | Path, max_tokens: int = 1200) -> History:
        """The history that `save` wrote; empty if there is no file. InputError names a line that is none."""
        path = Path(path)
        if not path.exists():
            return cls(max_tokens=max_tokens)
        messages = []
        # Not splitlines: JSON leaves U+2028 and its like inside a line as they are.
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                messages.append(Message(row["role"], row["content"], row.get("emotion")))
            except (ValueError, KeyError, TypeError):
                raise InputError(
                    f'{path}, line {number} is no message; each line is {{"role": …, "content": …}}'
                ) from None
        return cls(messages, max_tokens)


def _row(message: Message) -> dict[str, str]:
    return message.as_dict() if message.emotion is None else {**message.as_dict(), "emotion": message.emotion}


def _without_repeats(messages: Sequence[Message]) -> list[Message]:
    kept: list[Message] = []
    for message in messages:
        answers = (earlier for earlier in kept if earlier.role == "assistant")
        if message.role == "assistant" and any(nearly_equal(message.content, earlier.content) for earlier in answers):
            if kept and kept[-1].role == "user":
                kept.pop()
            continue
        kept.append(message)
    return kept
