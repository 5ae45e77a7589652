"""Whisper on faster-whisper (CTranslate2); by default the embedded tiny.en."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from emolib.errors import MissingDependency, ModelError
from emolib.models import whisper_dir
from emolib.speech.audio import SAMPLE_RATE, AudioClip
from emolib.speech.transcript import NoSpeech, Transcript, Word

__all__ = ["WhisperRecognizer"]

_LEAST_SAMPLES = SAMPLE_RATE // 10
#: Above this probability of "no speech", with a low probability of the text, Whisper has made it up.
_NO_SPEECH = 0.6
_UNSURE = -1.0


class WhisperRecognizer:
    """Speech to text with Whisper.

    `model` is a folder or a hub name of a CTranslate2 Whisper (default: the embedded tiny.en),
    `threads` the number of CPU threads it may use, `beam_size` 1 is greedy, and `language` is None to
    detect it (English models know English only).
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
        self._beam_size = beam_size
        self._language = language
        self._word_times = word_times

    def transcribe(self, clip: AudioClip) -> Transcript:
        """The text of `clip`. NoSpeech where it holds silence or noise alone."""
        sound = clip.resample(SAMPLE_RATE)
        if len(sound) < _LEAST_SAMPLES or not _holds_speech(sound):
            raise NoSpeech(clip)
        segments, info = self._model.transcribe(
            sound.samples,
            language=self._language,
            beam_size=self._beam_size,
            word_timestamps=self._word_times,
            condition_on_previous_text=False,
            no_speech_threshold=_NO_SPEECH,
            log_prob_threshold=_UNSURE,
        )
        spoken = [segment for segment in segments if _is_spoken(segment)]
        text = "".join(segment.text for segment in spoken).strip()
        if not text:
            raise NoSpeech(clip)
        return Transcript(text, info.language, _confidence(spoken), tuple(_words(spoken)))


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


def _confidence(segments: Sequence[Any]) -> float:
    seconds = [max(segment.end - segment.start, 0.01) for segment in segments]
    mean = sum(segment.avg_logprob * length for segment, length in zip(segments, seconds, strict=True)) / sum(seconds)
    return math.exp(min(mean, 0.0))


def _words(segments: Sequence[Any]) -> Iterable[Word]:
    for segment in segments:
        for part in segment.words or [segment]:
            yield Word(getattr(part, "word", None) or part.text, part.start, part.end)
