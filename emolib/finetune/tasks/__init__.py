"""What a training teaches: a task makes examples from rows, measures held-out ones, and names what it needs.

`classify` teaches the emotion of a text, `chat` the assistant's turns of a conversation. The loop, its checkpoints and
its tracking are the same for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emolib.errors import UsageError

if TYPE_CHECKING:
    from emolib.finetune.tasks.base import Task

__all__ = ["TASKS", "get_task"]

TASKS = ("classify", "chat")


def get_task(name: str) -> Task:
    """Return the task called `name`; UsageError lists the known ones."""
    if name == "classify":
        from emolib.finetune.tasks.classify import ClassifyTask

        return ClassifyTask()
    if name == "chat":
        from emolib.finetune.tasks.chat import ChatTask

        return ChatTask()
    raise UsageError(f"unknown task {name!r}; known: {', '.join(TASKS)}")
