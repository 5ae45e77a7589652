"""Replies: from GPT or any OpenAI-compatible server, or from a local GGUF file through llama.cpp."""

from __future__ import annotations

from typing import Any

from emolib.chat.bounds import bounded, count_words
from emolib.chat.compatible import OpenAIReplyModel
from emolib.chat.local import COMPANION_TEMPERATURE, LlamaReplyModel, server_adapters
from emolib.chat.messages import Message, ReplyModel
from emolib.chat.tone import NEUTRAL, TONES, companion_prompt, full_prompt, short_prompt, tone_for

__all__ = [
    "COMPANION_TEMPERATURE",
    "NEUTRAL",
    "TONES",
    "LlamaReplyModel",
    "Message",
    "OpenAIReplyModel",
    "ReplyModel",
    "Understanding",
    "bounded",
    "companion_prompt",
    "count_words",
    "full_prompt",
    "server_adapters",
    "short_prompt",
    "tone_for",
    "understand",
]


def __getattr__(name: str) -> Any:
    # pydantic takes a third of a second to import: only who asks for understanding pays it.
    if name not in ("Understanding", "understand"):
        raise AttributeError(f"module 'emolib.chat' has no attribute {name!r}")
    from emolib.chat import understanding

    return getattr(understanding, name)
