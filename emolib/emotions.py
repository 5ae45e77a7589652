"""The six emotions, and what the labels of other corpora and of voice models mean by them.

The six labels and their order are those of CARER (Saravia et al., 2018, "CARER: Contextualized
Affect Representations for Emotion Recognition"; `dair-ai/emotion` on the hub).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = [
    "DEFAULT_EMOTION_MODEL",
    "EMOTION2VEC_TO_EMOTION",
    "EMOTIONS",
    "GOEMOTIONS",
    "NEUTRAL",
    "SENSEVOICE_TO_EMOTION",
    "VOCABULARIES",
    "Vocabulary",
    "emotion_of",
    "neutral_among",
]

#: The labels in the order of CARER's numeric ids: 0 sadness … 5 surprise.
EMOTIONS: tuple[str, ...] = ("sadness", "joy", "love", "anger", "fear", "surprise")

#: What GoEmotions calls a text without emotion; not one of the six, the classifier abstains on it.
NEUTRAL = "neutral"

#: GoEmotions' 28 labels (Demszky et al., 2020, "GoEmotions: A Dataset of Fine-Grained Emotions") as ours.
#:
#: The groups start from the six of Ekman that its authors publish, with four differences. Love is a class of
#: its own in CARER, where it holds affection and care for someone: `love` and `caring` go there instead of to
#: joy. Disgust, which CARER lacks, goes to anger, its nearest neighbour in the authors' own clustering.
#: `approval`, `disapproval`, `confusion`, `curiosity`, `realization` and `desire` are stances and states of
#: knowing or wanting rather than one of the six: a plain "is it open on Sundays?" or "I agree" would make an
#: assistant sound surprised or delighted for no reason, so they count as neutral.
GOEMOTIONS: dict[str, str] = {
    **dict.fromkeys(("disappointment", "embarrassment", "grief", "remorse", "sadness"), "sadness"),
    **dict.fromkeys(
        ("admiration", "amusement", "excitement", "gratitude", "joy", "optimism", "pride", "relief"), "joy"
    ),
    **dict.fromkeys(("caring", "love"), "love"),
    **dict.fromkeys(("anger", "annoyance", "disgust"), "anger"),
    **dict.fromkeys(("fear", "nervousness"), "fear"),
    "surprise": "surprise",
    **dict.fromkeys(("approval", "confusion", "curiosity", "desire", "disapproval", "neutral", "realization"), NEUTRAL),
}

#: The bundled adapter that judges where no other model is named.
DEFAULT_EMOTION_MODEL = "everyday"


@dataclass(frozen=True)
class Vocabulary:
    """The labels of a known corpus: their names in the order of its numbers, and what they mean to us.

    `first` is the number of the first name. `emotions` maps each name to one of the six emotions or to `NEUTRAL`.
    """

    name: str
    names: tuple[str, ...]
    emotions: Mapping[str, str]
    first: int = 0
    multi_label: bool = False

    @property
    def neutral(self) -> str | None:
        """The label that means "no emotion", if there is one."""
        return NEUTRAL if NEUTRAL in self.names else None


def _vocabularies(*known: Vocabulary) -> dict[str, Vocabulary]:
    return {vocabulary.name: vocabulary for vocabulary in known}


#: Known vocabularies by name, each with the numbers that its authors publish.
VOCABULARIES: dict[str, Vocabulary] = _vocabularies(
    # Alphabetical, and neutral at the end. A text has one to five labels.
    Vocabulary("goemotions", (*sorted(set(GOEMOTIONS) - {NEUTRAL}), NEUTRAL), GOEMOTIONS, multi_label=True),
    # The variable EMOT of the International Survey on Emotion Antecedents and Reactions (Scherer and Wallbott, 1994).
    Vocabulary(
        "isear",
        ("joy", "fear", "anger", "sadness", "disgust", "shame", "guilt"),
        {
            **{name: name for name in ("joy", "fear", "anger", "sadness")},
            "disgust": "anger",
            "shame": "sadness",
            "guilt": "sadness",
        },
        first=1,
    ),
    # Ekman's six in the order of GoEmotions' mapping, with neutral at the end.
    Vocabulary(
        "ekman",
        ("anger", "disgust", "fear", "joy", "sadness", "surprise", NEUTRAL),
        {
            **{name: name for name in ("anger", "fear", "joy", "sadness", "surprise")},
            "disgust": "anger",
            NEUTRAL: NEUTRAL,
        },
    ),
    # TweetEval's task "emotion" (Barbieri et al., 2020).
    Vocabulary(
        "tweeteval",
        ("anger", "joy", "optimism", "sadness"),
        {"anger": "anger", "joy": "joy", "optimism": "joy", "sadness": "sadness"},
    ),
    # Chen et al., 2022, "CPED"; in the order of the paper's table. Relaxed, positive-other and negative-other say which
    # side a text is on, and no emotion.
    Vocabulary(
        "cped",
        (
            "happy", "grateful", "relaxed", "positive-other", NEUTRAL, "anger", "sadness", "fear", "depress",
            "disgust", "astonished", "worried", "negative-other",
        ),
        {
            "happy": "joy", "grateful": "joy", "relaxed": NEUTRAL, "positive-other": NEUTRAL, NEUTRAL: NEUTRAL,
            "anger": "anger", "sadness": "sadness", "fear": "fear", "depress": "sadness", "disgust": "anger",
            "astonished": "surprise", "worried": "fear", "negative-other": NEUTRAL,
        },
    ),
)  # fmt: skip

#: Names of emotions beside those of the vocabularies, in English and Chinese: adjectives, and SemEval's labels.
_OTHER_NAMES: dict[str, str] = {
    **dict.fromkeys(
        "sad unhappy grief depressed depression pessimism loneliness 悲伤 伤心 难过 忧伤 哀".split(), "sadness"
    ),
    **dict.fromkeys("happiness joyful pride contentment 快乐 高兴 开心 喜悦 喜 乐 感激".split(), "joy"),
    **dict.fromkeys("loving affection trust 爱 喜欢 喜爱 好".split(), "love"),
    **dict.fromkeys("angry mad rage hate disgusted annoyed contempt 愤怒 生气 厌恶 怒 恶".split(), "anger"),
    **dict.fromkeys("afraid scared fearful anxious anxiety nervous worry 恐惧 害怕 担心 焦虑 惧".split(), "fear"),
    **dict.fromkeys("surprised amazed amazement shocked 惊讶 惊喜 惊".split(), "surprise"),
}
#: Names of labels that mean "no emotion".
_NEUTRAL_NAMES = frozenset(("neutral", "none", "no emotion", "no_emotion", "中性", "无情绪", "无"))


def _known_names() -> dict[str, str]:
    found = dict(_OTHER_NAMES)
    for vocabulary in reversed(VOCABULARIES.values()):
        found.update(vocabulary.emotions)
    return {**found, **{emotion: emotion for emotion in EMOTIONS}}


_EMOTION_OF = _known_names()


def emotion_of(label: str) -> str | None:
    """Return which of the six emotions a label of another set means by its name, or None: none, or not known."""
    emotion = _EMOTION_OF.get(label.strip().casefold())
    return None if emotion == NEUTRAL else emotion


def neutral_among(labels: Iterable[str]) -> str | None:
    """Return the label of `labels` whose name says "no emotion", or None."""
    return next((label for label in labels if label.strip().casefold() in _NEUTRAL_NAMES), None)


# --- the labels of voices ------------------------------------------------------------------------

#: SenseVoice's emotion tags; None is neutral: no emotion of ours. No voice model knows "love".
SENSEVOICE_TO_EMOTION: dict[str, str | None] = {
    "HAPPY": "joy",
    "SAD": "sadness",
    "ANGRY": "anger",
    "FEARFUL": "fear",
    "DISGUSTED": "anger",
    "SURPRISED": "surprise",
    "NEUTRAL": None,
    "EMO_UNKNOWN": None,
}

#: emotion2vec+'s nine classes, by their English names.
EMOTION2VEC_TO_EMOTION: dict[str, str | None] = {
    "angry": "anger",
    "disgusted": "anger",
    "fearful": "fear",
    "happy": "joy",
    "neutral": None,
    "other": None,
    "sad": "sadness",
    "surprised": "surprise",
    "unknown": None,
}
