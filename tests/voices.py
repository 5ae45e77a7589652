"""Speech for tests, spoken once a session by the embedded Piper voice."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from emolib.audio import AudioClip
from emolib.models import piper_voice

SENTENCE = "The old boat came home before the storm."


@lru_cache(maxsize=1)
def _voice():
    from piper import PiperVoice

    return PiperVoice.load(str(piper_voice()))


@lru_cache(maxsize=8)
def spoken(text: str = SENTENCE, sample_rate: int = 16_000) -> AudioClip:
    """`text` in the embedded voice, the same utterance at every rate."""
    return _utterance(text).resample(sample_rate)


@lru_cache(maxsize=8)
def _utterance(text: str) -> AudioClip:
    from piper import SynthesisConfig

    # Piper draws sound and durations at random: with neither, a text is the same utterance in every run.
    plain = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)
    pieces = [chunk.audio_float_array for chunk in _voice().synthesize(text, plain)]
    return AudioClip(np.concatenate(pieces), _voice().config.sample_rate, "the spoken test sentence")


def silence(seconds: float, sample_rate: int = 16_000) -> np.ndarray:
    return np.zeros(int(seconds * sample_rate), dtype=np.float32)


def white_noise(seconds: float, level_dbfs: float = -40.0, sample_rate: int = 16_000, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(int(seconds * sample_rate))
    return (samples * 10 ** (level_dbfs / 20)).astype(np.float32)
