"""What the microphone hears, live in the terminal: level, floor, gate and speech (`emolib mic`)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, TextIO

import numpy as np

from emolib.audio import SAMPLE_RATE, AudioClip, write_wav
from emolib.errors import InputError, UsageError
from emolib.speech.calibration import calibrate
from emolib.speech.endpointing import Endpointer, SpeechEnd, SpeechStart
from emolib.speech.noise import FRAME, NoiseProfile, level_dbfs
from emolib.speech.sources import AudioSource, FileSource, PyAudioSource, SoundDeviceSource
from emolib.speech.turn import best_turn_detector
from emolib.speech.vad import best_detector

__all__ = ["meter", "monitor", "open_source"]

_WIDTH = 40
_QUIETEST_DBFS = -80.0
_LINES_PER_SECOND = 10


def open_source(
    file: Path | None = None,
    device: str | None = None,
    backend: Literal["sounddevice", "pyaudio"] = "sounddevice",
) -> AudioSource:
    """A recording in real time, or else the microphone `device`: a number, or with sounddevice a part of its name."""
    if file:
        return FileSource(file, paced=True)
    number = int(device) if device and device.isdigit() else None
    if backend == "sounddevice":
        return SoundDeviceSource(device if number is None else number)
    if device and number is None:
        raise UsageError(f"PyAudio knows microphones by number, not as {device!r}")
    return PyAudioSource(number)


def monitor(
    source: AudioSource,
    out: TextIO,
    *,
    calibration_s: float = 1.5,
    seconds: float | None = None,
    save_to: Path | None = None,
) -> NoiseProfile:
    """Measure the room, then show what is heard until `source` ends or `seconds` have passed.

    On a terminal the level moves in place; elsewhere only the utterances are written. They are saved as
    WAV files to `save_to` if given. Gives the ambience that was measured.
    """
    frames = source.frames()
    ambience = _measure(frames, out, calibration_s)
    limit = None if seconds is None else max(0, round((seconds - calibration_s) * SAMPLE_RATE / FRAME))
    detector = best_detector(ambience)
    endpointer = Endpointer(detector, turn=best_turn_detector())
    every = round(SAMPLE_RATE / FRAME / _LINES_PER_SECOND)
    for number, frame in enumerate(islice(frames, limit)):
        _tell(endpointer.push(frame), out, calibration_s, save_to)
        if out.isatty() and number % every == 0:
            gate = detector.floor_dbfs + ambience.gate_dbfs - ambience.floor_dbfs
            line = meter(level_dbfs(frame), detector.floor_dbfs, gate, endpointer.speaking)
            out.write(f"\r{line}\x1b[K")
            out.flush()
    _tell(endpointer.finish(), out, calibration_s, save_to)
    if source.overruns:
        out.write(f"{source.overruns} blocks of sound were lost: this machine was too busy\n")
    return ambience


def meter(level: float, floor: float, gate: float, speaking: bool) -> str:
    """A line with the level as a bar, `.` at the floor and `|` at the gate; all in dBFS."""
    bar = ["=" if place < _column(level) else " " for place in range(_WIDTH)]
    bar[min(_column(floor), _WIDTH - 1)] = "."
    bar[min(_column(gate), _WIDTH - 1)] = "|"
    state = "speech" if speaking else "      "
    return f"[{''.join(bar)}] {level:4.0f} dBFS  floor {floor:4.0f}  gate {gate:4.0f}  {state}"


def _measure(frames: Iterator[np.ndarray], out: TextIO, calibration_s: float) -> NoiseProfile:
    out.write(f"Measuring the room for {calibration_s:g} s: please say nothing.\n")
    out.flush()
    heard = list(islice(frames, round(calibration_s * SAMPLE_RATE / FRAME)))
    if not heard:
        raise InputError("no sound has come; name another microphone or a longer recording")
    ambience = calibrate(AudioClip(np.concatenate(heard), SAMPLE_RATE))
    out.write(
        f"floor {ambience.floor_dbfs:.0f} dBFS, gate {ambience.gate_dbfs:.0f} dBFS,"
        f" WebRTC mode {ambience.webrtc_mode}: {ambience.advice()}\n"
    )
    return ambience


def _column(dbfs: float) -> int:
    return max(0, min(_WIDTH, round(_WIDTH * (1 - dbfs / _QUIETEST_DBFS))))


def _tell(event: SpeechStart | SpeechEnd | None, out: TextIO, offset_s: float, save_to: Path | None) -> None:
    if not isinstance(event, SpeechEnd):
        return
    start, end = (offset_s + position / SAMPLE_RATE for position in (event.start, event.end))
    saved = ""
    if save_to:
        path = save_to / f"utterance-{start:08.2f}.wav"
        write_wav(path, event.clip)
        saved = f"  {path}"
    clear = "\r\x1b[K" if out.isatty() else ""
    out.write(f"{clear}{start:8.2f} s to {end:.2f} s: speech{saved}\n")
    out.flush()
