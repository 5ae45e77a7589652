"""A text conversation in a notebook: the emotion of a line, and the reply token by token under the cell."""

from __future__ import annotations

import asyncio
import sys

from emolib.dialogue.text_chat import TextReply, TextSession, shown_emotion

__all__ = ["show_reply"]


async def show_reply(session: TextSession, line: str) -> TextReply:
    """Print the emotion heard in `line`, the reply as its tokens come, and how fast they came.

    A cell awaits it, as the kernel runs an event loop already: `await show_reply(session, "We won!")`. A reply that
    fails is said so in the output and in the result's `problem`; the session stays usable.
    """
    emotion = await asyncio.to_thread(session.feel, line)
    _write(f"[{shown_emotion(emotion)}] {line}\n")
    answer = await session.reply(line, emotion, _write)
    _write(f"\n({answer.problem or answer.speed})\n")
    return answer


def _write(text: str) -> None:
    # A kernel gathers what is printed until it is told to send it.
    sys.stdout.write(text)
    sys.stdout.flush()
