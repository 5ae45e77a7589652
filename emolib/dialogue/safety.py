"""What to do if the speaker is in distress: a calm voice, and a message that says where help is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from emolib.dialogue.distress import assess, language_of
from emolib.dialogue.policy import ResponseStyle, Voice
from emolib.labels import EmotionScores

__all__ = ["CALM", "HELP_LINES", "HELP_MESSAGE", "HELP_MESSAGE_ZH", "Distress", "SafetyPolicy"]

#: The response style for distress: careful words in a warm, slow and even voice.
CALM = ResponseStyle("careful", Voice("love", 0.5))

HELP_MESSAGE = (
    "I am really glad that you told me. If you might hurt yourself, please call your local emergency number, or"
    " someone you trust, right now. You do not have to go through this alone."
)

HELP_MESSAGE_ZH = (
    "谢谢你愿意告诉我。如果你可能会伤害自己，请现在就拨打当地的急救电话，或者联系一个你信任的人。你不必独自承受这一切。"
)

#: Help lines by country code (ISO 3166). Check the number of your country before you rely on it.
HELP_LINES: Mapping[str, str] = MappingProxyType(
    {"au": "13 11 14", "ca": "988", "cn": "12356", "gb": "116 123", "ie": "116 123", "tw": "1925", "us": "988"}
)

_LINE = {"en": " You can also call {}.", "zh": "你也可以拨打{}。"}
_HEAVY = ("sadness", "fear")


class Distress(Enum):
    """How much care a turn needs."""

    NONE = "none"
    SUSTAINED = "sustained"
    CONCERNING = "concerning"
    URGENT = "urgent"


@dataclass(frozen=True)
class SafetyPolicy:
    """When a turn counts as distress, and what is said then.

    URGENT: the words speak of suicide or self-harm; the help message is the whole answer, and no model writes one.
    CONCERNING: the words may speak of it, or of despair; the reply is spoken calmly and the help message follows it.
    SUSTAINED: sadness or fear of at least `strength` in each of the last `turns` turns; answered as CONCERNING.

    The words are scored in English and Chinese (`emolib.dialogue.distress`): `concern` is the least score of
    CONCERNING, `urgency` that of URGENT. Higher values miss more, and raise fewer false alarms.

    An empty `help_message` switches all of it off. `translations` has the message in languages that their script
    tells apart: "zh", and "ja" or "ko" if you add them. `country` adds the number of its help line, which `help_lines`
    has for some: `SafetyPolicy(country="us")`.
    """

    help_message: str = HELP_MESSAGE
    turns: int = 3
    strength: float = 0.8
    concern: float = 0.5
    urgency: float = 0.8
    translations: Mapping[str, str] = field(default_factory=lambda: {"zh": HELP_MESSAGE_ZH})
    country: str = ""
    help_lines: Mapping[str, str] = field(default_factory=lambda: HELP_LINES)

    def distress(self, text: str, emotions: Sequence[EmotionScores]) -> Distress:
        """Return the distress in `text` and in `emotions`, those of the turns so far with the newest last."""
        if not self.help_message:
            return Distress.NONE
        words = assess(text)
        if words.urgent >= self.urgency:
            return Distress.URGENT
        if words.distress >= self.concern:
            return Distress.CONCERNING
        latest = emotions[-self.turns :]
        heavy = all(sum(each.probabilities[label] for label in _HEAVY) >= self.strength for each in latest)
        return Distress.SUSTAINED if heavy and len(latest) == self.turns else Distress.NONE

    def help_for(self, text: str) -> str:
        """Return the help message in the language of `text`, with the help line of `country`."""
        language = language_of(text)
        message = self.translations.get(language, self.help_message)
        line = self.help_lines.get(self.country.lower())
        return message + _LINE.get(language, _LINE["en"]).format(line) if line else message
