"""The pitch of a voice over time: its fundamental frequency, by autocorrelation."""

from __future__ import annotations

import math

import numpy as np

from emolib.audio import SAMPLE_RATE, AudioClip
from emolib.errors import InputError

__all__ = ["pitch_track"]

_HOP = SAMPLE_RATE // 100
#: Three periods of the lowest voice.
_WINDOW = 736
_LOWEST_HZ, _HIGHEST_HZ = 65.0, 400.0
#: Frames are voiced from this correlation on, and within so many dB of the loudest one.
_VOICED = 0.7
_RANGE_DB = 25.0
#: A shorter period is taken if it correlates nearly as well: twice the period always correlates too.
_NEARLY = 0.9
_SMOOTHED = 5


def pitch_track(clip: AudioClip) -> tuple[np.ndarray, np.ndarray]:
    """Return the seconds and the fundamental frequency in Hz, a value every 10 ms; NaN where the voice has none.

    Both have shape (n,). The method is Boersma's (1993, "Accurate short-term analysis of the fundamental frequency"):
    the autocorrelation of a window over that of its taper, here without the path search. A second pass keeps to the
    range of the speaker, from 0.75 of the first quartile to 1.5 of the third (De Looze and Hirst, 2008, "Detecting
    changes in key and range"), so that no octave is jumped. InputError if the clip is shorter than 46 ms.
    """
    samples = clip.resample(SAMPLE_RATE).samples
    if len(samples) < _WINDOW:
        raise InputError(f"{clip.name} has {clip.seconds:.3f} s; a pitch needs at least 0.046 s of sound")
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP]
    windows = windows - windows.mean(axis=1, keepdims=True)
    levels = 10 * np.log10(np.mean(np.square(windows), axis=1) + 1e-10)
    rows = _correlations(windows)
    rows[levels < levels.max() - _RANGE_DB] = 0.0
    hz = np.array([_pitch(row, _LOWEST_HZ, _HIGHEST_HZ) for row in rows])
    if np.isfinite(hz).any():
        first, third = np.nanquantile(hz, (0.25, 0.75))
        hz = np.array([_pitch(row, max(_LOWEST_HZ, 0.75 * first), min(_HIGHEST_HZ, 1.5 * third)) for row in rows])
    seconds = (np.arange(len(windows)) * _HOP + _WINDOW / 2) / SAMPLE_RATE
    return seconds, _without_jumps(hz)


def _correlations(windows: np.ndarray) -> np.ndarray:
    """Return the autocorrelation of each window at every lag, 1 at lag 0."""
    taper = np.hanning(_WINDOW)
    own, of_taper = (_autocorrelation(rows) for rows in (windows * taper, taper[None]))
    scaled = own / np.maximum(own[:, :1], 1e-12)
    return scaled / np.maximum(of_taper / of_taper[:, :1], 0.05)


def _autocorrelation(rows: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(rows, 2 * _WINDOW)
    return np.fft.irfft(np.abs(spectrum) ** 2)[:, : round(SAMPLE_RATE / _LOWEST_HZ) + 2]


def _pitch(row: np.ndarray, lowest_hz: float, highest_hz: float) -> float:
    """Return the frequency of the best lag in Hz, NaN if none correlates well."""
    first, last = int(SAMPLE_RATE / highest_hz), min(len(row) - 1, math.ceil(SAMPLE_RATE / lowest_hz) + 1)
    inner = row[first:last]
    peaks = np.flatnonzero((inner >= row[first - 1 : last - 1]) & (inner >= row[first + 1 : last + 1])) + first
    good = peaks[row[peaks] >= _VOICED]
    if not len(good):
        return np.nan
    lag = int(good[row[good] >= _NEARLY * row[good].max()][0])
    left, middle, right = row[lag - 1 : lag + 2]
    # The peak of the parabola through three lags: a lag is a whole number of samples, a period is not.
    bend = left - 2 * middle + right
    return SAMPLE_RATE / (lag + (0.5 * (left - right) / bend if bend else 0.0))


def _without_jumps(hz: np.ndarray) -> np.ndarray:
    """Return `hz` with the median of its neighbours for a value that leaps by a third from them."""
    padded = np.pad(hz, _SMOOTHED // 2, constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHED)
    known = np.isfinite(around)
    medians = np.array(
        [np.median(row[kept]) if kept.sum() > 1 else np.nan for row, kept in zip(around, known, strict=True)]
    )
    leaps = np.abs(hz - medians) > medians / 3
    return np.where(np.isnan(hz), np.nan, np.where(leaps | np.isnan(medians), medians, hz))
