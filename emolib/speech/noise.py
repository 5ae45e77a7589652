"""The noise of the room: its level and its bands, and a floor that follows it in silence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from emolib.audio import SAMPLE_RATE

__all__ = ["FRAME", "QUIET_ROOM", "NoiseFloor", "NoiseProfile", "band_powers", "frames", "level_dbfs"]

#: Samples of a frame: 30 ms at 16 kHz, the longest that WebRTC's detector takes.
FRAME = 480

#: Bark-like bands from 100 Hz on: mains hum and a DC offset lie below.
_BAND_EDGES_HZ = (100, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150, 3700, 4400)
_BAND_EDGES_HZ += (5300, 6400, 7600)
_WINDOW = np.hanning(FRAME).astype(np.float32)
_FFT = 512
_FIRST_BINS = np.ceil(np.array(_BAND_EDGES_HZ) * _FFT / SAMPLE_RATE).astype(int)
_BINS_PER_BAND = np.diff(_FIRST_BINS)
_POWER_SCALE = 1.0 / float(np.sum(_WINDOW**2))
_SILENCE = 1e-10

_GATE_MARGIN_DB = 6.0
_LOUD_ROOM_DBFS = -38.0
_TIME_CONSTANT_S = 1.5
#: A frame counts at most so many times the floor: a knock is no room, and a room that grows loud is so for seconds.
_LOUDEST = 4.0
#: After so many frames a floor that was an assumption has been measured.
_MEASURED = round(_TIME_CONSTANT_S * SAMPLE_RATE / FRAME)


@dataclass(frozen=True, eq=False)
class NoiseProfile:
    """What a room sounds like when nobody speaks.

    `floor_dbfs` is the level of the noise and `spread_db` its deviation over frames; `bands` holds the
    mean power of the 20 bands, scaled so that white noise has the same power in each as in the sound;
    `webrtc_mode` is the least aggressive mode of WebRTC's detector that leaves the noise alone.
    `frames` counts the frames that it was measured on: 0 for an assumption.
    """

    floor_dbfs: float
    spread_db: float
    bands: np.ndarray
    webrtc_mode: int
    frames: int = 0

    @cached_property
    def gate_dbfs(self) -> float:
        """The level that speech has to exceed."""
        return self.floor_dbfs + max(_GATE_MARGIN_DB, 3 * self.spread_db)

    @property
    def too_loud(self) -> bool:
        """True if speech at a usual distance would hardly stand out."""
        return self.floor_dbfs > _LOUD_ROOM_DBFS

    def advice(self) -> str:
        """A sentence for the person at the microphone."""
        if self.too_loud:
            return (
                f"the room is too loud (noise at {self.floor_dbfs:.0f} dBFS): move nearer to the microphone,"
                " turn its gain down or choose a quieter place"
            )
        return f"the room is quiet enough (noise at {self.floor_dbfs:.0f} dBFS)"


#: Assumed until a room has been measured.
QUIET_ROOM = NoiseProfile(-60.0, 2.0, np.full(len(_BINS_PER_BAND), 1e-6, dtype=np.float32), 2)


class NoiseFloor:
    """The noise floor of a room, followed while nobody speaks."""

    def __init__(self, ambience: NoiseProfile = QUIET_ROOM) -> None:
        self._bands = ambience.bands.astype(np.float64)
        self._power = 10 ** (ambience.floor_dbfs / 10)
        self._frames = ambience.frames

    @property
    def dbfs(self) -> float:
        """The present level of the noise."""
        return 10 * np.log10(self._power)

    def excess_db(self, powers: np.ndarray) -> float:
        """By how many dB the bands stand above the floor on average, each counted from -5 to 30."""
        return float(np.mean(np.clip(10 * np.log10(powers / self._bands), -5.0, 30.0)))

    def follow(self, powers: np.ndarray, level: float) -> None:
        """Move towards a frame in which nobody speaks: within 1.5 s, and faster if the floor is an assumption.

        A single loud frame, such as a knock, hardly moves it.
        """
        self._frames += 1
        rate = max(FRAME / SAMPLE_RATE / _TIME_CONSTANT_S, 1 / (self._frames + 1))
        power = 10 ** (level / 10)
        if self._frames > _MEASURED:
            powers, power = np.minimum(powers, _LOUDEST * self._bands), min(power, _LOUDEST * self._power)
        self._bands += rate * (powers - self._bands)
        self._power += rate * (power - self._power)


def frames(samples: np.ndarray) -> np.ndarray:
    """Samples of shape (n,) as whole frames of shape (n // 480, 480); the rest is left out."""
    return samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)


def level_dbfs(frame: np.ndarray) -> float:
    """The level of a frame in dB of full scale, its DC offset left out; -100 for silence."""
    return float(10 * np.log10(max(np.var(frame), _SILENCE)))


def band_powers(frame: np.ndarray) -> np.ndarray:
    """The mean power of a frame in each of 20 bands from 100 to 7,600 Hz."""
    spectrum = np.fft.rfft((frame - frame.mean()) * _WINDOW, _FFT)
    powers = (spectrum.real**2 + spectrum.imag**2) * _POWER_SCALE
    sums = np.add.reduceat(powers[: _FIRST_BINS[-1]], _FIRST_BINS[:-1])
    return np.maximum(sums / _BINS_PER_BAND, _SILENCE)
