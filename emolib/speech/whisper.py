"""Whisper on faster-whisper (CTranslate2); by default the embedded tiny.en."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emolib.errors import MissingDependency, ModelError
from emolib.models import whisper_dir
from emolib.speech.audio import SAMPLE_RATE, AudioClip
from emolib.speech.partials import PartialTranscripts
from emolib.speech.transcript import NoSpeech, Transcript, Word

__all__ = ["WhisperRecognizer"]

_LEAST_SAMPLES = SAMPLE_RATE // 10
#: Above this probability of "no speech", with a low probability of the text, Whisper has made it up.
_NO_SPEECH = 0.6
_UNSURE = -1.0
_LOOPED = 2.4
_WINDOW_S = 30
#: A second try, not Whisper's five: where that fails too there is noise, and each costs a second.
_TEMPERATURES = (0.0, 0.4)
#: Whisper pads every clip to 30 s. With this much after the speech it hears the same and is faster;
#: with less it repeats itself.
_PADDING_S = 10


class WhisperRecognizer:
    """Speech to text with Whisper.

    `model` is a folder or a hub name of a CTranslate2 Whisper (default: the embedded tiny.en),
    `threads` the number of CPU threads it may use, `beam_size` 1 is greedy, and `language` is None to
    detect it (English models know English only). Safe to call from several threads; one works at a time.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        device: str = "cpu",
        threads: int = 2,
        beam_size: int = 5,
        language: str | None = "en",
        word_times: bool = False,
    ) -> None:
        self._model = _load(str(model or whisper_dir()), device, threads)
        self._lock = threading.Lock()
        self._options = {
            "language": language,
            "beam_size": beam_size,
            "word_timestamps": word_times,
            "condition_on_previous_text": False,
            "no_speech_threshold": _NO_SPEECH,
            "log_prob_threshold": _UNSURE,
        }

    def transcribe(self, clip: AudioClip) -> Transcript:
        """The text of `clip`. NoSpeech where it holds silence or noise alone."""
        sound = clip.resample(SAMPLE_RATE)
        if len(sound) < _LEAST_SAMPLES or not _holds_speech(sound):
            raise NoSpeech(clip)
        with self._lock:
            spoken, language = self._recognise(sound)
        text = "".join(segment.text for segment in spoken).strip()
        if not text:
            raise NoSpeech(clip)
        return Transcript(text, language, _confidence(spoken), tuple(_words(spoken)))

    def stream(self) -> PartialTranscripts:
        """A new utterance, transcribed again and again in the background while it is spoken."""
        return PartialTranscripts(self)

    def _recognise(self, sound: AudioClip) -> tuple[list[Any], str]:
        window = math.ceil(sound.seconds) + _PADDING_S
        if window < _WINDOW_S:
            segments, language = self._run(sound.samples, window, temperature=0.0)
            if segments and not any(_is_doubtful(segment) for segment in segments):
                return segments, language
        return self._run(sound.samples, _WINDOW_S, temperature=_TEMPERATURES)

    def _run(self, samples: np.ndarray, window_s: int, temperature: float | tuple[float, ...]) -> tuple[list[Any], str]:
        segments, info = self._model.transcribe(
            samples, chunk_length=window_s, temperature=temperature, **self._options
        )
        return [segment for segment in segments if _is_spoken(segment)], info.language


def _load(model: str, device: str, threads: int) -> Any:
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise MissingDependency("the package faster-whisper", extra="speech") from error
    try:
        return WhisperModel(
            model,
            device=device,
            compute_type="int8" if device == "cpu" else "default",
            cpu_threads=threads,
            local_files_only=Path(model).is_dir(),
        )
    except Exception as error:  # CTranslate2 and the hub client each have their own kinds
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"the Whisper model {model} cannot be loaded: {reason}") from error


def _holds_speech(sound: AudioClip) -> bool:
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    return bool(get_speech_timestamps(sound.samples, VadOptions(threshold=0.4, min_speech_duration_ms=90)))


def _is_spoken(segment: Any) -> bool:
    return not (segment.no_speech_prob > _NO_SPEECH and segment.avg_logprob < _UNSURE)


def _is_doubtful(segment: Any) -> bool:
    return segment.compression_ratio > _LOOPED or segment.avg_logprob < _UNSURE


def _confidence(segments: Sequence[Any]) -> float:
    seconds = [max(segment.end - segment.start, 0.01) for segment in segments]
    mean = sum(segment.avg_logprob * length for segment, length in zip(segments, seconds, strict=True)) / sum(seconds)
    return math.exp(min(mean, 0.0))


def _words(segments: Sequence[Any]) -> Iterable[Word]:
    for segment in segments:
        for part in segment.words or [segment]:
            yield Word(getattr(part, "word", None) or part.text, part.start, part.end)
