"""Samples to bytes and back: WAV files, headerless PCM, and streams of either cut anywhere."""

from __future__ import annotations

import io
import struct

import numpy as np

from emolib.audio import to_pcm16
from emolib.errors import ServiceError

__all__ = ["CONTENT_TYPES", "STREAM_RATE", "PcmStream", "encode", "wav_header"]

CONTENT_TYPES = {"wav": "audio/wav", "pcm": "audio/pcm", "mp3": "audio/mpeg", "opus": "audio/ogg"}

#: The rate of Fish-Speech's headerless streams, in Hz.
STREAM_RATE = 44_100

_UNKNOWN_LENGTHS = (0, 0xFFFFFFFF)
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


def wav_header(sample_rate: int, data_bytes: int = 0) -> bytes:
    """Return the 44-byte header of a mono 16-bit WAV; 0 bytes of data marks a stream of unknown length."""
    riff_bytes = 36 + data_bytes
    shape = struct.pack("<HHIIHH", _PCM, 1, sample_rate, sample_rate * 2, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", riff_bytes)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + shape
        + b"data"
        + (struct.pack("<I", data_bytes))
    )


def encode(samples: np.ndarray, sample_rate: int, form: str) -> bytes:
    """Encode a whole sound as `form`: wav, pcm (headerless 16 bit), mp3, or opus in Ogg."""
    if form == "pcm":
        return to_pcm16(samples)
    if form == "wav":
        pcm = to_pcm16(samples)
        return wav_header(sample_rate, len(pcm)) + pcm
    import soundfile
    import soxr

    buffer = io.BytesIO()
    if form == "mp3":
        soundfile.write(buffer, samples, sample_rate, format="MP3")
    else:
        soundfile.write(buffer, soxr.resample(samples, sample_rate, 48_000), 48_000, format="OGG", subtype="OPUS")
    return buffer.getvalue()


class PcmStream:
    """Decodes a sound that arrives in chunks cut anywhere.

    Takes a WAV with a true length, a WAV whose lengths are zero or unset, and headerless mono 16-bit
    PCM at `default_rate`. `push` returns the float32 mono samples that are complete so far; `finish`
    raises ServiceError if less arrived than the header promised. The first bytes decide, so a
    stream shorter than a header is PCM.
    """

    def __init__(self, default_rate: int = STREAM_RATE) -> None:
        self.sample_rate = default_rate
        self._buffer = b""
        self._started = False
        self._channels = 1
        self._width = 2
        self._float = False
        self._missing: int | None = None

    def push(self, chunk: bytes) -> np.ndarray:
        """Take the next bytes; give float32 mono samples, possibly none."""
        self._buffer += chunk
        if not self._started:
            self._start()
        return self._take()

    def finish(self) -> None:
        """Say that no more bytes come. Raises ServiceError for a sound that was cut short or is none."""
        if not self._started and self._buffer[:4] == b"RIFF"[: len(self._buffer[:4])] and self._buffer:
            raise ServiceError("the speech service sent half a WAV header")
        if self._missing:
            raise ServiceError(f"the speech service sent half a WAV: {self._missing} bytes are missing")

    def _start(self) -> None:
        if len(self._buffer) < 4:
            return
        if self._buffer[:4] != b"RIFF":
            self._started = True
            return
        position = 12
        while len(self._buffer) >= position + 8:
            name, size = struct.unpack_from("<4sI", self._buffer, position)
            if name == b"data":
                self._missing = None if size in _UNKNOWN_LENGTHS else size
                self._buffer = self._buffer[position + 8 :]
                self._started = True
                return
            if len(self._buffer) < position + 8 + size:
                return
            if name == b"fmt ":
                self._read_shape(self._buffer[position + 8 : position + 8 + size])
            position += 8 + size + size % 2

    def _read_shape(self, block: bytes) -> None:
        if len(block) < 16:
            raise ServiceError("the speech service sent a WAV with a broken fmt block")
        kind, self._channels, self.sample_rate, _, _, bits = struct.unpack_from("<HHIIHH", block)
        if kind == _EXTENSIBLE and len(block) >= 26:
            kind = struct.unpack_from("<H", block, 24)[0]
        self._width = bits // 8
        self._float = kind == _FLOAT
        if (kind, bits) not in ((_PCM, 16), (_PCM, 32), (_FLOAT, 32)) or not self._channels or not self.sample_rate:
            raise ServiceError(f"the speech service sent a WAV of {bits} bits and format {kind}, which is not read")

    def _take(self) -> np.ndarray:
        if not self._started:
            return np.zeros(0, dtype=np.float32)
        usable = len(self._buffer) if self._missing is None else min(len(self._buffer), self._missing)
        usable -= usable % (self._width * self._channels)
        block, self._buffer = self._buffer[:usable], self._buffer[usable:]
        if self._missing is not None:
            self._missing -= usable
            if self._missing == 0:
                # What follows the data block (LIST, id3) is not sound.
                self._buffer = b""
        if self._float:
            samples = np.frombuffer(block, dtype="<f4")
        else:
            samples = np.frombuffer(block, dtype=f"<i{self._width}") / np.float32(2.0 ** (8 * self._width - 1))
        return samples.reshape(-1, self._channels).mean(axis=1, dtype=np.float32)
