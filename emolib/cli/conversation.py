"""`emolib talk` and `emolib chat`: the options of a conversation are the fields of its `Stack`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.cli.console import print_json, say
from emolib.cli.options import Options, command, option
from emolib.stack import NAMED_STACKS, Stack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from emolib.dialogue import Turn

__all__ = ["chat", "talk"]

_PARTS = Options(
    Stack,
    flags={"emotion": ("--model",)},
    layered=True,
    title="parts of the stack (the defaults are those of --stack embedded)",
)
_TEXT_PARTS = Options(
    Stack, skip=("recognizer", "voice_emotion", "speech", "voice"), flags=_PARTS.flags, layered=True, title=_PARTS.title
)


@dataclass(frozen=True, kw_only=True)
class ConversationOptions:
    """What a conversation runs on, and what is kept of it."""

    stack: str = option(
        f"the stack: {', '.join(NAMED_STACKS)}, or a TOML file", next(iter(NAMED_STACKS)), metavar="NAME|FILE"
    )
    history: Path | None = option("continue this conversation, and save it there (default: a new one)", None)
    trace: Path | None = option("write the turns with their stages as JSON lines (default: not kept)", None)
    json: bool = option("print each turn as JSON, and nothing else", False)


@dataclass(frozen=True, kw_only=True)
class TalkOptions:
    """Where speech comes from and where the answers go."""

    recordings: tuple[Path, ...] = option(
        "recordings: WAV, FLAC, MP3 …; several are a conversation (default: the microphone)", (), flag="in"
    )
    answer: Path | None = option("the WAV of the answers (default: the loudspeaker)", None, flag="out")
    paced: bool = option("hear recordings in real time, as a microphone would", False)
    half_duplex: bool = option("nobody can interrupt: for an open loudspeaker", False)


@dataclass(frozen=True, kw_only=True)
class ChatOptions:
    """What a chat shows."""

    stats: bool = option("show time to first token and tokens per second", False)


@command(TalkOptions, ConversationOptions, _PARTS)
def talk(options: TalkOptions, common: ConversationOptions, parts: Mapping[str, Any]) -> None:
    """Hold a spoken conversation."""
    from emolib.dialogue import History, hold_conversation, latency_table, write_trace

    stack = Stack.load(common.stack).with_changes(**parts)
    history = History.load(common.history) if common.history else History()

    def show(turn: Turn) -> None:
        if common.json:
            print_json(turn.as_dict())
        else:
            print(turn.table(), end="\n\n")

    turns = hold_conversation(
        options.recordings, options.answer, stack, paced=options.paced, half_duplex=options.half_duplex,
        history=history, on_turn=show, ready=say,
    )  # fmt: skip
    if common.history:
        history.save(common.history)
    if common.trace:
        write_trace(turns, common.trace)
    print(latency_table(turns), file=sys.stderr)


@command(ChatOptions, ConversationOptions, _TEXT_PARTS)
def chat(options: ChatOptions, common: ConversationOptions, parts: Mapping[str, Any]) -> None:
    """Hold a conversation in text."""
    from emolib.dialogue import History, TextChat, write_trace
    from emolib.stack import open_stack

    stack = Stack.load(common.stack).with_changes(**parts)
    if common.history:
        History.load(common.history)  # says what is wrong with it before models are loaded
    with open_stack(stack, spoken=False) as engines:
        print(f"emotion: {stack.emotion}; replies: {engines.reply_model.name}", file=sys.stderr)
        chat = TextChat(engines, common.history, options.stats)
        if common.json:
            chat.write = lambda text: None
            chat.on_turn = lambda turn: print_json(turn.as_dict(), indent=None)
        turns = chat.run(sys.stdin)
    if common.trace:
        write_trace(turns, common.trace)
