"""The prompt of a conversation: the role, and the tone that each message of the user was said in.

A companion model is fine-tuned on exactly these messages and answers exactly these messages
(`companion_messages`), each user message with the name of its tone before the words:

    system     You are a kind companion in a spoken conversation. …
    user       [sadness] I still step over his bed in the hallway.
    assistant  Two weeks is so short after years of stepping around him.
    user       [love] He used to sleep with his head in my shoe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from emolib.errors import UsageError

__all__ = ["CHAT_SYSTEM", "NEUTRAL", "TONES", "Message", "ReplyExample", "Role", "companion_messages"]

Role = Literal["system", "user", "assistant"]

#: The name of the tone when no emotion is clear.
NEUTRAL = "neutral"

#: What is asked of the reply model, by the name of the tone: for each emotion of the speaker, and for more.
TONES: dict[str, str] = {
    "sadness": "The speaker is sad: be gentle and comforting.",
    "joy": "The speaker is happy: be cheerful and share their joy.",
    "love": "The speaker is affectionate: be warm and tender.",
    "anger": "The speaker is angry: be calm and respectful, and take their side of it seriously.",
    "fear": "The speaker is afraid: be calm and reassuring.",
    "surprise": "The speaker is surprised: be curious and interested.",
    NEUTRAL: "Be friendly and clear.",
    "lasting sadness": "The speaker is still sad: be gentle, and ask what would help.",
    "lasting fear": "The speaker is still afraid: be calm, and offer one small step.",
    "lasting anger": "The speaker is still angry: stay calm, and ask what they wish for.",
    "relief": "The speaker feels better than before: be glad with them.",
    "careful": "The speaker is in distress: be calm and careful, listen, and judge nothing.",
}

#: The system message of a companion model. It names English because a small model drifts into French over "Paris".
CHAT_SYSTEM = "You are a kind companion in a spoken conversation. Answer in one or two short plain English sentences."


class ReplyExample(NamedTuple):
    """A message and the reply to it; `fit` in [0, 1] is how surely the reply suits another message as it is."""

    message: str
    reply: str
    fit: float = 0.0


@dataclass(frozen=True)
class Message:
    """One message of a conversation, in the form of the chat-completions API.

    `emotion` is the tone that a user's message was said in (a name in `TONES`; None = not known), and `example` an
    exchange like it that a companion model is shown. Both stay out of `as_dict`, which is what servers are sent.
    """

    role: Role
    content: str
    emotion: str | None = None
    example: ReplyExample | None = None

    def as_dict(self) -> dict[str, str]:
        """Return role and content, as the chat-completions API takes them."""
        return {"role": self.role, "content": self.content}


def companion_messages(history: Sequence[Message], tone: str | None = None) -> list[dict[str, str]]:
    """Return the messages that a companion model is trained on and asked with, as roles and contents.

    `CHAT_SYSTEM` comes first, unless `history` begins with a system message of its own. Each user message begins
    with the tone in its `emotion` (None: neutral), `[sadness] I miss him.`; `tone` replaces that of the last user
    message. UsageError if `history` is empty.
    """
    if not history:
        raise UsageError("a conversation needs at least one message")
    last_user = max((index for index, message in enumerate(history) if message.role == "user"), default=-1)
    messages = [] if history[0].role == "system" else [{"role": "system", "content": CHAT_SYSTEM}]
    for index, message in enumerate(history):
        content = message.content.strip()
        if message.role == "user":
            heard = tone if tone is not None and index == last_user else message.emotion
            content = f"[{heard or NEUTRAL}] {content}"
            if message.example:
                content = f"({message.example.message} / {message.example.reply})\n{content}"
        messages.append({"role": message.role, "content": content})
    return messages
