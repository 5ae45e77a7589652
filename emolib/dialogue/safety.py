"""What to do where the speaker is in distress: a calm voice, and a message that says where help is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from emolib.dialogue.policy import ResponseStyle, Voice
from emolib.emotions import EmotionScores

__all__ = ["CALM", "HELP_MESSAGE", "Distress", "SafetyPolicy"]

#: The response style for distress: careful words in a warm, slow and even voice.
CALM = ResponseStyle("careful", Voice("love", 0.5))

HELP_MESSAGE = (
    "I am really glad that you told me. If you might hurt yourself, please call your local emergency number, or"
    " someone you trust, right now. You do not have to go through this alone."
)

_SELF_HARM = re.compile(
    r"\b(?:kill(?:ing)? myself|hurt(?:ing)? myself|harm(?:ing)? myself|cut(?:ting)? myself|end(?:ing)? my (?:own )?life"
    r"|end it all|tak(?:e|ing) my own life|suicid(?:e|al)|better off dead|(?:want|wish|going) to (?:die|be dead)"
    r"|wish i (?:was|were) (?:dead|never born)|don'?t want to (?:live|be alive)|no reason to (?:live|go on))\b"
    r"|自杀|自殺|不想活|想死|结束生命|結束生命|伤害自己|傷害自己|活不下去",
    re.IGNORECASE,
)
_HEAVY = ("sadness", "fear")


class Distress(Enum):
    """How much care a turn needs."""

    NONE = "none"
    SUSTAINED = "sustained"
    URGENT = "urgent"


@dataclass(frozen=True)
class SafetyPolicy:
    """When a turn counts as distress, and what is said then.

    URGENT: words of self-harm; `help_message` is the whole answer, and no model writes one.
    SUSTAINED: sadness or fear of at least `strength` in each of the last `turns` turns; the reply is
    spoken calmly and `help_message` follows it. An empty `help_message` switches both off.
    """

    help_message: str = HELP_MESSAGE
    turns: int = 3
    strength: float = 0.8

    def distress(self, text: str, emotions: Sequence[EmotionScores]) -> Distress:
        """The distress in `text` and in `emotions`, those of the turns so far with the newest last."""
        if not self.help_message:
            return Distress.NONE
        if _SELF_HARM.search(text):
            return Distress.URGENT
        latest = emotions[-self.turns :]
        heavy = all(sum(each.probabilities[label] for label in _HEAVY) >= self.strength for each in latest)
        return Distress.SUSTAINED if heavy and len(latest) == self.turns else Distress.NONE
