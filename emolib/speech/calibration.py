"""Calibration: what a room sounds like, from a second or two in which nobody speaks."""

from __future__ import annotations

import numpy as np

from emolib.audio import SAMPLE_RATE, AudioClip
from emolib.errors import InputError
from emolib.speech.noise import NoiseProfile, band_powers, frames, level_dbfs
from emolib.speech.vad import WebRtcDetector

__all__ = ["calibrate"]

_LEAST_SECONDS = 0.3
_FALSE_ALARMS = 0.05
_UPSET_DB = 10.0


def calibrate(clip: AudioClip) -> NoiseProfile:
    """The ambience in a clip of one or two seconds in which nobody speaks.

    Single loud frames (a door, a cough) are left out. InputError if the clip is under 0.3 s.
    """
    if clip.seconds < _LEAST_SECONDS:
        raise InputError(f"{clip.name} has {clip.seconds:.2f} s; calibration needs a second or two of room noise")
    pieces = frames(clip.resample(SAMPLE_RATE).samples)
    levels = np.array([level_dbfs(frame) for frame in pieces])
    calm = levels < np.median(levels) + _UPSET_DB
    bands = np.mean([band_powers(frame) for frame in pieces[calm]], axis=0)
    return NoiseProfile(
        floor_dbfs=float(10 * np.log10(np.mean(10 ** (levels[calm] / 10)))),
        spread_db=float(levels[calm].std()),
        bands=bands,
        webrtc_mode=_webrtc_mode(pieces[calm]),
        frames=int(calm.sum()),
    )


def _webrtc_mode(pieces: np.ndarray) -> int:
    for mode in range(3):
        detector = WebRtcDetector(mode)
        if np.mean([detector.push(frame) for frame in pieces]) < _FALSE_ALARMS:
            return mode
    return 3
