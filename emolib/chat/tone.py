"""The tone to answer in, by the emotion that was heard, and the messages that ask for it.

The emotion reaches a reply model through the messages before the history, in one of two forms:

- `short_opening`: a system prompt with a sentence on the role and one on the tone, and two
  or three short exchanges as examples, the last of them in that emotion. A small local model
  follows examples far better than it follows words, and would repeat anything longer.
- `full_opening`: the same system prompt, and in it the probabilities on a line of their own, most
  probable first: `Emotion heard in the last message: sadness 0.82, fear 0.09, …` or `… : not clear`.
"""

from __future__ import annotations

from collections.abc import Callable

from emolib.chat.messages import Message
from emolib.emotions import EMOTIONS, EmotionScores

__all__ = ["NEUTRAL", "TONES", "Opening", "full_opening", "short_opening", "tone_for"]

Opening = Callable[[EmotionScores | None], list[Message]]

#: The name of the tone where no emotion is clear.
NEUTRAL = "neutral"

#: What is asked of the reply model, by the emotion of the speaker.
TONES: dict[str, str] = {
    "sadness": "The speaker is sad: be gentle and comforting.",
    "joy": "The speaker is happy: be cheerful and share their joy.",
    "love": "The speaker is affectionate: be warm and tender.",
    "anger": "The speaker is angry: be calm and respectful, and take their side of it seriously.",
    "fear": "The speaker is afraid: be calm and reassuring.",
    "surprise": "The speaker is surprised: be curious and interested.",
    NEUTRAL: "Be friendly and clear.",
}

_ROLE = "You are a kind companion in a spoken conversation. Answer in one or two short plain sentences."
# The small model drifts into French over "Paris" and the like unless it is told its one language.
_SHORT_ROLE = _ROLE.replace("plain sentences", "plain English sentences")

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
    """The name of the tone for `emotion`: neutral where it is None or below its confidence."""
    return NEUTRAL if emotion is None or emotion.abstained else emotion.label


def short_opening(emotion: EmotionScores | None) -> list[Message]:
    """The messages before the history for a small model: role, tone and a few examples."""
    tone = tone_for(emotion)
    opening = [Message("system", f"{_SHORT_ROLE} {TONES[tone]}")]
    for question, answer in _examples(tone):
        opening += [Message("user", question), Message("assistant", answer)]
    return opening


def full_opening(emotion: EmotionScores | None) -> list[Message]:
    """The messages before the history for a large model: role, tone and the probabilities."""
    tone = TONES[tone_for(emotion)]
    return [Message("system", f"{_ROLE} {tone}\nEmotion heard in the last message: {_scores(emotion)}")]


def _examples(tone: str) -> list[tuple[str, str]]:
    if tone == NEUTRAL:
        return [_FACT, _REMARK]
    others = [example for label, example in _EXAMPLES.items() if label != tone]
    return [*others[-2:], _EXAMPLES[tone]]


def _scores(emotion: EmotionScores | None) -> str:
    if emotion is None or emotion.abstained:
        return "not clear"
    ranked = sorted(EMOTIONS, key=lambda label: -emotion.probabilities[label])
    return ", ".join(f"{label} {emotion.probabilities[label]:.2f}" for label in ranked)
