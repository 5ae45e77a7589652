"""The end of a turn, heard in the voice: has a speaker who pauses said all, or only stopped to think?"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from emolib.audio import SAMPLE_RATE
from emolib.errors import EmolibError, MissingDependency
from emolib.models import smart_turn_model

__all__ = ["SmartTurn", "TurnDetector", "TurnWatch", "best_turn_detector"]

_WINDOW_S = 8
_FRAMES = 100 * _WINDOW_S
#: A turn detector is asked after so much silence, and once more if it heard no end the first time.
_ASK_AFTER_S = (0.09, 0.33)
#: How long listening goes on beside a question before it waits for the answer.
_ANSWER_S = 0.15


class TurnDetector(Protocol):
    """Something that hears whether a speaker has finished."""

    def probability(self, samples: np.ndarray) -> float:
        """The probability that the turn is over; float32 of shape (n,) at 16 kHz, the turn and the pause after it."""
        ...


class SmartTurn:
    """Smart Turn v3.2 (Daily, in the wheel of pipecat-ai; BSD-2-Clause): Whisper's encoder on the last 8 s.

    It judges by the melody of 23 languages; 0.15 s on one core whatever the length.
    """

    def __init__(self) -> None:
        try:
            import onnxruntime
            from faster_whisper.feature_extractor import FeatureExtractor
        except ImportError as error:
            raise MissingDependency(f"the package {error.name}", extra="silero") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(smart_turn_model()), options, providers=["CPUExecutionProvider"]
        )
        self._features = FeatureExtractor(chunk_length=_WINDOW_S)

    def probability(self, samples: np.ndarray) -> float:
        recent = samples[-_WINDOW_S * SAMPLE_RATE :]
        # As in its training: silence stands before a short turn, and the loudness is levelled.
        window = np.pad(recent, (_WINDOW_S * SAMPLE_RATE - len(recent), 0))
        window = (window - window.mean()) / math.sqrt(window.var() + 1e-7)
        features = self._features(window.astype(np.float32), padding=0)[None, :, :_FRAMES]
        (found,) = self._session.run(None, {"input_features": features.astype(np.float32)})
        return float(found.item())


class TurnWatch:
    """Asks a turn detector about a pause, in the background, so that listening goes on meanwhile."""

    def __init__(self, detector: TurnDetector) -> None:
        self._detector = detector
        self._executor = ThreadPoolExecutor(1, "turn detector")
        self.resume()

    def resume(self) -> None:
        """Speech goes on: what was asked about the pause is of no use."""
        self._asked = 0
        self._asked_at = 0.0
        self._answer: Future[float] | None = None
        self._verdict: bool | None = None

    def verdict(self, silence_s: float, turn: Callable[[], np.ndarray]) -> bool | None:
        """Whether the turn is over after `silence_s` of pause; None while that is not known.

        `turn` gives the samples of the turn and the pause. The same sound has the same verdict at the
        same sample, however fast it comes: an answer that is due is waited for.
        """
        if self._answer is None:
            self._ask_if_due(silence_s, turn)
        elif silence_s >= self._asked_at + _ANSWER_S:
            self._verdict, self._answer = self._answer.result() >= 0.5, None
        return self._verdict

    def _ask_if_due(self, silence_s: float, turn: Callable[[], np.ndarray]) -> None:
        if self._verdict or self._asked == len(_ASK_AFTER_S) or silence_s < _ASK_AFTER_S[self._asked]:
            return
        self._asked += 1
        self._asked_at = silence_s
        self._answer = self._executor.submit(self._detector.probability, turn())


def best_turn_detector() -> TurnDetector | None:
    """Smart Turn, or None if its weights are not installed: words and silence decide alone."""
    try:
        return SmartTurn()
    except EmolibError:
        return None
