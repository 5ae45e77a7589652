"""Audio clips and files: what is read, what is refused with one sentence, what is written."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from emolib.audio import AudioClip, ChannelMixer, read_audio, write_wav
from emolib.errors import InputError, StorageError


def tone(sample_rate: int, seconds: float = 0.5, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(sample_rate * seconds)) / sample_rate)).astype(np.float32)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "MP3", "OGG"])
def test_a_stereo_44_khz_file_becomes_mono_with_its_length_and_pitch(tmp_path, form):
    path = tmp_path / f"sound.{form.lower()}"
    soundfile.write(path, np.stack([tone(44_100), tone(44_100)], axis=1), 44_100, format=form)
    clip = read_audio(path)
    assert clip.samples.ndim == 1
    assert clip.samples.dtype == np.float32
    assert clip.seconds == pytest.approx(0.5, abs=0.06)
    spectrum = np.abs(np.fft.rfft(clip.resample(16_000).samples, 16_000))
    assert spectrum.argmax() == pytest.approx(440, abs=3)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW"])
def test_every_kind_of_wav_has_the_same_loudness(tmp_path, subtype):
    path = tmp_path / "sound.wav"
    soundfile.write(path, tone(8_000), 8_000, subtype=subtype)
    assert np.abs(read_audio(path).samples).max() == pytest.approx(0.5, abs=0.02)


def test_channels_are_averaged(tmp_path):
    path = tmp_path / "sound.wav"
    soundfile.write(path, np.stack([tone(8_000), 0.5 * tone(8_000)], axis=1), 8_000)
    assert np.abs(read_audio(path).samples).max() == pytest.approx(0.375, abs=1e-3)


@pytest.mark.parametrize(
    "gains", [(1, -1), (1, -0.9), (0, 0, 1, 0, 0, 0), (0, 1)], ids=["opposite phase", "nearly", "one of six", "one"]
)
def test_speech_is_heard_whatever_channel_it_is_in(tmp_path, gains):
    path = tmp_path / "sound.wav"
    soundfile.write(path, np.stack([gain * tone(8_000) for gain in gains], axis=1), 8_000)
    assert np.abs(read_audio(path).samples).max() >= 0.25


@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=9))
def test_the_channel_that_is_taken_does_not_change_from_block_to_block(sizes):
    mixer, source = ChannelMixer(), tone(16_000, sum(sizes) / 16_000)
    blocks = np.split(np.stack([source, -source], axis=1), np.cumsum(sizes)[:-1])
    assert np.array_equal(np.concatenate([mixer.mix(block) for block in blocks]), source)


@pytest.mark.parametrize(("riff", "size"), [(0, 0), (36, 0), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_a_wav_written_as_a_stream_is_read_to_its_end(tmp_path, riff, size):
    path = tmp_path / "stream.wav"
    write_wav(path, AudioClip(tone(8_000), 8_000))
    whole = read_audio(path).samples
    data = bytearray(path.read_bytes())
    data[4:8], data[40:44] = riff.to_bytes(4, "little"), size.to_bytes(4, "little")
    path.write_bytes(data)
    assert np.array_equal(read_audio(path).samples, whole)


def test_notes_after_a_recording_without_samples_are_no_sound(tmp_path):
    path = tmp_path / "none.wav"
    write_wav(path, AudioClip(np.zeros(0, dtype=np.float32), 8_000))
    path.write_bytes(path.read_bytes() + b"LIST\x04\x00\x00\x00INFO")
    with pytest.raises(InputError, match="no samples"):
        read_audio(path)


def bad_files():
    header = b"RIFF\x24\x00\x00\x00WAVEfmt "
    return {
        "missing": None,
        "empty": b"",
        "header alone": header,
        "corrupt header": header + b"\xff" * 40,
        "text": b"this is no sound\n" * 20,
    }


@pytest.mark.parametrize("kind", bad_files())
def test_a_file_that_is_no_sound_is_named_in_one_sentence(tmp_path, kind):
    path = tmp_path / "question.wav"
    if bad_files()[kind] is not None:
        path.write_bytes(bad_files()[kind])
    with pytest.raises(InputError, match=r"question\.wav") as error:
        read_audio(path)
    assert "\n" not in str(error.value)


def test_a_folder_is_no_recording(tmp_path):
    with pytest.raises(InputError, match="is no file"):
        read_audio(tmp_path)


def test_a_wav_without_samples_is_refused(tmp_path):
    path = tmp_path / "none.wav"
    soundfile.write(path, np.zeros(0, dtype=np.float32), 16_000)
    with pytest.raises(InputError, match="no samples"):
        read_audio(path)


def test_nan_samples_are_refused(tmp_path):
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.array([0.1, np.nan, 0.2], dtype=np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(InputError, match=r"nan\.wav holds NaN"):
        read_audio(path)


def test_integer_samples_are_refused_since_their_scale_is_unknown():
    with pytest.raises(InputError, match="divide 16-bit samples by 32768"):
        AudioClip(np.zeros(10, dtype=np.int16), 16_000)


def test_two_axes_are_refused():
    with pytest.raises(InputError, match="mono"):
        AudioClip(np.zeros((10, 2), dtype=np.float32), 16_000)


@given(
    arrays.arrays(np.float32, st.integers(1, 400), elements=st.floats(-2, 2, width=32)),
    st.sampled_from([8_000, 16_000, 22_050, 44_100]),
)
def test_a_written_clip_is_read_back_within_one_step_of_16_bits(tmp_path_factory, samples, sample_rate):
    path = tmp_path_factory.mktemp("wav") / "a.wav"
    clip = AudioClip(samples, sample_rate)
    write_wav(path, clip)
    again = read_audio(path)
    assert again.sample_rate == sample_rate
    assert np.abs(again.samples - clip.samples).max() <= 1 / 32768


@given(st.integers(100, 5_000), st.sampled_from([8_000, 22_050, 44_100, 48_000]))
def test_resampling_keeps_the_length_in_seconds(count, sample_rate):
    clip = AudioClip(np.zeros(count, dtype=np.float32), sample_rate)
    assert clip.resample(16_000).seconds == pytest.approx(clip.seconds, abs=2 / 16_000)


def test_a_wav_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_wav(tmp_path / "file" / "a.wav", AudioClip(np.zeros(10, dtype=np.float32), 16_000))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
