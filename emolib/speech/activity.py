"""What voice activity detectors hear in a recording, frame by frame, and the noise floor that they stand on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emolib.audio import SAMPLE_RATE, AudioClip
from emolib.errors import InputError, MissingDependency
from emolib.speech.noise import FRAME, QUIET_ROOM, NoiseProfile, frames, level_dbfs
from emolib.speech.vad import FusedDetector, SileroDetector, VoiceDetector, WebRtcDetector
from emolib.tables import markdown_table, percent

__all__ = ["Activity", "voice_activity"]

#: From this probability on a frame is taken for speech.
_SPEECH = 0.5


@dataclass(frozen=True, eq=False)
class Activity:
    """A recording in frames of 30 ms; all arrays have shape (frames,).

    `seconds` is the end of each frame, `levels_dbfs` its level and `floor_dbfs` the noise floor as it was followed;
    `gate_dbfs` is the level that speech has to exceed. `probabilities` maps the name of each detector to the
    probability that a frame holds speech.
    """

    seconds: np.ndarray
    levels_dbfs: np.ndarray
    floor_dbfs: np.ndarray
    gate_dbfs: float
    probabilities: Mapping[str, np.ndarray]

    def speech_seconds(self, name: str, threshold: float = _SPEECH) -> float:
        """Return for how many seconds the detector `name` hears speech."""
        return float(np.sum(self.probabilities[name] >= threshold)) * FRAME / SAMPLE_RATE

    def table(self, spoken: Sequence[tuple[float, float]]) -> str:
        """Compare the detectors with the stretches of speech that are known, as a Markdown table."""
        truth = np.zeros(len(self.seconds), dtype=bool)
        for start, end in spoken:
            truth |= (self.seconds > start) & (self.seconds - FRAME / SAMPLE_RATE < end)
        rows = [[name, *_compared(heard >= _SPEECH, truth)] for name, heard in self.probabilities.items()]
        return markdown_table(["detector", "speech that it finds", "false alarms (frames)"], rows)


def voice_activity(clip: AudioClip, noise: NoiseProfile = QUIET_ROOM) -> Activity:
    """Run WebRTC's detector, Silero's and our fusion over `clip`, in the room that `noise` describes.

    Without Silero's package our fusion stands on WebRTC's detector. InputError if the clip is shorter than a frame.
    """
    pieces = frames(clip.resample(SAMPLE_RATE).samples)
    if not len(pieces):
        raise InputError(f"{clip.name} has {clip.seconds:.2f} s; a detector needs at least 0.03 s")
    detectors = _detectors(noise)
    fused = detectors["emolib"]
    heard: dict[str, list[float]] = {name: [] for name in detectors}
    floor: list[float] = []
    for frame in pieces:
        for name, detector in detectors.items():
            heard[name].append(detector.push(frame))
        floor.append(fused.floor_dbfs)
    return Activity(
        seconds=np.arange(1, len(pieces) + 1) * FRAME / SAMPLE_RATE,
        levels_dbfs=np.array([level_dbfs(frame) for frame in pieces]),
        floor_dbfs=np.array(floor),
        gate_dbfs=noise.gate_dbfs,
        probabilities={name: np.array(values) for name, values in heard.items()},
    )


def _compared(heard: np.ndarray, truth: np.ndarray) -> tuple[str, str]:
    """Return the share of the frames with speech that were heard, and the number of those heard without speech."""
    found = float(heard[truth].mean()) if truth.any() else 0.0
    return percent(found), str(int(heard[~truth].sum()))


def _detectors(noise: NoiseProfile) -> dict[str, VoiceDetector]:
    """Return the detectors by name; our own is the last, and has a detector inside that nobody else uses."""
    found: dict[str, VoiceDetector] = {"WebRTC": WebRtcDetector(noise.webrtc_mode)}
    try:
        found["Silero"] = SileroDetector()
    except MissingDependency:
        return {**found, "emolib": FusedDetector(WebRtcDetector(noise.webrtc_mode), noise)}
    return {**found, "emolib": FusedDetector(SileroDetector(), noise)}
