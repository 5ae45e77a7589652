"""The tone to answer in, and the messages that ask for it.

Emotion and tone reach a reply model in one of three forms:

- `companion_prompt`, for a model that was fine-tuned on conversations (`emolib train --task chat`): the messages of its
  training, each of the user's with the name of its tone before the words, and no examples.

- `short_prompt`, for a small local model, which follows examples far better than it follows words: a system prompt
  with a sentence on the role, a short exchange for each emotion, and the history. In the examples and in the last
  message the name of the tone stands before the words, "[joy] I passed my driving test this morning!". All that comes
  before the last message is the same whatever the tone, so that llama.cpp has evaluated it already. For the neutral
  tone there are two plain exchanges in place of the six, and no names.
- `full_prompt`: a system prompt with the role, the tone as a sentence, and the probabilities on a line of their own,
  most probable first: `Emotion heard in the last message: sadness 0.82, fear 0.09, …` or `… : not clear`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emolib.chat.messages import Message
from emolib.emotions import EMOTIONS
from emolib.labels import EmotionScores
from emolib.prompting.chat import CHAT_SYSTEM, NEUTRAL, TONES, companion_messages

__all__ = [
    "NEUTRAL",
    "TONES",
    "PromptStyle",
    "companion_prompt",
    "full_opening",
    "full_prompt",
    "short_prompt",
    "tone_for",
]

#: From the messages so far, the emotion in the last one and the tone, to the messages that are sent.
PromptStyle = Callable[[Sequence[Message], EmotionScores | None, str | None], list[Message]]

_ROLE = "You are a kind companion in a spoken conversation. Answer in one or two short plain sentences."

_EXAMPLES: dict[str, tuple[str, str]] = {
    "sadness": (
        "My old dog died last night.",
        "Oh, I am so sorry. You two had many good years together. Do you want to tell me about him?",
    ),
    "joy": (
        "I passed my driving test this morning!",
        "Congratulations! All that practice paid off. Where will you drive first?",
    ),
    "anger": (
        "The train was cancelled again and nobody told us.",
        "That would make anyone angry. You deserved to be told. How did you get home?",
    ),
    "love": (
        "My daughter drew a picture of the two of us.",
        "How sweet of her! She must love you very much. What did she draw?",
    ),
    "fear": (
        "I have to see the doctor tomorrow and I cannot sleep.",
        "That sounds frightening. Take a slow breath, you are not alone with it. What worries you most?",
    ),
    "surprise": (
        "A stranger on the bus knew my name!",
        "Really? How strange! Did you find out who it was?",
    ),
}
_FACT = ("How many days are there in a week?", "There are seven days in a week.")
_REMARK = ("The shop opens at nine on Saturdays.", "Good to know, thank you. Are you going there this weekend?")


def tone_for(emotion: EmotionScores | None) -> str:
    """The name of the tone for `emotion`: neutral if it is None or below its confidence."""
    return NEUTRAL if emotion is None or emotion.abstained else emotion.label


def short_prompt(history: Sequence[Message], emotion: EmotionScores | None, tone: str | None = None) -> list[Message]:
    """Return the messages for a small model: the role, examples, the history, and the tone in its last message.

    A tone that is a sentence, and no name of TONES, joins the role. A history with a system message of its own is
    unchanged.
    """
    if history[0].role == "system":
        return list(history)
    tone = tone or tone_for(emotion)
    guidance = "" if tone in TONES else f" {tone}"
    tone = tone_for(emotion) if guidance else tone
    if tone == NEUTRAL:
        return [*_short_opening([("", _FACT), ("", _REMARK)], guidance), *history]
    opening = _short_opening([(f"[{label}] ", example) for label, example in _EXAMPLES.items()], guidance)
    *before, last = history
    return [*opening, *before, Message(last.role, f"[{tone}] {last.content}")]


def full_prompt(history: Sequence[Message], emotion: EmotionScores | None, tone: str | None = None) -> list[Message]:
    """Return the messages for a large model: role, tone and the probabilities, then the history.

    A history with a system message of its own is unchanged.
    """
    if history[0].role == "system":
        return list(history)
    return [Message("system", full_opening(emotion, tone)), *history]


def full_opening(emotion: EmotionScores | None, tone: str | None = None) -> str:
    """The system prompt of `full_prompt`."""
    tone = tone or tone_for(emotion)
    return f"{_ROLE} {TONES.get(tone, tone)}\nEmotion heard in the last message: {_scores(emotion)}"


def _short_opening(examples: Sequence[tuple[str, tuple[str, str]]], guidance: str) -> list[Message]:
    opening = [Message("system", CHAT_SYSTEM + guidance)]
    for mark, (question, answer) in examples:
        opening += [Message("user", mark + question), Message("assistant", answer)]
    return opening


def _scores(emotion: EmotionScores | None) -> str:
    if emotion is None or emotion.abstained:
        return "not clear"
    ranked = sorted(EMOTIONS, key=lambda label: -emotion.probabilities[label])
    return ", ".join(f"{label} {emotion.probabilities[label]:.2f}" for label in ranked)


def companion_prompt(
    history: Sequence[Message], emotion: EmotionScores | None, tone: str | None = None
) -> list[Message]:
    """Return the messages for a companion model, exactly as it was trained on them: see `companion_messages`.

    A tone that is a sentence, and no name of TONES, joins the role.
    """
    tone = tone or tone_for(emotion)
    guidance = "" if tone in TONES else f" {tone}"
    found = companion_messages(history, tone_for(emotion) if guidance else tone)
    return [Message(m["role"], m["content"] + (guidance if m["role"] == "system" else "")) for m in found]
