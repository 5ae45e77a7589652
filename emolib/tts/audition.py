"""Recording and hearing a reference clip, through sounddevice."""

from __future__ import annotations

from emolib.audio import AudioClip
from emolib.errors import DeviceError, UsageError
from emolib.speech.sources import import_sounddevice

__all__ = ["play", "record"]

_RATE = 44_100
#: A reference has at most 30 s of voice; a longer recording than a minute is a mistake.
_LONGEST_SECONDS = 60.0


def record(seconds: float) -> AudioClip:
    """Record the default microphone for `seconds`, up to a minute. Raises DeviceError if there is none."""
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise UsageError(f"{seconds:g} s cannot be recorded; give up to {_LONGEST_SECONDS:g} s")
    sounddevice = import_sounddevice()
    try:
        frames = sounddevice.rec(round(seconds * _RATE), samplerate=_RATE, channels=1, dtype="float32")
        sounddevice.wait()
    except sounddevice.PortAudioError as error:
        raise DeviceError(f"the microphone cannot be used: {error}; give a file instead") from error
    return AudioClip(frames[:, 0], _RATE, "the recording")


def play(clip: AudioClip) -> None:
    """Play a clip to its end. Raises DeviceError if there is no loudspeaker."""
    sounddevice = import_sounddevice()
    try:
        sounddevice.play(clip.samples, clip.sample_rate, blocking=True)
    except sounddevice.PortAudioError as error:
        raise DeviceError(f"the loudspeaker cannot be used: {error}") from error
