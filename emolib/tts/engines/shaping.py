"""Pitch and loudness of finished samples."""

from __future__ import annotations

import numpy as np

from emolib.tts.prosody import Prosody

__all__ = ["NEUTRAL_LOUDNESS", "level", "pitch_ratio", "shift_pitch", "without_lead"]

#: Loudness of the neutral voice, as the root mean square of a sentence in dB of full scale.
NEUTRAL_LOUDNESS = -25.0
_PEAK = 0.97
#: Below this part of its peak a sound counts as silence.
_SILENCE = 0.01


def pitch_ratio(prosody: Prosody) -> float:
    """The factor by which the fundamental frequency is raised."""
    return 2.0 ** (prosody.pitch / 12.0)


def shift_pitch(samples: np.ndarray, sample_rate: int, prosody: Prosody) -> np.ndarray:
    """Raise or lower the pitch by resampling, which shortens the sound by `pitch_ratio`: stretch it before."""
    import soxr

    ratio = pitch_ratio(prosody)
    samples = np.asarray(samples, dtype=np.float32)
    return samples if abs(ratio - 1.0) < 1e-4 else soxr.resample(samples, sample_rate * ratio, sample_rate)


def without_lead(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """`samples` with at most 15 ms of the silence at its start, so that it is heard as soon as it is played."""
    loud = np.flatnonzero(np.abs(samples) > _SILENCE * np.abs(samples).max(initial=0.0))
    return samples[max(0, int(loud[0]) - round(0.015 * sample_rate)) :] if loud.size else samples


def level(samples: np.ndarray, prosody: Prosody) -> np.ndarray:
    """Float32 samples at the loudness of the prosody, with their peak below full scale; silence stays silence."""
    loudness = float(np.sqrt(np.mean(np.square(samples)))) if samples.size else 0.0
    if loudness < 1e-8:
        return samples
    samples = samples * np.float32(10.0 ** ((NEUTRAL_LOUDNESS + prosody.gain) / 20.0) / loudness)
    peak = float(np.max(np.abs(samples)))
    return samples * np.float32(_PEAK / peak) if peak > _PEAK else samples
