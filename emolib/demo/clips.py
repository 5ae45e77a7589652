"""Recordings of our own for the notebooks, spoken by the embedded voice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emolib.audio import SAMPLE_RATE, AudioClip, write_wav

__all__ = ["NoisyClip", "record_noisy_clip", "say"]

#: The words of the clip: the pause between the first two is no end, the one before the last is.
_PHRASES = ("When I came to the station,", "nobody was there.", "So I went home alone.")
_EMOTION = "sadness"
#: Silence before the first phrase and after each, in seconds.
_LEAD_S, _PAUSES_S = 1.5, (0.45, 1.4, 1.5)
#: A knock on the table, loud and without a voice: where it begins, and how long it rings.
_KNOCK_S, _KNOCK_LENGTH_S, _KNOCK_LEVEL = 1.05, 0.12, 0.12
_NOISE_DBFS = -48.0
_SEED = 7


@dataclass(frozen=True, eq=False)
class NoisyClip:
    """A recording with known contents: the sound, the stretches of speech in it, and the knock (seconds)."""

    clip: AudioClip
    spoken: tuple[tuple[float, float], ...]
    knock: tuple[float, float]


def say(*requests: tuple[str, str | None]) -> list[AudioClip]:
    """Have the embedded voice say each (text, emotion) and return the clips at 16 kHz."""
    from emolib.tts import SpeechRequest, SpeechSynthesizer, running_service

    with running_service() as url, SpeechSynthesizer(url, sample_rate=SAMPLE_RATE) as synthesizer:
        return [synthesizer.synthesize(SpeechRequest(text, emotion)) for text, emotion in requests]


def record_noisy_clip(path: Path | str) -> NoisyClip:
    """Write a spoken recording with pauses, room noise and a knock to `path` (WAV at 16 kHz).

    The first second holds the noise of the room alone, as a calibration wants it.
    """
    samples, spoken = _laid_out(say(*((phrase, _EMOTION) for phrase in _PHRASES)))
    knock = (_KNOCK_S, _KNOCK_S + _KNOCK_LENGTH_S)
    noisy = AudioClip(samples + _room_noise(len(samples)) + _knock(len(samples)), SAMPLE_RATE, str(path))
    write_wav(path, noisy)
    return NoisyClip(noisy, spoken, knock)


def _laid_out(clips: Sequence[AudioClip]) -> tuple[np.ndarray, tuple[tuple[float, float], ...]]:
    """Return the clips with their pauses as one array, and from when to when each is heard."""
    parts, spoken, seconds = [_silence(_LEAD_S)], [], _LEAD_S
    for clip, pause in zip(clips, _PAUSES_S, strict=True):
        loud = np.flatnonzero(np.abs(clip.samples) > 0.01 * np.abs(clip.samples).max())
        voice = clip.samples[loud[0] : loud[-1] + 1]
        spoken.append((seconds, seconds + len(voice) / SAMPLE_RATE))
        parts += [voice, _silence(pause)]
        seconds = spoken[-1][1] + pause
    return np.concatenate(parts), tuple(spoken)


def _silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32)


def _room_noise(count: int) -> np.ndarray:
    """Return noise that is stronger in the low bands, as a fan's or a street's is."""
    spectrum = np.fft.rfft(np.random.default_rng(_SEED).normal(size=count))
    hz = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(hz, 100.0)), count)
    return (noise * 10 ** (_NOISE_DBFS / 20) / noise.std()).astype(np.float32)


def _knock(count: int) -> np.ndarray:
    """Return silence with one knock in it: a burst that dies away."""
    length = round(_KNOCK_LENGTH_S * SAMPLE_RATE)
    burst = np.random.default_rng(_SEED + 1).normal(size=length) * np.exp(-np.arange(length) / (length / 4))
    knock = np.zeros(count, dtype=np.float32)
    start = round(_KNOCK_S * SAMPLE_RATE)
    knock[start : start + length] = _KNOCK_LEVEL * burst
    return knock
