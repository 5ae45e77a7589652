"""Emotion as rate, pitch, loudness and pauses, for engines that know no emotion themselves.

The directions are those of the vocal correlates of emotion in Murray & Arnott (1993, "Toward the
simulation of emotion in synthetic speech", table 1) and, for love (tenderness), Juslin & Laukka
(2003, "Communication of emotions in vocal expression and music performance", table 7). The sizes
are chosen so that a recogniser still understands every rendering; benchmarks/speaking.py measures both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["NEUTRAL", "NEUTRAL_LOUDNESS", "PROSODY", "Prosody", "Shaping", "level", "pitch_ratio", "prosody_for"]

#: Loudness of the neutral voice, as the root mean square of a sentence in dB of full scale.
NEUTRAL_LOUDNESS = -25.0
_PEAK = 0.97
#: Below this part of its peak a sound counts as silence.
_SILENCE = 0.01
#: A start whose peak is below this is no speech yet, or too little of it to tell its loudness by.
_LEAST_PEAK = 0.05
#: So much louder than the whole sentence is its first third of a second, in dB (the embedded voice, 12 sentences in
#: seven emotions: 2.3 to 2.8, from one to the next 1.4 more or less).
_LOUDER_START = 2.4
#: A new gain is reached in this time.
_RAMP_S = 0.05


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
    """Return the prosody of an emotion: neutral at intensity 0, as in PROSODY at 1, beyond it up to 2.

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


def pitch_ratio(prosody: Prosody) -> float:
    """Return the factor by which the fundamental frequency is raised."""
    return 2.0 ** (prosody.pitch / 12.0)


def level(samples: np.ndarray, prosody: Prosody) -> np.ndarray:
    """Bring float32 samples to the loudness of the prosody, with their peak below full scale; silence stays silence."""
    loudness = float(np.sqrt(np.mean(np.square(samples)))) if samples.size else 0.0
    if loudness < 1e-8:
        return samples
    samples = samples * np.float32(_loudness_of(prosody) / loudness)
    peak = float(np.max(np.abs(samples)))
    return samples * np.float32(_PEAK / peak) if peak > _PEAK else samples


def _loudness_of(prosody: Prosody) -> float:
    """Return the root mean square that a sentence should have."""
    return 10.0 ** ((NEUTRAL_LOUDNESS + prosody.gain) / 20.0)


class Shaping:
    """Pitch and loudness of one sentence that comes in pieces, without the silence at its start.

    The loudness of the whole is known only at the end; until then it is told by what came so far.
    """

    def __init__(self, prosody: Prosody, sample_rate: int) -> None:
        import soxr

        ratio = pitch_ratio(prosody)
        self._resampler = None
        if abs(ratio - 1.0) > 1e-4:
            self._resampler = soxr.ResampleStream(sample_rate * ratio, sample_rate, 1, dtype="float32")
        self._loudness = _loudness_of(prosody)
        self._sample_rate = sample_rate
        self._held = np.zeros(0, dtype=np.float32)
        self._energy = 0.0
        self._count = 0
        self._gain: float | None = None

    def push(self, piece: np.ndarray, last: bool) -> np.ndarray:
        """Return the next samples, float32 mono; none while all is silence."""
        piece = np.asarray(piece, dtype=np.float32)
        if self._resampler:
            piece = self._resampler.resample_chunk(piece, last=last)
        if self._gain is None:
            self._held = np.concatenate([self._held, piece])
            if not last and np.abs(self._held).max(initial=0.0) < _LEAST_PEAK:
                return self._held[:0]
            piece = self._without_lead(self._held)
        return self._level(piece, last)

    def _without_lead(self, samples: np.ndarray) -> np.ndarray:
        """`samples` with at most 15 ms of the silence at its start, so that it is heard as soon as it is played."""
        loud = np.flatnonzero(np.abs(samples) > _SILENCE * np.abs(samples).max(initial=0.0))
        return samples[max(0, int(loud[0]) - round(0.015 * self._sample_rate)) :] if loud.size else samples

    def _level(self, samples: np.ndarray, last: bool) -> np.ndarray:
        self._energy += float(np.sum(np.square(samples, dtype=np.float64)))
        self._count += len(samples)
        loudness = (self._energy / self._count) ** 0.5 if self._count else 0.0
        if loudness < 1e-8:
            return samples
        if self._gain is None and not last:
            loudness *= 10.0 ** (-_LOUDER_START / 20.0)
        gain = self._loudness / loudness
        peak = float(np.max(np.abs(samples), initial=0.0))
        if peak * gain > _PEAK:
            gain = _PEAK / peak
        before, self._gain = (gain if self._gain is None else self._gain), gain
        gains = np.full(len(samples), gain, dtype=np.float32)
        ramp = min(len(samples), round(_RAMP_S * self._sample_rate))
        gains[:ramp] = np.linspace(before, gain, ramp, dtype=np.float32)
        return np.clip(samples * gains, -_PEAK, _PEAK)
