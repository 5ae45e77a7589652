"""Audio clips, and the files they come from and go to."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from emolib.errors import InputError, MissingDependency
from emolib.ffmpeg import ffmpeg_form, read_with_ffmpeg
from emolib.files import atomic_path

__all__ = [
    "SAMPLE_RATE",
    "AudioClip",
    "ChannelMixer",
    "from_pcm16",
    "mix_down",
    "read_audio",
    "resample",
    "to_pcm16",
    "wav_bytes",
    "write_wav",
]

#: The rate of everything that listens: detectors, endpointing, recognisers. In Hz.
SAMPLE_RATE = 16_000

#: Below this share of the loudest channel's energy, the mean of the channels has lost the sound.
_CANCELLED = 1 / 8
_CLEARLY_LOUDER = 2.0


@dataclass(frozen=True, eq=False)
class AudioClip:
    """Sound: `samples` is float32, mono, shape (n,), in [-1, 1]; `sample_rate` in Hz.

    `name` says in messages where the sound came from. What lies outside [-1, 1] is clipped. InputError
    for an integer array (it would be read at the wrong scale), for more than one axis, and for NaN or
    infinite samples.
    """

    samples: np.ndarray
    sample_rate: int
    name: str = "the recording"

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", _checked(np.asarray(self.samples), self.name))
        if self.sample_rate <= 0:
            raise InputError(f"{self.name} has a sample rate of {self.sample_rate} Hz; it must be positive")

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return len(self.samples) / self.sample_rate

    def resample(self, sample_rate: int) -> AudioClip:
        """Return the same sound at another rate (soxr, high quality); the clip itself if it has that rate."""
        if sample_rate == self.sample_rate:
            return self
        return AudioClip(resample(self.samples, self.sample_rate, sample_rate), sample_rate, self.name)

    def cut(self, start: int, end: int) -> AudioClip:
        """The samples from `start` up to `end`; what lies outside of the clip is left out."""
        return AudioClip(self.samples[max(start, 0) : max(end, 0)], self.sample_rate, self.name)


def read_audio(path: str | Path) -> AudioClip:
    """The sound of a WAV, FLAC, MP3 or OGG file, its channels mixed down, at the rate of the file.

    A WAV that was written as a stream, with a data size of 0 or 0xFFFFFFFF, is read to the end of the file. M4A, WebM
    and others that FFmpeg knows are read if it is there (`emolib.ffmpeg`). InputError if the file is missing, empty,
    damaged or no sound, or holds NaN.
    """
    soundfile = _soundfile()
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is no file; name a recording (WAV, FLAC, MP3 or OGG)")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty; record it again")
    try:
        if form := ffmpeg_form(path):
            frames, sample_rate = read_with_ffmpeg(path, form)
        else:
            frames, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
            if not len(frames) and (streamed := _streamed_wav(path.read_bytes())):
                frames, sample_rate = soundfile.read(io.BytesIO(streamed), dtype="float32", always_2d=True)
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        reason = str(error).partition(": ")[2] or str(error)
        raise InputError(f"{path} cannot be read as sound ({reason.rstrip('.')}); save it as WAV again") from error
    if not len(frames):
        raise InputError(f"{path} holds no samples; record it again")
    return AudioClip(mix_down(frames), int(sample_rate), str(path))


def wav_bytes(clip: AudioClip) -> bytes:
    """`clip` as a 16-bit PCM WAV file."""
    buffer = io.BytesIO()
    # Written as integers: libsndfile scales floats by 32767 and would change a copied file.
    pcm = np.frombuffer(to_pcm16(clip.samples), "<i2")
    _soundfile().write(buffer, pcm, clip.sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def to_pcm16(samples: np.ndarray) -> bytes:
    """Return float samples in [-1, 1] as little-endian 16-bit PCM; values outside are clipped."""
    return np.clip(np.round(samples * 32768.0), -32768, 32767).astype("<i2").tobytes()


def from_pcm16(data: bytes | memoryview) -> np.ndarray:
    """Return little-endian 16-bit PCM as float32 samples in [-1, 1); the inverse of `to_pcm16`."""
    return np.frombuffer(data, "<i2") / np.float32(32768)


def write_wav(path: str | Path, clip: AudioClip) -> None:
    """Write `clip` as 16-bit PCM WAV; the file appears whole or not at all. StorageError if it cannot."""
    data = wav_bytes(clip)
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(data)


def mix_down(frames: np.ndarray) -> np.ndarray:
    """Return float32 mono of shape (n,) from frames of shape (n, channels), as `ChannelMixer` does."""
    return ChannelMixer().mix(frames)


class ChannelMixer:
    """Mix the blocks of one recording down to mono: the mean of the channels, unless they cancel out.

    If the mean has less than an eighth of the loudest channel's energy (one channel in opposite phase, or speech in
    one of six channels), the loudest channel is taken instead. The energies are sums over all blocks, in which a block
    counts less the more samples follow it (half after `half_life` samples), so that the choice changes seldom.
    """

    def __init__(self, half_life: int = 2 * SAMPLE_RATE) -> None:
        self._half_life = half_life
        self._energies = np.zeros(0)
        self._mean_energy = 0.0
        self._channel = 0

    def mix(self, frames: np.ndarray) -> np.ndarray:
        """Return float32 of shape (n,) from a block of shape (n, channels)."""
        if frames.shape[1] == 1:
            return frames[:, 0]
        mean = frames.mean(axis=1, dtype=np.float32)
        kept = 0.5 ** (len(frames) / self._half_life)
        energies = np.einsum("nc,nc->c", frames, frames, dtype=np.float64)
        self._energies = energies + kept * self._energies if len(self._energies) else energies
        self._mean_energy = float(np.dot(mean, mean)) + kept * self._mean_energy
        # Two channels in opposite phase are equally loud: changing between them would click.
        if self._energies.max() > _CLEARLY_LOUDER * self._energies[self._channel]:
            self._channel = int(self._energies.argmax())
        cancelled = self._mean_energy < _CANCELLED * self._energies.max()
        return frames[:, self._channel].astype(np.float32, copy=False) if cancelled else mean


def resample(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Float32 samples of shape (n,) at another rate in Hz."""
    try:
        import soxr
    except ImportError as error:
        raise MissingDependency("the package soxr", extra="speech") from error
    return soxr.resample(samples, from_rate, to_rate)


def _checked(samples: np.ndarray, name: str) -> np.ndarray:
    if samples.ndim != 1:
        raise InputError(f"{name} has the shape {samples.shape}; a clip is mono, one axis")
    if samples.dtype.kind != "f":
        raise InputError(f"{name} has {samples.dtype} samples; divide 16-bit samples by 32768 first")
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    if not np.isfinite(samples).all():
        raise InputError(f"{name} holds NaN or infinite samples; record or export it again")
    return np.clip(samples, -1.0, 1.0) if samples.size and np.abs(samples).max() > 1.0 else samples


def _streamed_wav(data: bytes) -> bytes | None:
    """Return a WAV file whose data size is 0 with its true size; None if it holds no samples, or is no WAV file."""
    place = 12
    while data[:4] == b"RIFF" and data[8:12] == b"WAVE" and place + 8 <= len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        start = place + 8
        if data[place : place + 4] == b"data":
            sound = data[start:]
            if size or not sound or _are_chunks(sound):
                return None
            sizes = [(length & 0xFFFFFFFF).to_bytes(4, "little") for length in (len(data) - 8, len(sound))]
            return data[:4] + sizes[0] + data[8 : place + 4] + sizes[1] + sound
        place = start + size + size % 2
    return None


def _are_chunks(data: bytes) -> bool:
    """Whether `data` is chunks of a RIFF file up to its last byte: notes after a recording without samples."""
    place = 0
    while place + 8 <= len(data) and data[place : place + 4].isalnum():
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8 + size + size % 2
    return place >= len(data) > 0


def _soundfile() -> ModuleType:
    try:
        import soundfile
    except ImportError as error:
        raise MissingDependency("the package soundfile", extra="speech") from error
    except OSError as error:
        raise MissingDependency("libsndfile", system="libsndfile1") from error
    return soundfile
