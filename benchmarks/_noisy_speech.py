"""Speech in noise with a known truth: clips, four kinds of noise, and where in a stream somebody speaks."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emolib.audio import AudioClip, read_audio
from emolib.errors import InputError
from emolib.speech.noise import FRAME, frames

__all__ = [
    "CALIBRATION",
    "NOISES",
    "SNRS",
    "Stream",
    "data_folder",
    "in_noise",
    "level_to",
    "make_noise",
    "recorded_clips",
    "speech_frames",
    "streams",
]

RATE = 16_000
SNRS = (20, 10, 5, 0)
NOISES = ("white", "pink", "babble", "hum")
#: Frames of room noise before the first clip (1.5 s): for calibration, and left out of the score.
CALIBRATION = 50

_PAUSES_S = (1.2, 3.4)
_BELOW_TOP_DB = 35.0
_ABOVE_FLOOR_DB = 6.0
_SILENCE_DBFS = -60.0


@dataclass(frozen=True, eq=False)
class Stream:
    """Sound of shape (480 n,), and for each of its n frames whether somebody speaks."""

    samples: np.ndarray
    truth: np.ndarray
    noise: str
    snr: float

    @property
    def room(self) -> AudioClip:
        """The calibration part."""
        return AudioClip(self.samples[: CALIBRATION * FRAME], RATE)


def data_folder() -> Path:
    """The folder of the data that is not part of this repository: EMOLIB_DATA (default ../shared/data)."""
    return Path(os.environ.get("EMOLIB_DATA") or Path(__file__).parents[2] / "shared" / "data")


def recorded_clips() -> list[tuple[AudioClip, str]]:
    """The recorded English clips and their transcripts, from `speech/` in EMOLIB_DATA (default ../shared/data)."""
    folder = data_folder() / "speech"
    table = folder / "transcripts.tsv"
    if not table.is_file():
        raise InputError(f"{table} is missing: the recorded clips are not part of this repository; set EMOLIB_DATA")
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [(read_audio(folder / row["file"]).resample(RATE), row["transcript"]) for row in rows]


def speech_frames(samples: np.ndarray) -> np.ndarray:
    """The truth, from a clean clip: which frames of 30 ms hold speech.

    A frame does where it lies within 35 dB of the loud frames (95th percentile) and 6 dB above the clip's
    own noise (2nd percentile); gaps up to 150 ms belong to the speech around them, bursts up to 60 ms do not count.
    """
    levels = np.array([10 * np.log10(np.var(frame) + 1e-12) for frame in frames(samples)])
    top = np.percentile(levels, 95)
    floor = min(np.percentile(levels[levels > -80], 2) + _ABOVE_FLOOR_DB, top - 20)
    speech = levels > max(top - _BELOW_TOP_DB, _SILENCE_DBFS, floor)
    for start, end in _runs(~speech):
        if start > 0 and end < len(speech) and end - start <= 5:
            speech[start:end] = True
    for start, end in _runs(speech):
        if end - start <= 2:
            speech[start:end] = False
    return speech


def streams(
    clips: Sequence[np.ndarray], babble: Sequence[np.ndarray], rng: np.random.Generator, *, own_noise: bool = False
) -> Iterator[Stream]:
    """The clips with pauses of 1.2 to 3.4 s between them, in each noise at each signal-to-noise ratio.

    The ratio is that of the power over the frames with speech; babble is mixed from eight voices of `babble`.
    `own_noise` gives each clip a noise of its own, 18 to 45 dB below it, as recordings have.
    """
    clean, truth = _joined(clips, rng, own_noise)
    for noise in NOISES:
        for snr in SNRS:
            yield Stream(in_noise(clean, truth, noise, snr, babble, rng), truth, noise, snr)


def in_noise(
    clean: np.ndarray, truth: np.ndarray, noise: str, snr: float, babble: Sequence[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """`clean` with `noise` at `snr` dB below the frames that `truth` names."""
    spoken = clean[: len(truth) * FRAME][np.repeat(truth, FRAME)]
    sound = make_noise(noise, len(clean), rng, babble)
    mixed = clean + level_to(sound, _rms(spoken) / 10 ** (snr / 20))
    return (mixed * min(1.0, 0.9 / np.abs(mixed).max())).astype(np.float32)


def level_to(samples: np.ndarray, rms: float) -> np.ndarray:
    """The samples at another root mean square."""
    return samples * (rms / _rms(samples))


def _joined(clips: Sequence[np.ndarray], rng: np.random.Generator, own_noise: bool) -> tuple[np.ndarray, np.ndarray]:
    parts, truth = [np.zeros(CALIBRATION * FRAME)], [np.zeros(CALIBRATION, dtype=bool)]
    for clip in clips:
        pause = int(rng.uniform(*_PAUSES_S) * RATE) // FRAME
        clip = clip[: len(clip) // FRAME * FRAME]
        speech = speech_frames(clip)
        if own_noise:
            kind = str(rng.choice(["white", "pink"]))
            clip = clip + level_to(make_noise(kind, len(clip), rng, ()), _rms(clip) * 10 ** (-rng.uniform(18, 45) / 20))
            clip = clip * 10 ** (rng.uniform(-6, 6) / 20)
        parts += [np.zeros(pause * FRAME), level_to(clip, 0.05)]
        truth += [np.zeros(pause, dtype=bool), speech]
    parts.append(np.zeros(33 * FRAME))
    truth.append(np.zeros(33, dtype=bool))
    return np.concatenate(parts), np.concatenate(truth)


def make_noise(kind: str, count: int, rng: np.random.Generator, babble: Sequence[np.ndarray]) -> np.ndarray:
    """`count` samples of noise of one of `NOISES`, at any level; babble is mixed from the voices of `babble`."""
    if kind == "white":
        return rng.standard_normal(count)
    if kind == "pink":
        spectrum = np.fft.rfft(rng.standard_normal(count))
        return np.fft.irfft(spectrum / np.sqrt(np.maximum(np.fft.rfftfreq(count, 1 / RATE), 20)), count)
    if kind == "hum":
        t = np.arange(count) / RATE
        harmonics = ((1, 1.0), (2, 0.5), (3, 0.35), (5, 0.2), (7, 0.1))
        tones = sum(size * np.sin(2 * np.pi * 50 * k * t + rng.uniform(0, 6)) for k, size in harmonics)
        return tones + 0.02 * rng.standard_normal(count)
    voices = np.zeros(count)
    for _ in range(8):
        voice = np.concatenate([babble[place] for place in rng.permutation(len(babble))])
        voice = np.tile(level_to(voice, 1.0), count // len(voice) + 1)
        voices += np.roll(voice, rng.integers(len(voice)))[:count]
    return voices


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)) + 1e-12))


def _runs(flags: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]]))).reshape(-1, 2)
