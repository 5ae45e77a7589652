"""Where sound goes to: a loudspeaker, a WAV file, or nowhere in real time."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from emolib.audio import AudioClip, write_wav
from emolib.errors import DeviceError
from emolib.speech.sources import import_pyaudio, import_sounddevice

__all__ = ["AudioSink", "NullSink", "Pull", "PyAudioSink", "SoundDeviceSink", "WavSink"]

#: Gives the next samples, at most as many as asked for; fewer or none if nothing is ready.
Pull = Callable[[int], np.ndarray]

_BLOCK_S = 0.01


class AudioSink(Protocol):
    """Something that asks for samples, float32 mono, at the pace at which it plays them."""

    #: In Hz.
    sample_rate: int
    #: Samples that were taken and are not heard yet.
    latency_samples: int

    def start(self, pull: Pull) -> None:
        """Ask `pull` for samples from now on, in place of who was asked before."""
        ...

    def close(self) -> None:
        """Ask no more, and release what is held."""
        ...


class _ThreadSink(ABC):
    """A sink with a thread of its own that asks for a block of 10 ms at a time."""

    latency_samples = 0

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._pull: Pull = lambda count: np.zeros(0, dtype=np.float32)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self):
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, pull: Pull) -> None:
        """Ask `pull` for samples from now on."""
        self._pull = pull
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="audio sink", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop asking."""
        self._closed.set()
        if self._thread:
            self._thread.join()

    @abstractmethod
    def _run(self) -> None: ...


class NullSink(_ThreadSink):
    """Plays to nobody, at the pace of a loudspeaker."""

    def __init__(self, sample_rate: int = 22_050) -> None:
        super().__init__(sample_rate)

    def _run(self) -> None:
        block = round(_BLOCK_S * self.sample_rate)
        due = time.monotonic()
        while not self._closed.wait(max(0.0, due - time.monotonic())):
            self._pull(block)
            due += block / self.sample_rate


class WavSink(_ThreadSink):
    """Writes what is played into a 16-bit WAV, as fast as it comes; the file appears, whole, at `close`."""

    def __init__(self, path: str | Path, sample_rate: int = 22_050) -> None:
        super().__init__(sample_rate)
        self._path = Path(path)
        self._blocks: list[np.ndarray] = []
        self._discarded = False

    def discard(self) -> None:
        """Write nothing at `close`: a file that exists stays as it is."""
        self._discarded = True

    def close(self) -> None:
        """Write the file. StorageError when it cannot be written."""
        if self._closed.is_set():
            return
        super().close()
        if not self._discarded:
            samples = np.concatenate(self._blocks) if self._blocks else np.zeros(0, dtype=np.float32)
            write_wav(self._path, AudioClip(samples, self.sample_rate))

    def _run(self) -> None:
        block = self.sample_rate // 10
        while not self._closed.is_set():
            samples = self._pull(block)
            if len(samples):
                self._blocks.append(samples)
            else:
                self._closed.wait(_BLOCK_S / 2)


class SoundDeviceSink:
    """A loudspeaker through PortAudio; `device` is a name, a number, or None for the default."""

    def __init__(self, device: str | int | None = None, sample_rate: int | None = None) -> None:
        sounddevice = import_sounddevice()
        self._pull: Pull = lambda count: np.zeros(0, dtype=np.float32)
        #: Blocks for which nothing arrived in time.
        self.underruns = 0
        try:
            found = sounddevice.query_devices(device, "output")
            self.sample_rate = sample_rate or int(found["default_samplerate"])
            self._stream = sounddevice.OutputStream(
                samplerate=self.sample_rate,
                device=device,
                channels=1,
                dtype="float32",
                latency="low",
                callback=self._callback,
            )
            self._stream.start()
        except (ValueError, sounddevice.PortAudioError) as error:
            raise DeviceError(f"the loudspeaker {device or ''} cannot be opened ({error}); name another") from error
        self.latency_samples = round(float(self._stream.latency) * self.sample_rate)

    def start(self, pull: Pull) -> None:
        """Ask `pull` for samples from now on."""
        self._pull = pull

    def close(self) -> None:
        """Release the device at once."""
        self._stream.abort()
        self._stream.close()

    def _callback(self, out: np.ndarray, count: int, _times: Any, status: Any) -> None:
        self.underruns += bool(status.output_underflow)
        samples = self._pull(count)
        out[: len(samples), 0] = samples
        out[len(samples) :] = 0.0


class PyAudioSink:
    """A loudspeaker through PortAudio by PyAudio; `device` is a number, or None for the default."""

    def __init__(self, device: int | None = None, sample_rate: int | None = None) -> None:
        self._pyaudio = import_pyaudio()
        self._pull: Pull = lambda count: np.zeros(0, dtype=np.float32)
        #: Blocks for which nothing arrived in time.
        self.underruns = 0
        self._audio = self._pyaudio.PyAudio()
        try:
            found = (
                self._audio.get_default_output_device_info()
                if device is None
                else self._audio.get_device_info_by_index(device)
            )
            self.sample_rate = sample_rate or int(found["defaultSampleRate"])
            self._stream = self._audio.open(
                self.sample_rate,
                1,
                self._pyaudio.paFloat32,
                output=True,
                output_device_index=device,
                frames_per_buffer=self.sample_rate // 100,
                stream_callback=self._callback,
            )
        except OSError as error:
            self._audio.terminate()
            name = "" if device is None else f" {device}"
            raise DeviceError(f"the loudspeaker{name} cannot be opened ({error}); name another") from error
        self.latency_samples = round(self._stream.get_output_latency() * self.sample_rate)

    def start(self, pull: Pull) -> None:
        """Ask `pull` for samples from now on."""
        self._pull = pull

    def close(self) -> None:
        """Release the device at once."""
        self._stream.close()
        self._audio.terminate()

    def _callback(self, _input: None, count: int, _times: Any, status: int) -> tuple[bytes, int]:
        self.underruns += bool(status & self._pyaudio.paOutputUnderflow)
        samples = self._pull(count).astype(np.float32, copy=False)
        return np.pad(samples, (0, count - len(samples))).tobytes(), self._pyaudio.paContinue
