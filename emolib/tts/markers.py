"""Emotion tags of Fish-Speech: written in front of a text, and read from it for an engine that knows none.

S1 (openaudio-s1) has a fixed list in round brackets, S2 takes free descriptions in square ones. Tags
exist only between the client and the engine: transcripts, replies and the history are plain text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["MAX_INTENSITY", "S1", "S2", "TAG_SETS", "TagSet", "TaggedText", "read_tags"]

#: Intensity 0 is a neutral voice, 1 the emotion as documented, 2 an exaggeration of it.
MAX_INTENSITY = 2.0
#: Below this intensity an emotion has no tag, and from STRONG on it has the stronger one.
_FAINT, _STRONG = 0.25, 1.5


@dataclass(frozen=True)
class TagSet:
    """The tags of one generation: for each emotion the usual one and a strong one."""

    name: str
    tags: dict[str, tuple[str, str]]

    def tag(self, text: str, emotion: str | None, intensity: float = 1.0) -> str:
        """Return `text` with the tag of the emotion in front, or unchanged for a neutral voice."""
        if emotion is None or intensity < _FAINT:
            return text
        usual, strong = self.tags[emotion]
        return f"{strong if intensity >= _STRONG else usual} {text}"


S1 = TagSet(
    "s1",
    {
        "sadness": ("(sad)", "(depressed)"),
        "joy": ("(joyful)", "(delighted)"),
        "love": ("(soft tone) (moved)", "(soft tone) (grateful)"),
        "anger": ("(angry)", "(furious)"),
        "fear": ("(scared)", "(panicked)"),
        "surprise": ("(surprised)", "(astonished)"),
    },
)

S2 = TagSet(
    "s2",
    {
        "sadness": ("[sad]", "[deeply sad, close to tears]"),
        "joy": ("[delight]", "[overjoyed, laughing]"),
        "love": ("[tender, affectionate tone]", "[very tender, loving whisper]"),
        "anger": ("[angry]", "[furious, shouting]"),
        "fear": ("[scared, trembling voice]", "[terrified, panicking]"),
        "surprise": ("[shocked]", "[astonished, gasping]"),
    },
)

TAG_SETS = {tags.name: tags for tags in (S1, S2)}

#: Words of a tag that name an emotion; S1's list has several for each.
_NAMES = {
    "sadness": {"sad", "depressed", "unhappy", "upset", "sobbing", "crying loudly", "disappointed"},
    "joy": {"joyful", "delighted", "delight", "happy", "excited", "satisfied", "laughing", "overjoyed"},
    "love": {"moved", "grateful", "soft tone", "tender", "affectionate", "loving", "empathetic", "comforting"},
    "anger": {"angry", "furious", "frustrated", "impatient", "shouting", "annoyed"},
    "fear": {"scared", "panicked", "nervous", "anxious", "worried", "hysterical", "terrified"},
    "surprise": {"surprised", "astonished", "shocked", "amazed", "gasping"},
}
_EMOTION_OF = {name: emotion for emotion, names in _NAMES.items() for name in names}
#: Tags of S1 that carry no emotion of ours and must still not be read aloud.
_OTHER = {
    *("whispering", "screaming", "in a hurry tone", "chuckling", "sighing", "panting", "groaning", "crowd laughing"),
    *("background laughter", "audience laughing", "sarcastic", "confused", "relaxed", "confident", "curious"),
    *("serious", "indifferent", "interested", "disgusted", "embarrassed", "proud", "guilty", "keen", "reluctant"),
}
_STRONG_WORDS = {
    *("depressed", "delighted", "grateful", "furious", "panicked", "astonished"),
    *("deeply", "overjoyed", "very", "terrified"),
}

_ROUND = re.compile(r"\(([a-z][a-z ]{1,30})\)")
_SQUARE = re.compile(r"\[([A-Za-z][A-Za-z ,'-]{1,60})\]")


@dataclass(frozen=True)
class TaggedText:
    """A text without its tags, and the emotion that they asked for."""

    text: str
    emotion: str | None
    intensity: float


def read_tags(text: str) -> TaggedText:
    """Remove the tags of either generation from `text`; the first one that names an emotion counts.

    Round brackets are tags only if S1 lists their content, so "(see page two)" is kept.
    """
    found: list[str] = []

    def take_round(match: re.Match[str]) -> str:
        if match[1] not in _EMOTION_OF and match[1] not in _OTHER:
            return match[0]
        found.append(match[1])
        return " "

    def take_square(match: re.Match[str]) -> str:
        found.append(match[1].lower())
        return " "

    plain = _SQUARE.sub(take_square, _ROUND.sub(take_round, text))
    if not found:
        return TaggedText(text, None, 1.0)
    words = [word for tag in found for word in (tag, *re.split(r"[ ,]+", tag))]
    emotion = next((_EMOTION_OF[word] for word in words if word in _EMOTION_OF), None)
    strong = any(word in _STRONG_WORDS for word in words)
    return TaggedText(" ".join(plain.split()), emotion, _STRONG if strong else 1.0)
