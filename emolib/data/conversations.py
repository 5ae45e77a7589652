"""Conversations to fine-tune a companion model on: JSON lines, one conversation per line.

    {"messages": [{"role": "user", "content": "My train was cancelled again.", "emotion": "anger"},
                  {"role": "assistant", "content": "Again! Nobody should have to plan around that."}, …]}

User and assistant alternate; the user begins and the assistant ends. A system message may come first. `emotion` names
the tone that a user message was said in (`emolib.prompting.chat.TONES`); absent or null, it is neutral. A user message
may have an `example`, an exchange like it that the model is shown before it: {"message": …, "reply": …}.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from emolib.data.readers import read_lines
from emolib.data.table import Reject
from emolib.errors import InputError, UsageError
from emolib.prompting.chat import TONES, Message, ReplyExample, Role
from emolib.unicode import without_half_characters

__all__ = ["ConversationCorpus", "load_conversations"]

_ENDINGS = (".jsonl", ".json", ".jsonl.gz", ".json.gz")
_ROLES = get_args(Role)
_FORM = '{"messages": [{"role": "user", "content": …, "emotion": …}, {"role": "assistant", "content": …}]}'


@dataclass(frozen=True)
class ConversationCorpus:
    """Conversations as tuples of messages, the lines they stand on, and the rows that cannot be used."""

    name: str
    conversations: Sequence[tuple[Message, ...]]
    lines: Sequence[int] = ()
    rejects: Sequence[Reject] = ()

    def __len__(self) -> int:
        return len(self.conversations)

    @cached_property
    def sha256(self) -> str:
        """Hash of the conversations in their order, so that a run folder can say what it was trained on."""
        digest = hashlib.sha256()
        for conversation in self.conversations:
            row = [
                [message.role, message.content, message.emotion, *(message.example or ())[:2]]
                for message in conversation
            ]
            digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        return digest.hexdigest()


class _BadRow(Exception):
    """What is wrong with a row."""


def load_conversations(source: str | Path | ConversationCorpus) -> ConversationCorpus:
    """Read the conversations of a JSON lines file (.jsonl, or .gz of it).

    A row that cannot be used becomes a reject with its reason. InputError if no row can be used, or the file cannot
    be read; UsageError for another kind of file.
    """
    if isinstance(source, ConversationCorpus):
        return source
    path = Path(source)
    if not path.is_dir() and not path.name.lower().endswith(_ENDINGS):
        raise UsageError(f"{path} is no file of conversations: they are JSON lines, {_FORM}, in a .jsonl or .jsonl.gz")
    lines, rejects = read_lines(path)
    conversations, numbers = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            conversations.append(_conversation(line))
            numbers.append(number)
        except _BadRow as problem:
            rejects.append(Reject(path.name, number, line[:200], str(problem)))
    rejects.sort(key=lambda reject: reject.line)
    if not conversations:
        first = f" (line {rejects[0].line}: {rejects[0].reason})" if rejects else ""
        raise InputError(f"{path} holds no conversation that can be used{first}; each line is {_FORM}")
    return ConversationCorpus(path.stem, conversations, numbers, rejects)


def _conversation(line: str) -> tuple[Message, ...]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _BadRow(f"not JSON: {error}") from error
    rows = record.get("messages") if isinstance(record, dict) else None
    if not isinstance(rows, list) or not rows:
        raise _BadRow('the row has no list of "messages"')
    messages = tuple(_message(number, row) for number, row in enumerate(rows, start=1))
    _refuse_wrong_order(messages)
    return messages


def _message(number: int, row: Any) -> Message:
    if not isinstance(row, Mapping) or not isinstance(row.get("content"), str):
        raise _BadRow(f"message {number} has no text in its content")
    role, content, emotion = row.get("role"), without_half_characters(row["content"]).strip(), row.get("emotion")
    if role not in _ROLES:
        raise _BadRow(f"message {number} has the unknown role {role!r} (known: {', '.join(_ROLES)})")
    if not content:
        raise _BadRow(f"message {number} is empty")
    if role != "user":
        return Message(role, content)
    if emotion is not None and (not isinstance(emotion, str) or emotion not in TONES):
        raise _BadRow(f"message {number} has the unknown emotion {emotion!r} (known: {', '.join(TONES)})")
    return Message(role, content, emotion, _example(number, row.get("example")))


def _example(number: int, found: Any) -> ReplyExample | None:
    if found is None:
        return None
    texts = [found.get("message"), found.get("reply")] if isinstance(found, Mapping) else []
    if not all(isinstance(text, str) and text.strip() for text in texts) or not texts:
        raise _BadRow(f'message {number} has an example that is not {{"message": …, "reply": …}}')
    return ReplyExample(*(without_half_characters(text).strip() for text in texts))


def _refuse_wrong_order(messages: Sequence[Message]) -> None:
    start = 1 if messages[0].role == "system" else 0
    for index, message in enumerate(messages[start:]):
        expected = "assistant" if index % 2 else "user"
        if message.role == expected:
            continue
        number = index + start + 1
        if message.role == "system":
            raise _BadRow(f"message {number} is a system message; it may only come first")
        raise _BadRow(f"the roles do not alternate: message {number} is of the {message.role}, not of the {expected}")
    if messages[-1].role != "assistant":
        raise _BadRow("the conversation does not end with a message of the assistant")
