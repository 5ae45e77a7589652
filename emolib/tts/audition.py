"""Recording and hearing a reference clip, through sounddevice."""

from __future__ import annotations

from emolib.errors import DeviceError
from emolib.speech import AudioClip
from emolib.speech.sources import import_sounddevice

__all__ = ["play", "record"]

_RATE = 44_100


def record(seconds: float) -> AudioClip:
    """Record the default microphone for `seconds`. Raises DeviceError where there is none."""
    sounddevice = import_sounddevice()
    try:
        frames = sounddevice.rec(round(seconds * _RATE), samplerate=_RATE, channels=1, dtype="float32")
        sounddevice.wait()
    except sounddevice.PortAudioError as error:
        raise DeviceError(f"the microphone cannot be used: {error}; give a file instead") from error
    return AudioClip(frames[:, 0], _RATE, "the recording")


def play(clip: AudioClip) -> None:
    """Play a clip to its end. Raises DeviceError where there is no loudspeaker."""
    sounddevice = import_sounddevice()
    try:
        sounddevice.play(clip.samples, clip.sample_rate, blocking=True)
    except sounddevice.PortAudioError as error:
        raise DeviceError(f"the loudspeaker cannot be used: {error}") from error
