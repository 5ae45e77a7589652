"""Recordings of phones and browsers are read through FFmpeg, and nothing else is opened by it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from emolib.audio import read_audio
from emolib.errors import InputError, MissingDependency
from emolib.ffmpeg import ffmpeg_form

FORMS = {
    "phone.m4a": ("aac", "ipod", 44_100),
    "video.MP4": ("aac", "mp4", 48_000),
    "browser.webm": ("libopus", "webm", 48_000),
    "raw.aac": ("aac", "adts", 16_000),
    "named-wrongly.wav": ("libopus", "webm", 48_000),
}


def record(path: Path, channels: int = 1) -> Path:
    """Write a second of 440 Hz at half volume."""
    av = pytest.importorskip("av")
    codec, form, rate = FORMS[path.name]
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.float32)
    layout = "mono" if channels == 1 else "stereo"
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        context = stream.codec_context
        frame = av.AudioFrame.from_ndarray(np.tile(tone, (channels, 1)), format="fltp", layout=layout)
        frame.sample_rate = rate
        resampler = av.AudioResampler(context.format, layout, rate, frame_size=context.frame_size or None)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(part))
    return path


def is_the_tone(samples: np.ndarray, rate: int) -> bool:
    spectrum = np.abs(np.fft.rfft(samples, rate))
    return abs(spectrum.argmax() - 440) <= 3 and abs(len(samples) / rate - 1) < 0.15


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", FORMS)
def test_what_phones_and_browsers_record_is_read(name: str, channels: int, tmp_path: Path) -> None:
    clip = read_audio(record(tmp_path / name, channels))
    assert clip.sample_rate == FORMS[name][2]
    assert is_the_tone(clip.samples, clip.sample_rate)
    assert np.sqrt(np.mean(clip.samples**2)) == pytest.approx(0.5 / np.sqrt(2), abs=0.03)


@pytest.mark.parametrize("kept", [20, 200])
def test_a_damaged_recording_is_one_sentence(kept: int, tmp_path: Path) -> None:
    path = record(tmp_path / "phone.m4a")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"phone\.m4a (cannot be read as sound|holds no samples)"):
        read_audio(path)


@pytest.mark.parametrize(
    "content", [b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n", b"ffconcat version 1.0\nfile '/etc/passwd'\n"]
)
def test_a_playlist_is_not_opened(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "list.m4a"
    path.write_bytes(content)
    assert ffmpeg_form(path) is None
    with pytest.raises(InputError, match="cannot be read as sound"):
        read_audio(path)


def test_the_ffmpeg_of_the_system_does_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = record(tmp_path / "phone.m4a")
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match=r"FFmpeg, which reads \.m4a, is not installed"):
        read_audio(path)
    program = tmp_path / "ffmpeg"
    said = f"#!{sys.executable}\nimport array, math, sys\n"
    said += "assert sys.argv[sys.argv.index('-f') + 1] == 'mov' and '-nostdin' in sys.argv\n"
    said += "tone = array.array('f', (math.sin(2 * math.pi * 440 * i / 48000) / 2 for i in range(48000)))\n"
    program.write_text(said + "sys.stdout.buffer.write(tone.tobytes())\n")
    program.chmod(0o755)
    clip = read_audio(path)
    assert is_the_tone(clip.samples, 48_000)
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('phone.m4a: Invalid data found.')\n")
    with pytest.raises(InputError, match=r"cannot be read as sound \(phone\.m4a: Invalid data found\)"):
        read_audio(path)
