"""Where sound comes from: files, microphones, and PCM from elsewhere, all as frames of 30 ms at 16 kHz."""

from __future__ import annotations

import queue
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from emolib.audio import SAMPLE_RATE, ChannelMixer, from_pcm16, read_audio
from emolib.errors import DeviceError, InputError, MissingDependency
from emolib.speech.noise import FRAME

__all__ = ["AudioSource", "FileSource", "PyAudioSource", "QueueSource", "SoundDeviceSource"]

_WAITING_BLOCKS = 500
_SILENT_DEVICE_S = 2.0


class AudioSource(Protocol):
    """Something that delivers sound."""

    #: Blocks that were lost because nobody took them in time.
    overruns: int

    def frames(self) -> Iterator[np.ndarray]:
        """Float32 frames of shape (480,) at 16 kHz until the sound ends or `close` is called."""
        ...

    def close(self) -> None:
        """Stop; `frames` may be called again to start anew."""
        ...


class Framer:
    """Blocks of any size, rate and number of channels to frames of 480 samples at 16 kHz, mono.

    NaN becomes silence: one would stay in a detector's memory for ever.
    """

    def __init__(self, sample_rate: int) -> None:
        self._resampler: Any = None
        self._mixer = ChannelMixer(2 * sample_rate)
        if sample_rate != SAMPLE_RATE:
            try:
                import soxr
            except ImportError as error:
                raise MissingDependency("the package soxr", extra="speech") from error
            self._resampler = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32")
        self._rest = np.zeros(0, dtype=np.float32)

    def push(self, block: np.ndarray, *, last: bool = False) -> Iterator[np.ndarray]:
        """Frames that are complete; `block` is float of shape (n,) or (n, channels)."""
        block = np.clip(np.nan_to_num(block.astype(np.float32, copy=False)), -1.0, 1.0)
        samples = self._mixer.mix(block) if block.ndim == 2 else block
        if self._resampler:
            samples = self._resampler.resample_chunk(samples, last=last)
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // FRAME * FRAME
        self._rest = samples[whole:]
        yield from samples[:whole].reshape(-1, FRAME)

    def finish(self) -> Iterator[np.ndarray]:
        """What is left, filled up with silence to whole frames."""
        yield from self.push(np.zeros(0, dtype=np.float32), last=True)
        if len(self._rest):
            yield np.pad(self._rest, (0, FRAME - len(self._rest)))
            self._rest = self._rest[:0]


class _Source:
    overruns = 0

    def frames(self) -> Iterator[np.ndarray]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self):
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FileSource(_Source):
    """A WAV, FLAC, MP3 or OGG file: as fast as it is taken, or `paced` in real time like a microphone."""

    def __init__(self, path: str | Path, *, paced: bool = False) -> None:
        self._clip = read_audio(path)
        self._paced = paced
        self._closed = False

    def frames(self) -> Iterator[np.ndarray]:
        """The frames from the start of the file."""
        self._closed = False
        started = time.monotonic()
        for number, frame in enumerate(self._all_frames(), start=1):
            if self._paced:
                time.sleep(max(0.0, started + number * FRAME / SAMPLE_RATE - time.monotonic()))
            if self._closed:
                return
            yield frame

    def close(self) -> None:
        """End `frames` before the next frame."""
        self._closed = True

    def _all_frames(self) -> Iterator[np.ndarray]:
        framer = Framer(self._clip.sample_rate)
        # By the second: resampling an hour at once would take a gigabyte.
        for start in range(0, len(self._clip), self._clip.sample_rate):
            yield from framer.push(self._clip.samples[start : start + self._clip.sample_rate])
        yield from framer.finish()


class _QueuedSource(_Source):
    """Blocks put into a bounded queue by another thread; the oldest is dropped if nobody takes them."""

    def __init__(self, name: str, sample_rate: int, timeout_s: float | None) -> None:
        self.name = name
        self.overruns = 0
        self._sample_rate = sample_rate
        self._timeout = timeout_s
        self._blocks: queue.Queue[np.ndarray | None] = queue.Queue(_WAITING_BLOCKS)

    def frames(self) -> Iterator[np.ndarray]:
        """The frames as they come. DeviceError if none has come for two seconds."""
        framer = Framer(self._sample_rate)
        while (block := self._next_block()) is not None:
            yield from framer.push(block)
        yield from framer.finish()

    def _next_block(self) -> np.ndarray | None:
        try:
            return self._blocks.get(timeout=self._timeout)
        except queue.Empty:
            raise DeviceError(
                f"{self.name} has delivered no sound for {self._timeout:g} s; connect it again and start anew"
            ) from None

    def _put(self, block: np.ndarray | None) -> None:
        while True:
            try:
                return self._blocks.put_nowait(block)
            except queue.Full:
                try:
                    self._blocks.get_nowait()
                    self.overruns += 1
                except queue.Empty:
                    continue


class QueueSource(_QueuedSource):
    """Raw PCM that somebody else records, as the browser does: `feed` from any thread, `frames` in yours."""

    def __init__(self, sample_rate: int = SAMPLE_RATE, *, channels: int = 1, timeout_s: float | None = None) -> None:
        super().__init__("the sound queue", sample_rate, timeout_s)
        self._channels = channels
        self._odd = b""

    def feed(self, pcm: bytes | memoryview | np.ndarray) -> None:
        """Little-endian 16-bit PCM, cut anywhere, or float32 samples of shape (n,) or (n, channels)."""
        if isinstance(pcm, np.ndarray):
            if pcm.dtype.kind != "f":
                raise InputError(f"the sound queue takes float samples or bytes, not {pcm.dtype}")
            return self._put(pcm)
        data = self._odd + bytes(pcm)
        whole = len(data) // (2 * self._channels) * 2 * self._channels
        self._odd = data[whole:]
        if whole:
            self._put(from_pcm16(data[:whole]).reshape(-1, self._channels))
        return None

    def close(self) -> None:
        """Say that no more comes: `frames` ends after what was fed."""
        self._put(None)


class _DeviceSource(_QueuedSource, ABC):
    """A microphone that calls back with blocks. `frames` opens it, and closes it at its end."""

    def __init__(self, name: str, sample_rate: int, timeout_s: float) -> None:
        super().__init__(name, sample_rate, timeout_s)
        self._stop: Callable[[], None] | None = None

    def frames(self) -> Iterator[np.ndarray]:
        """The frames as they are recorded. DeviceError if the device cannot be opened or stops."""
        self.close()
        self._blocks = queue.Queue(_WAITING_BLOCKS)
        self._stop = self._open()
        try:
            yield from super().frames()
        finally:
            self.close()

    def close(self) -> None:
        """Release the device; `frames` opens it again."""
        stop, self._stop = self._stop, None
        if stop:
            self._put(None)
            stop()

    @abstractmethod
    def _open(self) -> Callable[[], None]:
        """Start recording with `_put` as the place for blocks; give what stops it."""


class SoundDeviceSource(_DeviceSource):
    """A microphone through PortAudio by sounddevice; `device` is a name, a number, or None for the default."""

    def __init__(self, device: str | int | None = None, *, timeout_s: float = _SILENT_DEVICE_S) -> None:
        self._sounddevice = import_sounddevice()
        self._device = device
        try:
            found = self._sounddevice.query_devices(device, "input")
        except (ValueError, self._sounddevice.PortAudioError) as error:
            raise DeviceError(
                f"no microphone {device or ''} was found ({error}); connect one or name another"
            ) from error
        super().__init__(f"the microphone {found['name']}", int(found["default_samplerate"]), timeout_s)

    def _open(self) -> Callable[[], None]:
        try:
            stream = self._input_stream()
            stream.start()
        except self._sounddevice.PortAudioError as error:
            raise DeviceError(f"{self.name} cannot be opened: {error}; close what else uses it") from error
        return lambda: _stop_quietly(stream.abort, stream.close)

    def _input_stream(self) -> Any:
        """Open the device in mono; if it records in stereo only, in stereo (the framer mixes it down)."""
        try:
            return self._stream_of(channels=1)
        except self._sounddevice.PortAudioError as error:
            try:
                return self._stream_of(channels=2)
            except self._sounddevice.PortAudioError:
                raise error from None

    def _stream_of(self, channels: int) -> Any:
        return self._sounddevice.InputStream(
            samplerate=self._sample_rate,
            device=self._device,
            channels=channels,
            dtype="float32",
            callback=self._callback,
            finished_callback=lambda: self._put(None) if self._stop is None else None,
        )

    def _callback(self, block: np.ndarray, _count: int, _times: Any, status: Any) -> None:
        self.overruns += bool(status.input_overflow)
        self._put(block.copy())


class PyAudioSource(_DeviceSource):
    """A microphone through PortAudio by PyAudio; `device` is a number, or None for the default."""

    def __init__(self, device: int | None = None, *, timeout_s: float = _SILENT_DEVICE_S) -> None:
        self._pyaudio = import_pyaudio()
        self._device = device
        self._audio = self._pyaudio.PyAudio()
        try:
            found = (
                self._audio.get_default_input_device_info()
                if device is None
                else self._audio.get_device_info_by_index(device)
            )
        except OSError as error:
            raise DeviceError(f"no microphone {'' if device is None else device} was found ({error})") from error
        super().__init__(f"the microphone {found['name']}", int(found["defaultSampleRate"]), timeout_s)

    def _open(self) -> Callable[[], None]:
        try:
            stream = self._stream_of(channels=1)
        except OSError as error:
            try:  # Some devices record in stereo only; the framer mixes it down.
                stream = self._stream_of(channels=2)
            except OSError:
                raise DeviceError(f"{self.name} cannot be opened: {error}; close what else uses it") from error
        return lambda: _stop_quietly(stream.stop_stream, stream.close)

    def _stream_of(self, channels: int) -> Any:
        self._channels = channels
        return self._audio.open(
            self._sample_rate,
            channels,
            self._pyaudio.paInt16,
            input=True,
            input_device_index=self._device,
            frames_per_buffer=self._sample_rate // 50,
            stream_callback=self._callback,
        )

    def _callback(self, block: bytes, _count: int, _times: Any, status: int) -> tuple[None, int]:
        self.overruns += bool(status & self._pyaudio.paInputOverflow)
        self._put(from_pcm16(block).reshape(-1, self._channels))
        return None, self._pyaudio.paContinue


def import_sounddevice() -> Any:
    """sounddevice, or a MissingDependency that names what is missing: the package or PortAudio."""
    try:
        import sounddevice
    except ImportError as error:
        raise MissingDependency("the package sounddevice", extra="speech") from error
    except OSError as error:
        raise MissingDependency("PortAudio", system="libportaudio2") from error
    return sounddevice


def import_pyaudio() -> Any:
    """PyAudio, or a MissingDependency with the line that installs it."""
    try:
        import pyaudio
    except ImportError as error:
        raise MissingDependency("PyAudio", command="apt-get install portaudio19-dev && pip install pyaudio") from error
    return pyaudio


def _stop_quietly(*calls: Callable[[], object]) -> None:
    # A device that was unplugged fails here too, and has been reported already.
    for call in calls:
        try:
            call()
        except Exception:
            continue
