"""Voice activity: is there speech in a frame of 30 ms?

Every detector takes frames of 480 float32 samples at 16 kHz in order and gives a probability.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from emolib.audio import SAMPLE_RATE, to_pcm16
from emolib.errors import MissingDependency
from emolib.speech.noise import QUIET_ROOM, NoiseFloor, NoiseProfile, band_powers, level_dbfs

__all__ = [
    "FusedDetector",
    "GateDetector",
    "Hysteresis",
    "SileroDetector",
    "VoiceDetector",
    "WebRtcDetector",
    "best_detector",
    "logit",
]

_SILERO_WINDOW = 512
_SILERO_CONTEXT = 64
_QUIET_VOICE = 0.2


class VoiceDetector(Protocol):
    """Something that hears whether a frame holds speech."""

    def push(self, frame: np.ndarray) -> float:
        """The probability in [0, 1] that the next frame, float32 of shape (480,), holds speech."""
        ...

    def reset(self) -> None:
        """Forget what was heard, as before the first frame."""
        ...


class WebRtcDetector:
    """WebRTC's detector (webrtcvad): a Gaussian mixture over six bands. `mode` 0 (lenient) to 3 (strict)."""

    def __init__(self, mode: int = 2) -> None:
        try:
            import webrtcvad
        except ImportError as error:
            raise MissingDependency("the package webrtcvad-wheels", extra="speech") from error
        self._mode = mode
        self._make = webrtcvad.Vad
        self.reset()

    def push(self, frame: np.ndarray) -> float:
        # It takes bytes: an array would be read at half its length without a word.
        pcm = to_pcm16(frame)
        return float(self._vad.is_speech(pcm, SAMPLE_RATE))

    def reset(self) -> None:
        self._vad = self._make(self._mode)


class SileroDetector:
    """Silero VAD on onnxruntime with one thread, without torch; its windows are 32 ms (silero-vad's wheel)."""

    def __init__(self) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingDependency("the package onnxruntime", extra="silero") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(_silero_model()), options, providers=["CPUExecutionProvider"]
        )
        self._rate = np.array(SAMPLE_RATE, dtype=np.int64)
        self.reset()

    def push(self, frame: np.ndarray) -> float:
        self._pending = np.concatenate([self._pending, frame])
        while len(self._pending) >= _SILERO_CONTEXT + _SILERO_WINDOW:
            window = self._pending[: _SILERO_CONTEXT + _SILERO_WINDOW]
            feed = {"input": window[None].astype(np.float32, copy=False), "state": self._state, "sr": self._rate}
            output, self._state = self._session.run(None, feed)
            self._last = float(output[0, 0])
            self._pending = self._pending[_SILERO_WINDOW:]
        return self._last

    def reset(self) -> None:
        self._state = np.zeros((2, 1, 128), dtype=np.float32)
        self._pending = np.zeros(_SILERO_CONTEXT, dtype=np.float32)
        self._last = 0.0


class GateDetector:
    """The energy gate alone: one when a frame is louder than the gate of the room."""

    def __init__(self, ambience: NoiseProfile = QUIET_ROOM) -> None:
        self._gate = ambience.gate_dbfs

    def push(self, frame: np.ndarray) -> float:
        return float(level_dbfs(frame) > self._gate)

    def reset(self) -> None:
        """Nothing to forget."""


class FusedDetector:
    """A voice detector and the excess over the calibrated noise floor, weighed by logistic regression.

    The excess carries the signal-to-noise ratio: in a quiet room it decides, in a loud one it is near
    zero and the voice detector decides. The weights come from `benchmarks/_fit_detector.py`. The floor
    follows the room while the voice detector is sure that nobody speaks.
    """

    def __init__(self, voice: VoiceDetector, ambience: NoiseProfile = QUIET_ROOM) -> None:
        self._voice = voice
        self._ambience = ambience
        self._weights = _WEIGHTS[type(voice)]
        self.reset()

    @property
    def floor_dbfs(self) -> float:
        """The present noise floor."""
        return self._floor.dbfs

    def push(self, frame: np.ndarray) -> float:
        powers = band_powers(frame)
        voice = self._voice.push(frame)
        if voice < _QUIET_VOICE:
            self._floor.follow(powers, level_dbfs(frame))
        excess = self._floor.excess_db(powers)
        for_voice, for_excess, bias = self._weights
        return 1.0 / (1.0 + math.exp(-(for_voice * logit(voice) + for_excess * excess + bias)))

    def reset(self) -> None:
        self._voice.reset()
        self._floor = NoiseFloor(self._ambience)


#: Of the logit of the voice probability, of the excess in dB, and the constant.
_WEIGHTS: dict[type, tuple[float, float, float]] = {
    SileroDetector: (0.432, 0.300, -1.415),
    WebRtcDetector: (0.119, 0.451, -1.603),
}


class Hysteresis:
    """Probabilities to a steady yes or no.

    Speech begins at `on` and ends below `off` for more than `hold` frames of 30 ms.
    """

    def __init__(self, on: float = 0.5, off: float = 0.35, hold: int = 3) -> None:
        self._on, self._off, self._hold = on, off, hold
        self.speaking = False
        self._quiet = 0

    def push(self, probability: float) -> bool:
        """Whether there is speech in the frame with this probability."""
        self._quiet = 0 if probability >= (self._off if self.speaking else self._on) else self._quiet + 1
        self.speaking = self._quiet == 0 or (self.speaking and self._quiet <= self._hold)
        return self.speaking


def best_detector(ambience: NoiseProfile = QUIET_ROOM) -> FusedDetector:
    """Silero fused with the noise floor; WebRTC in its calibrated mode where Silero is not installed."""
    try:
        voice: VoiceDetector = SileroDetector()
    except MissingDependency:
        voice = WebRtcDetector(ambience.webrtc_mode)
    return FusedDetector(voice, ambience)


def logit(probability: float) -> float:
    """The log-odds of a probability, kept within 9.2 of zero."""
    probability = min(max(probability, 1e-4), 1 - 1e-4)
    return math.log(probability / (1 - probability))


def _silero_model() -> Path:
    # Found without importing the package, which would import torch.
    spec = importlib.util.find_spec("silero_vad")
    for folder in spec.submodule_search_locations or [] if spec else []:
        path = Path(folder) / "data" / "silero_vad_16k_op15.onnx"
        if path.is_file():
            return path
    raise MissingDependency("the package silero-vad", extra="silero")
