"""Fit `emolib.speech.voice_emotion.DEFAULT_FUSION`: `python -m benchmarks._fit_fusion`.

The turns: neutral sentences of six of the twelve actors (`benchmarks._acted_speech`) with voices heard by heads that
never met them; and sentences of the sample corpus that the classifier was not trained on, each with a neutral voice of
one of these actors and with a voice that means what the words mean. The other six actors judge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks._acted_speech import TUNING_ACTORS, acted_clips
from benchmarks.tone import Heard, hear, manner_share
from emolib.classify import EmotionClassifier
from emolib.data import sample_corpus
from emolib.emotions import DEFAULT_EMOTION_MODEL, NEUTRAL
from emolib.labels import EmotionScores
from emolib.speech import FusionWeights, fit_fusion, fuse
from emolib.speech.voice_emotion import DEFAULT_FUSION

_Turn = tuple[EmotionScores, dict[str, float], str]


def main() -> None:
    """Print the weights, and what they and the present ones do on the actors that judge."""
    classifier = EmotionClassifier.load(DEFAULT_EMOTION_MODEL)
    corpus = sample_corpus("test")
    texts = list(zip(classifier.classify(corpus.texts), corpus.labels, strict=True))
    heard = hear(acted_clips(), classifier)
    tuning = [each for each in heard if each.clip.actor in TUNING_ACTORS]
    judging = [each for each in heard if each.clip.actor not in TUNING_ACTORS]
    weights = fit_fusion(*zip(*_turns(texts, tuning), strict=True))
    for each in (weights, DEFAULT_FUSION):
        print(each, f"loss {_loss(list(_turns(texts, judging)), each):.4f}, manner {_manner(judging, each):.3f}")


def _turns(texts: Sequence[tuple[EmotionScores, str]], heard: Sequence[Heard]) -> Iterator[_Turn]:
    rng = np.random.default_rng(15)
    voices = {
        label: [each.voice for each in heard if each.clip.label == label] for label in {h.clip.label for h in heard}
    }
    for each in heard:
        if each.clip.label != NEUTRAL:
            yield each.words, each.voice, each.clip.label
    for words, label in texts:
        for tone in {NEUTRAL, label} & voices.keys():
            yield words, voices[tone][rng.integers(len(voices[tone]))], label


def _loss(turns: Sequence[_Turn], weights: FusionWeights) -> float:
    """Return the mean cross-entropy of the fused scores."""
    fused = [fuse(words, voice, weights).probabilities[label] for words, voice, label in turns]
    return float(-np.log(np.maximum(fused, 1e-6)).mean())


def _manner(heard: Sequence[Heard], weights: FusionWeights) -> float:
    strong = [each for each in heard if each.clip.strength == "strong" and each.clip.label != NEUTRAL]
    return manner_share([(fuse(each.words, each.voice, weights), each.clip.label) for each in strong])


if __name__ == "__main__":
    main()
