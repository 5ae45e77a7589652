"""Recordings that libsndfile does not know: M4A and MP4 of phones, WebM of browsers, AAC, AMR. FFmpeg reads them.

It comes with PyAV (which faster-whisper brings), or is the `ffmpeg` of the system. The form of a file is found in its
first bytes and FFmpeg is held to it: of other forms, such as playlists, it would open what they name.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from emolib.errors import InputError, MissingDependency

__all__ = ["ffmpeg_form", "read_with_ffmpeg"]

#: First bytes (at an offset) and FFmpeg's name for the form.
_FORMS = (
    (4, b"ftyp", "mov"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"\xff\xf1", "aac"),
    (0, b"\xff\xf9", "aac"),
    (0, b"#!AMR", "amr"),
    (0, b"\x30\x26\xb2\x75", "asf"),
)
#: The rate in Hz at which the system's ffmpeg writes.
_SYSTEM_RATE = 48_000


def ffmpeg_form(path: Path) -> str | None:
    """Return FFmpeg's name for the form of the recording `path`, or None if libsndfile may read it."""
    with path.open("rb") as file:
        start = file.read(16)
    return next((form for at, mark, form in _FORMS if start[at:].startswith(mark)), None)


def read_with_ffmpeg(path: Path, form: str) -> tuple[np.ndarray, int]:
    """Return the frames of the recording `path`, float32 of shape (n, channels), and their rate in Hz.

    InputError if it holds no sound or is damaged, MissingDependency if neither PyAV nor ffmpeg is there.
    """
    try:
        import av
    except ImportError:
        return _read_with_program(path, form)
    try:
        with path.open("rb") as file, av.open(file, format=form) as container:
            return _decode(container, av)
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise _unreadable(path, str(error) or "no sound in it") from error


def _decode(container: Any, av: Any) -> tuple[np.ndarray, int]:
    resampler = av.AudioResampler(format="fltp")
    parts, rate = [], 0
    for frame in container.decode(container.streams.audio[0]):
        rate = frame.sample_rate
        parts += [part.to_ndarray() for part in resampler.resample(frame)]
    return np.concatenate(parts, axis=1).T if parts else np.zeros((0, 1), np.float32), rate


def _read_with_program(path: Path, form: str) -> tuple[np.ndarray, int]:
    program = shutil.which("ffmpeg")
    if program is None:
        raise MissingDependency(f"FFmpeg, which reads {path.suffix or form},", extra="speech")
    source = ["-protocol_whitelist", "file", "-f", form, "-i", f"file:{path}"]
    sound = ["-vn", "-ac", "1", "-ar", str(_SYSTEM_RATE), "-f", "f32le", "pipe:1"]
    done = subprocess.run([program, "-nostdin", "-v", "error", *source, *sound], capture_output=True, check=False)
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise _unreadable(path, lines[-1] if lines else f"ffmpeg ended with {done.returncode}")
    return np.frombuffer(done.stdout, "<f4").reshape(-1, 1), _SYSTEM_RATE


def _unreadable(path: Path, reason: str) -> InputError:
    return InputError(f"{path} cannot be read as sound ({reason.rstrip('.')}); save it as WAV")
