"""Emotion as rate, pitch, loudness and pauses, for engines that know no emotion themselves.

The directions are those of the vocal correlates of emotion in Murray & Arnott (1993, "Toward the
simulation of emotion in synthetic speech", table 1) and, for love (tenderness), Juslin & Laukka
(2003, "Communication of emotions in vocal expression and music performance", table 7). The sizes
are chosen so that a recogniser still understands every rendering; benchmarks/speaking.py measures both.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NEUTRAL", "PROSODY", "Prosody", "prosody_for"]


@dataclass(frozen=True)
class Prosody:
    """How an utterance differs from the neutral voice.

    `rate` is a factor of the speaking rate, `pitch` in semitones, `gain` in decibels, `pause` the
    silence between sentences in seconds; `variation` and `timing` are Piper's noise scales.
    """

    rate: float = 1.0
    pitch: float = 0.0
    gain: float = 0.0
    pause: float = 0.20
    variation: float = 0.667
    timing: float = 0.8


NEUTRAL = Prosody()

PROSODY: dict[str, Prosody] = {
    "sadness": Prosody(rate=0.80, pitch=-2.0, gain=-5.0, pause=0.40, variation=0.50, timing=0.70),
    "joy": Prosody(rate=1.10, pitch=+2.5, gain=+2.0, pause=0.15, variation=0.75, timing=0.85),
    "love": Prosody(rate=0.88, pitch=-1.0, gain=-3.0, pause=0.28, variation=0.60, timing=0.75),
    "anger": Prosody(rate=1.16, pitch=+2.0, gain=+4.0, pause=0.10, variation=0.70, timing=0.70),
    "fear": Prosody(rate=1.20, pitch=+3.0, gain=-1.5, pause=0.12, variation=0.75, timing=0.90),
    "surprise": Prosody(rate=1.12, pitch=+3.5, gain=+3.0, pause=0.18, variation=0.80, timing=0.85),
}


def prosody_for(emotion: str | None, intensity: float = 1.0) -> Prosody:
    """The prosody of an emotion: neutral at intensity 0, as in PROSODY at 1, beyond it up to 2.

    The noise scales are not pushed past their documented value: there Piper starts to slur.
    """
    if emotion is None:
        return NEUTRAL
    full = PROSODY[emotion]
    return Prosody(
        rate=full.rate**intensity,
        pitch=full.pitch * intensity,
        gain=full.gain * intensity,
        pause=max(0.05, _between(NEUTRAL.pause, full.pause, intensity)),
        variation=_between(NEUTRAL.variation, full.variation, min(intensity, 1.0)),
        timing=_between(NEUTRAL.timing, full.timing, min(intensity, 1.0)),
    )


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share
