"""Whisper's encoder over a clip alone; faster-whisper itself always encodes 30 s."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emolib.audio import SAMPLE_RATE

__all__ = ["ENCODED_PER_SECOND", "LEAD_S", "EncodedSpeech", "WhisperEncoder"]

ENCODED_PER_SECOND = 50
#: The encoder gets a clip with so much silence before and after it. Without silence before it, a sentence that starts
#: at once is misheard more often.
LEAD_S = 0.25
_TAIL_S = 1.0
_LEAD = round(LEAD_S * SAMPLE_RATE)
_HOP = SAMPLE_RATE // ENCODED_PER_SECOND
_LEAD_FRAMES = _LEAD // _HOP


@dataclass(frozen=True, eq=False)
class EncodedSpeech:
    """The encoder's output for a clip with silence before and after it.

    `output` has shape (frames of 20 ms, width). `levels_db` has a level for each frame, relative to each other only.
    The frames of the clip itself are `clip`.
    """

    output: np.ndarray
    levels_db: np.ndarray
    clip: slice


class WhisperEncoder:
    """The encoder of a faster-whisper model. Its cost grows with the length of the clip."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def encode(self, samples: np.ndarray) -> EncodedSpeech:
        """Encode float32 samples at 16 kHz."""
        features = self._features(np.pad(samples, (_LEAD, 0)), round(_TAIL_S * SAMPLE_RATE))
        last = _LEAD_FRAMES + -(-len(samples) // _HOP)
        return EncodedSpeech(self._run(features), _levels_db(features), slice(_LEAD_FRAMES, last))

    def silence(self, seconds: float) -> np.ndarray:
        """Return the output for silence alone, of shape (frames, width)."""
        return self._run(self._features(np.zeros(0, dtype=np.float32), round(seconds * SAMPLE_RATE)))

    def _features(self, samples: np.ndarray, padding: int) -> np.ndarray:
        found = self._model.feature_extractor(samples, padding=padding)
        return found[:, : found.shape[1] // 2 * 2]

    def _run(self, features: np.ndarray) -> np.ndarray:
        output = self._model.encode(features)
        if output.device != "cpu":
            from ctranslate2 import Device

            output = output.to_device(Device.cpu)
        return np.array(output)[0]


def _levels_db(features: np.ndarray) -> np.ndarray:
    # Whisper's features are (log10 of the power + 4) / 4, two columns for a frame of the encoder.
    power = (10.0 ** (4.0 * features.T.reshape(-1, 2, len(features)).mean(axis=1) - 4.0)).sum(axis=1)
    return 10.0 * np.log10(power + 1e-9)
