"""Content understanding: what a message is about, beyond the emotion in it, as checked fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emolib.chat.messages import Message
from emolib.chat.tone import full_opening
from emolib.errors import ServiceError, UsageError
from emolib.labels import EmotionScores

__all__ = ["Understanding", "understand"]

_ATTEMPTS = 2
_TOKENS = 240
_TASK = (
    "Do not answer the last message. Say about it, as JSON: topic (what it is about), need (what the speaker"
    " needs from you), cause (what brought the emotion about), tone (the tone to answer in)."
)

_EXAMPLE = "My train was cancelled and I missed my sister's wedding."


class Understanding(BaseModel):
    """What a message is about. The texts are short phrases; `cause` is empty if there is no emotion."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, frozen=True)

    topic: str = Field(min_length=1, max_length=80)
    need: str = Field(min_length=1, max_length=80)
    cause: str = Field(max_length=80)
    tone: Literal["gentle", "cheerful", "warm", "calm", "reassuring", "curious", "friendly"]

    @property
    def guidance(self) -> str:
        """The understanding as a sentence for the reply model."""
        return f"It is about {self.topic}; the speaker needs {self.need}. Be {self.tone}."


class Completer(Protocol):
    """What answers messages as a whole, with options of the chat-completions API."""

    @property
    def name(self) -> str: ...

    async def complete(self, messages: Sequence[dict[str, str]], tokens: int, **options: Any) -> str: ...


async def understand(
    model: Completer, history: Sequence[Message], emotion: EmotionScores | None = None
) -> Understanding:
    """What the last message of `history` is about, judged by `model` under a JSON schema.

    llama.cpp turns the schema into a grammar, so its answer always fits; of a server that takes the
    schema for advice, an answer that does not fit is asked for once more. ServiceError after that.
    """
    if not history:
        raise UsageError("there is no message to understand")
    opening = full_opening(emotion)
    example = Understanding(topic="a missed wedding", need="comfort", cause="the cancelled train", tone="gentle")
    shown = [Message("user", _EXAMPLE), Message("assistant", example.model_dump_json())]
    messages = [m.as_dict() for m in (Message("system", f"{opening}\n{_TASK}"), *shown, *history)]
    schema = {"name": "understanding", "schema": Understanding.model_json_schema()}
    for _ in range(_ATTEMPTS):
        answer = await model.complete(messages, _TOKENS, response_format={"type": "json_schema", "json_schema": schema})
        try:
            return Understanding.model_validate_json(answer)
        except ValidationError as error:
            problem = error.errors()[0]
            field = ".".join(str(part) for part in problem["loc"]) or "the answer"
    raise ServiceError(
        f"{model.name} does not keep to the JSON schema ({field}: {problem['msg']});"
        " use a server with structured output, such as llama.cpp's, Ollama or vLLM"
    )
