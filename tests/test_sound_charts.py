"""Figures of sound show what was measured: the wave, the spectrum, who hears speech, the endpoint, pitch and order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scripted_engines import ScriptedRecognizer
from voices import silence, spoken, white_noise

from emolib.audio import SAMPLE_RATE, AudioClip, write_wav
from emolib.errors import InputError
from emolib.plots import (
    emotion_bars,
    endpoint,
    noise_floor,
    pitch_curves,
    spectrogram,
    speech_order,
    speech_probabilities,
    waveform,
)
from emolib.speech import FileSource, calibrate, hear, pitch_track, voice_activity

EMPTY = AudioClip(np.zeros(0, dtype=np.float32), SAMPLE_RATE)


def tone(hz: float | np.ndarray, seconds: float = 1.0) -> AudioClip:
    """A voice-like tone: seven harmonics of `hz`."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hz, round(seconds * SAMPLE_RATE))) / SAMPLE_RATE
    return AudioClip((0.1 * sum(np.sin(n * phase) / n for n in range(1, 8))).astype(np.float32), SAMPLE_RATE)


@pytest.fixture(scope="module")
def clip() -> AudioClip:
    """A second of a room, a sentence in it, and the room again."""
    samples = np.concatenate([silence(1), spoken().samples, silence(1.5)])
    return AudioClip(samples + white_noise(len(samples) / SAMPLE_RATE, -55)[: len(samples)], SAMPLE_RATE)


def test_a_waveform_keeps_the_loudest_sample() -> None:
    samples = np.zeros(SAMPLE_RATE, dtype=np.float32)
    samples[4_321] = 0.75
    chart = waveform(AudioClip(samples, SAMPLE_RATE), spoken=((0.2, 0.3),))
    loudest = max(chart.points, key=lambda point: point[2])
    assert loudest[2] == 0.75
    assert loudest[0] == pytest.approx(4_321 / SAMPLE_RATE, abs=1e-3)
    with pytest.raises(InputError, match="holds no samples"):
        waveform(EMPTY)


def test_a_spectrogram_is_loudest_at_the_frequency_of_a_tone() -> None:
    seconds = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    chart = spectrogram(AudioClip((0.3 * np.sin(2 * np.pi * 2_050 * seconds)).astype(np.float32), SAMPLE_RATE))
    row = chart.points[len(chart.points) // 2][1:]
    assert chart.columns[1 + int(np.argmax(row))] == "2000 Hz"
    assert max(max(point[1:]) for point in chart.points) == 0
    with pytest.raises(InputError, match=r"at least 0\.032 s"):
        spectrogram(EMPTY)


def test_the_detectors_hear_the_sentence_and_not_the_room(clip: AudioClip) -> None:
    noise = calibrate(clip.cut(0, SAMPLE_RATE))
    activity = voice_activity(clip, noise)
    assert list(activity.probabilities) == ["WebRTC", "Silero", "emolib"]
    room = activity.seconds < 0.9
    assert activity.probabilities["Silero"][room].max() < 0.5
    assert activity.speech_seconds("emolib") == pytest.approx(spoken().seconds, rel=0.4)
    silero = activity.table([(1.0, 1.0 + spoken().seconds)]).splitlines()[3]
    assert float(silero.split("|")[2].split()[0]) > 80
    chart = speech_probabilities(clip, activity, ((1.0, 1.0 + spoken().seconds),))
    assert len(chart.figure.axes) == 4
    assert len(chart.points) == len(activity.seconds)
    assert noise_floor(activity).points[10][2] == pytest.approx(noise.floor_dbfs, abs=3)
    with pytest.raises(InputError, match=r"at least 0\.03 s"):
        voice_activity(EMPTY)


def test_the_endpoint_is_where_the_silence_reaches_its_bound(clip: AudioClip, tmp_path: Path) -> None:
    write_wav(tmp_path / "clip.wav", clip)
    hearing = hear(FileSource(tmp_path / "clip.wav"), ScriptedRecognizer("The old boat came home."))
    (end,) = hearing.ends
    last = hearing.pauses[-1]
    assert last.at == pytest.approx(end.known_at / SAMPLE_RATE)
    assert last.silence_s == pytest.approx(last.wait_s, abs=0.05)
    assert [one.transcript.text for one in hearing.transcribed] == ["The old boat came home."]
    assert f"at {end.end / SAMPLE_RATE:.2f} s, by silence" in hearing.table()
    assert endpoint(clip, hearing).points[-1][0] == pytest.approx(end.known_at / SAMPLE_RATE, abs=0.01)


def test_a_recording_of_silence_has_no_endpoint_to_draw(tmp_path: Path) -> None:
    write_wav(tmp_path / "silence.wav", AudioClip(silence(1), SAMPLE_RATE))
    hearing = hear(FileSource(tmp_path / "silence.wav"), ScriptedRecognizer("never"))
    with pytest.raises(InputError, match="no utterance was heard"):
        endpoint(AudioClip(silence(1), SAMPLE_RATE), hearing)


@pytest.mark.parametrize("hz", [75, 110, 180, 260, 380])
def test_the_pitch_of_a_tone_is_its_frequency(hz: int) -> None:
    _, found = pitch_track(tone(hz))
    assert np.nanmedian(found) == pytest.approx(hz, rel=0.01)


def test_a_glide_rises_and_noise_has_no_pitch() -> None:
    seconds, found = pitch_track(tone(np.linspace(100, 200, SAMPLE_RATE)))
    assert found[seconds > 0.9][0] == pytest.approx(190, rel=0.03)
    assert np.isnan(pitch_track(AudioClip(white_noise(1, -20), SAMPLE_RATE))[1]).mean() > 0.95
    with pytest.raises(InputError, match=r"0\.046 s"):
        pitch_track(EMPTY)


def test_pitch_curves_name_each_clip_with_its_median() -> None:
    chart = pitch_curves({"low": tone(100), "high": tone(200)})
    legend = [text.get_text() for text in chart.figure.axes[0].get_legend().get_texts()]
    assert legend == ["low, 100 Hz", "high, 200 Hz"]
    assert {point[0] for point in chart.points} == {"low", "high"}
    with pytest.raises(InputError, match="no clip"):
        pitch_curves({})


def test_emotion_bars_stand_beside_each_other_by_emotion() -> None:
    chart = emotion_bars({"words": {"joy": 0.4, "love": 0.6}, "voice": {"joy": 1.0}})
    assert chart.points == (("joy", 0.4, 1.0), ("love", 0.6, 0.0))
    with pytest.raises(InputError, match="no emotion scores"):
        emotion_bars({})


def test_the_order_of_speech_is_drawn_as_it_was_measured() -> None:
    row = {"number": 0, "asked_s": 0.0, "ready_s": 1.0, "heard_s": 1.0, "heard_until_s": 2.0}
    assert speech_order([row]).points == ((0, 0.0, 1.0, 1.0, 2.0),)
    with pytest.raises(InputError, match="no sentence"):
        speech_order([])
