"""Voice activity: every detector hears speech as speech, and the fused one knows the room."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from voices import silence, spoken, white_noise

from emolib.audio import AudioClip
from emolib.errors import InputError, MissingDependency
from emolib.speech import vad
from emolib.speech.calibration import calibrate
from emolib.speech.noise import FRAME, QUIET_ROOM, NoiseFloor, band_powers, frames, level_dbfs
from emolib.speech.vad import FusedDetector, GateDetector, Hysteresis, SileroDetector, WebRtcDetector, best_detector

DETECTORS = {
    "webrtc": lambda: WebRtcDetector(2),
    "silero": SileroDetector,
    "gate": GateDetector,
    "fused": lambda: FusedDetector(SileroDetector()),
    "fused webrtc": lambda: FusedDetector(WebRtcDetector(2)),
}


def share(detector, samples: np.ndarray) -> float:
    return float(np.mean([detector.push(frame) >= 0.5 for frame in frames(samples)]))


@pytest.mark.parametrize("name", DETECTORS)
def test_speech_is_heard_and_silence_is_not(name):
    detector = DETECTORS[name]()
    assert share(detector, spoken().samples) > 0.6
    detector.reset()
    assert share(detector, silence(2)) == 0


@pytest.mark.parametrize("name", DETECTORS)
def test_a_reset_detector_repeats_itself(name):
    detector = DETECTORS[name]()
    first = [detector.push(frame) for frame in frames(spoken().samples)]
    detector.reset()
    assert [detector.push(frame) for frame in frames(spoken().samples)] == pytest.approx(first, abs=1e-5)


@pytest.mark.parametrize("name", DETECTORS)
@settings(max_examples=25, deadline=None)
@given(arrays.arrays(np.float32, FRAME, elements=st.floats(-1, 1, width=32)))
def test_any_frame_gives_a_probability(name, frame):
    detector = DETECTORS.setdefault(f"{name} made", DETECTORS[name]())
    assert 0 <= detector.push(frame) <= 1


@pytest.mark.parametrize("level", [-50, -35, -25])
def test_a_calibrated_room_is_not_speech_and_speech_in_it_is(level):
    ambience = calibrate(AudioClip(white_noise(1.5, level), 16_000))
    detector = best_detector(ambience)
    assert share(detector, white_noise(3, level, seed=1)) < 0.02
    samples = spoken().samples
    noisy = samples * (0.2 / np.abs(samples).max()) * 4 + white_noise(spoken().seconds, level, seed=2)[: len(samples)]
    assert share(detector, noisy) > 0.5


def test_calibration_measures_the_noise():
    ambience = calibrate(AudioClip(white_noise(1.5, -43), 16_000))
    assert ambience.floor_dbfs == pytest.approx(-43, abs=0.5)
    assert ambience.gate_dbfs >= ambience.floor_dbfs + 6
    assert 10 * np.log10(ambience.bands) == pytest.approx(-43, abs=1.5)
    assert not ambience.too_loud


def test_a_loud_room_is_named():
    ambience = calibrate(AudioClip(white_noise(1, -25), 16_000))
    assert ambience.too_loud
    assert "too loud" in ambience.advice()


def test_a_door_that_slams_does_not_raise_the_floor():
    samples = white_noise(1.5, -50)
    samples[8_000:8_800] = 0.9
    samples[8_000:8_800:2] = -0.9
    assert calibrate(AudioClip(samples, 16_000)).floor_dbfs == pytest.approx(-50, abs=1)


def test_calibration_needs_a_moment():
    with pytest.raises(InputError, match="needs a second or two"):
        calibrate(AudioClip(silence(0.1), 16_000))


def test_an_offset_and_mains_hum_lie_below_the_bands():
    t = np.arange(FRAME) / 16_000
    hum = (0.3 + 0.3 * np.sin(2 * np.pi * 50 * t)).astype(np.float32)
    assert 10 * np.log10(band_powers(hum)[3:]).max() < -50


def test_the_floor_follows_the_room_in_silence():
    detector = FusedDetector(SileroDetector(), QUIET_ROOM)
    for frame in frames(white_noise(6, -35)):
        last = detector.push(frame)
    assert detector.floor_dbfs == pytest.approx(-35, abs=1.5)
    assert last < 0.5


def test_hysteresis_bridges_short_gaps_only():
    steady = Hysteresis(on=0.6, off=0.4, hold=2)
    given = [0.5, 0.7, 0.5, 0.1, 0.1, 0.5, 0.1, 0.1, 0.1, 0.5]
    assert [steady.push(value) for value in given] == [False, *[True] * 7, False, False]


def test_without_silero_webrtc_takes_its_place(monkeypatch):
    def absent() -> None:
        raise MissingDependency("the package silero-vad", extra="silero")

    monkeypatch.setattr(vad, "_silero_model", absent)
    assert share(best_detector(), spoken().samples) > 0.6


def test_silero_needs_no_torch():
    code = "import sys; from emolib.speech.vad import SileroDetector; SileroDetector(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"False"


def test_a_knock_hardly_lifts_the_floor_and_a_room_that_grows_loud_does() -> None:
    rng = np.random.default_rng(0)

    def floor_after(deviation: float, count: int) -> float:
        sound = rng.normal(0, deviation, (count, FRAME)).astype(np.float32)
        for frame in sound:
            floor.follow(band_powers(frame), level_dbfs(frame))
        return floor.dbfs

    floor = NoiseFloor()
    quiet = floor_after(0.002, 100)
    assert quiet == pytest.approx(20 * np.log10(0.002), abs=1)
    assert floor_after(0.3, 2) < quiet + 1
    assert floor_after(0.02, 200) == pytest.approx(20 * np.log10(0.02), abs=1)
