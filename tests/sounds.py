"""Sounds of people and things that are no words, made with numpy at 16 kHz."""

from __future__ import annotations

import numpy as np

RATE = 16_000


def _time(seconds: float) -> np.ndarray:
    return np.arange(int(seconds * RATE)) / RATE


def _voice(pitch: np.ndarray, formants: tuple[tuple[float, float], ...] = ((700, 1.0), (1_200, 0.5))) -> np.ndarray:
    """Harmonics of a pitch contour in Hz, louder near the formants (Hz, gain)."""
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    sound = np.zeros(len(pitch))
    for number in range(1, 30):
        hertz = number * pitch
        gain = sum(size * np.exp(-(((hertz - centre) / 180) ** 2)) for centre, size in formants) + 0.02
        sound += gain * np.sin(number * phase) * (hertz < 7_000)
    return sound


def _noise(count: int, low: float, high: float, seed: int = 0) -> np.ndarray:
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / RATE)
    return np.fft.irfft(spectrum * ((hertz > low) & (hertz < high)), count)


def _peak(samples: np.ndarray, peak: float = 0.3) -> np.ndarray:
    room = np.random.default_rng(9).standard_normal(len(samples)) * 1e-4
    return (samples * (peak / np.abs(samples).max()) + room).astype(np.float32)


def laughter() -> np.ndarray:
    """Ha-ha-ha: bursts five times a second, breath before each, falling in pitch."""
    t = _time(3)
    pulse = np.maximum(0.0, np.sin(2 * np.pi * 5 * t)) ** 2
    voiced = _voice(260 - 30 * t, ((850, 1.0), (1_400, 0.6), (2_600, 0.2)))
    return _peak(pulse * voiced + 0.8 * np.maximum(0.0, -np.sin(2 * np.pi * 5 * t)) ** 4 * _noise(len(t), 500, 4_000))


def humming() -> np.ndarray:
    """A tune with closed lips."""
    notes = np.repeat([196.0, 220.0, 247.0, 220.0, 196.0, 165.0], RATE // 2)
    pitch = np.convolve(np.pad(notes, 800, "edge"), np.ones(1_601) / 1_601, "valid")
    return _peak(_voice(pitch * (1 + 0.01 * np.sin(2 * np.pi * 5 * _time(3))), ((250, 1.0),)))


def chord() -> np.ndarray:
    """Four tones with vibrato."""
    t = _time(4)
    return _peak(sum(np.sin(2 * np.pi * f * t + 0.4 * np.sin(2 * np.pi * 5 * t)) for f in (220, 277, 330, 440)))


def breath() -> np.ndarray:
    """Somebody breathes in and out."""
    t = _time(5)
    return _peak(np.maximum(0.0, np.sin(np.pi * t)) * _noise(len(t), 100, 2_500))


def clicks() -> np.ndarray:
    """Typing."""
    sound = np.zeros(4 * RATE)
    for place in range(2_000, len(sound) - 400, 5_000):
        sound[place : place + 400] += _noise(400, 500, 7_000, place) * np.exp(-np.arange(400) / 60)
    return _peak(sound)


def music() -> np.ndarray:
    """A melody over a bass, and a drum."""
    notes = np.repeat([440.0, 494.0, 523.0, 587.0, 659.0, 523.0, 494.0, 440.0], RATE // 2)
    t = _time(4)
    phase = 2 * np.pi * np.cumsum(notes) / RATE
    melody = sum(np.sin(n * phase) / n for n in (1, 2, 3)) * np.exp(-((t % 0.5) * 3))
    drum = _noise(len(t), 60, 5_000) * np.exp(-((t % 0.5) * 40))
    return _peak(melody + 0.6 * np.sin(2 * np.pi * 110 * t) + 0.1 * drum / drum.std())


def cough() -> np.ndarray:
    """Three coughs."""
    t = _time(2.1)
    burst = np.exp(-((t % 0.7) * 14)) * (t % 0.7 > 0.05)
    return _peak(burst * (_noise(len(t), 200, 5_000) / 0.5 + 0.4 * _voice(np.full(len(t), 140.0))))


def crying() -> np.ndarray:
    """Sobs without words: wails that fall, with a trembling voice and sharp breaths between them."""
    t = _time(4)
    part = t % 1.0
    pitch = 420 - 160 * part + 12 * np.sin(2 * np.pi * 7 * t)
    wail = np.clip(np.minimum(part / 0.1, (0.75 - part) / 0.2), 0, 1) * _voice(pitch, ((800, 1.0), (1_300, 0.4)))
    return _peak(wail + 0.3 * (part > 0.8) * _noise(len(t), 800, 5_000) / 0.5)


WORDLESS = (laughter, humming, chord, breath, clicks, music, cough, crying)
