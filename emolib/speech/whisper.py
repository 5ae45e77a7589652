"""Whisper on faster-whisper (CTranslate2); by default the embedded tiny.en."""

from __future__ import annotations

import math
import os
import re
import threading
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emolib.audio import SAMPLE_RATE, AudioClip
from emolib.errors import MissingDependency, ModelError, UsageError
from emolib.models import MULTILINGUAL_WHISPERS, whisper_folder
from emolib.speech.partials import PartialTranscripts
from emolib.speech.transcript import NoSpeech, Transcript, Word
from emolib.speech.voice_head import bundled_head
from emolib.speech.whisper_encoder import ENCODED_PER_SECOND, LEAD_S, EncodedSpeech, WhisperEncoder

__all__ = ["WhisperRecognizer"]

_LEAST_SAMPLES = SAMPLE_RATE // 10
_VAD_WINDOW = 512
_VAD_WINDOWS = 3
#: Silero VAD is sure of speech from here on. Crying and shouting voices are below, and laughter is above: between this
#: and no speech at all Whisper decides.
_SPEECH_SURE = 0.4
_SPEECH_POSSIBLE = 0.1
#: Above this probability of "no speech" Whisper has made its words up.
_NO_SPEECH = 0.6
#: Below this one it is sure of speech.
_SURELY_SPEECH = 0.35
_UNSURE = -1.0
_LOOPED = 2.4
#: A second try, not Whisper's five: where that fails too there is noise, and each costs a second.
_TEMPERATURES = (0.0, 0.4)
#: Whisper pads every clip to 30 s. Here the encoder gets the clip alone, which is four times as fast, and its output
#: for silence (computed once) follows up to so many seconds. If the decoder's memory ends shortly after the last word,
#: it says short sentences two or three times.
_MEMORY_S = 15.0
_LEAST_SILENCE_S = 4.0
_WINDOW_S = 30.0
_LONGEST_SHORT_S = 20
#: Below this mean log-probability a token, the decoder looks again: more widely, in a memory of 30 s.
_DOUBTFUL = -0.75
_SECOND_BEAM = 5
#: The last words of an utterance do not wait for a pass over the ones before.
_AT_ONCE = 2
#: Nobody speaks that many tokens a second: what goes on longer repeats itself.
_TOKENS_PER_SECOND = 8
#: Of a clip that faster-whisper cuts into windows by itself, the voice's emotion is that of its end.
_VOICE_S = 10
_EMBEDDED = "tiny.en"


class WhisperRecognizer:
    """Speech to text with Whisper.

    `model` is "tiny.en" (default, bundled), "base" or "small" (multilingual, see `emolib.models.whisper_folder`), or
    a folder or a hub name of a CTranslate2 Whisper. `threads` is the number of CPU threads that a clip may use
    (default: one less than there are cores, because the detectors work meanwhile). `beam_size` 1 is greedy (default:
    1 for an English model, 5 for a multilingual one). `language` is a code such as "zh", or None to detect it;
    UsageError for one that the model lacks. With an English model clips up to 20 s become one segment, unless
    `word_times` asks for the words' times.
    `voice_emotion` adds the emotion of the voice to transcripts (`emolib.speech.voice_head`), for tiny.en alone.
    Safe to call from several threads; two clips are transcribed at a time.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        device: str = "cpu",
        threads: int | None = None,
        beam_size: int | None = None,
        language: str | None = "en",
        word_times: bool = False,
        voice_emotion: bool = False,
    ) -> None:
        model = str(model or _EMBEDDED)
        if model == _EMBEDDED and language not in (None, "en"):
            raise _lacks_language(model, language)
        if voice_emotion and model != _EMBEDDED and Path(model) != whisper_folder(_EMBEDDED):
            raise UsageError(
                f"the emotion of the voice is known with the embedded Whisper tiny.en alone, not with {model}"
            )
        self._head = bundled_head() if voice_emotion else None
        folder = str(whisper_folder(model)) if model in (_EMBEDDED, *MULTILINGUAL_WHISPERS) else model
        self._model = _load(folder, device, threads or max(1, (os.cpu_count() or 2) - 1))
        if language and language not in self._model.supported_languages:
            raise _lacks_language(model, language)
        multilingual = self._model.model.is_multilingual
        language = language or (None if multilingual else "en")
        beam_size = beam_size or (_SECOND_BEAM if multilingual else 1)
        self._encoder = WhisperEncoder(self._model)
        self._free = threading.BoundedSemaphore(_AT_ONCE)
        # Base mishears Chinese in the shorter window and takes speech there for none.
        one_pass = language and not word_times and not multilingual
        self._short = _ShortClips(self._model, self._encoder, language, beam_size) if one_pass else None
        self._options = {
            "language": language,
            "beam_size": beam_size,
            "word_timestamps": word_times,
            "condition_on_previous_text": False,
            "no_speech_threshold": _NO_SPEECH,
            "log_prob_threshold": _UNSURE,
            "temperature": _TEMPERATURES,
        }

    def transcribe(self, clip: AudioClip) -> Transcript:
        """The text of `clip`. NoSpeech where it holds silence or noise alone."""
        sound = clip.resample(SAMPLE_RATE)
        certainty = _speech_certainty(sound.samples) if len(sound) >= _LEAST_SAMPLES else 0.0
        if certainty < _SPEECH_POSSIBLE:
            raise NoSpeech(clip)
        with self._free:
            found = self._recognise(sound, certainty >= _SPEECH_SURE)
        text = "".join(segment.text for segment in found.segments).strip()
        if not text:
            raise NoSpeech(clip)
        return Transcript(
            text, found.language, _confidence(found.segments), tuple(_words(found.segments)), found.emotion
        )

    def stream(self) -> PartialTranscripts:
        """A new utterance, transcribed again and again in the background while it is spoken."""
        return PartialTranscripts(self)

    def _recognise(self, sound: AudioClip, sure: bool) -> _Recognised:
        """Recognise a clip. Unless speech is `sure`, Whisper itself has to be sure of it."""
        most = _NO_SPEECH if sure else _SURELY_SPEECH
        short = self._short if sound.seconds <= _LONGEST_SHORT_S else None
        encoded = None
        if short:
            encoded = self._encoder.encode(sound.samples)
            segment, no_speech = short.recognise(encoded, sound.seconds)
            if no_speech > most:
                return _Recognised([], short.language)
            if segment:
                return _Recognised([segment], short.language, self._emotion(encoded))
        segments, info = self._model.transcribe(sound.samples, **self._options)
        spoken = [segment for segment in segments if segment.no_speech_prob <= most]
        if self._head and spoken and encoded is None:
            encoded = self._encoder.encode(sound.samples[-_VOICE_S * SAMPLE_RATE :])
        return _Recognised(spoken, info.language, self._emotion(encoded))

    def _emotion(self, encoded: EncodedSpeech | None) -> dict[str, float] | None:
        return self._head.probabilities(encoded) if self._head and encoded is not None else None


@dataclass(frozen=True)
class _Recognised:
    """The segments of a clip, none if it holds no words, their language, and the emotion of the voice."""

    segments: list[Any]
    language: str
    emotion: dict[str, float] | None = None


@dataclass(frozen=True)
class _Segment:
    """A whole clip, in the fields of faster-whisper's segments."""

    text: str
    start: float
    end: float
    avg_logprob: float
    words: None = None


@dataclass(frozen=True)
class _Decoded:
    """What the decoder says: text tokens, the mean log-probability a token, and whether it came to an end."""

    tokens: list[int]
    likelihood: float
    no_speech: float
    ended: bool


class _ShortClips:
    """One pass over a window no longer than it has to be: faster-whisper itself always encodes 30 s."""

    def __init__(self, model: Any, encoder: WhisperEncoder, language: str, beam_size: int) -> None:
        from faster_whisper.tokenizer import Tokenizer

        self._model = model
        self._tokenizer = Tokenizer(model.hf_tokenizer, False, task="transcribe", language=language)
        # Timestamps keep the decoder's place in the sound: without them it says one of two sentences twice or not at
        # all.
        self._prompt = list(self._tokenizer.sot_sequence)
        self._beam_size = beam_size
        self._silence = encoder.silence(_WINDOW_S)
        self.language = self._tokenizer.language_code

    def recognise(self, speech: EncodedSpeech, seconds: float) -> tuple[_Segment | None, float]:
        """Return a clip of `seconds` as one segment, and the probability that it holds no speech.

        The segment is None if the words are doubtful and want faster-whisper's second look.
        """
        found = self._decode(speech.output, seconds, _MEMORY_S, self._beam_size)
        repeated = _says_twice(self._tokenizer.decode(found.tokens))
        if repeated or not found.ended or found.likelihood < _DOUBTFUL:
            again = self._decode(speech.output, seconds, _WINDOW_S, max(self._beam_size, _SECOND_BEAM))
            # What is said in a loop is likely: whether it was spoken so is for the second look to say.
            found = again if repeated or not found.ended or again.likelihood > found.likelihood else found
        text = self._tokenizer.decode(found.tokens)
        if not found.tokens or not found.ended or _repetition(text) > _LOOPED or found.likelihood < _UNSURE:
            return None, found.no_speech
        return _Segment(text, 0.0, seconds, found.likelihood), found.no_speech

    def _decode(self, encoded: np.ndarray, seconds: float, memory_s: float, beam_size: int) -> _Decoded:
        from ctranslate2 import StorageView

        length = round(ENCODED_PER_SECOND * max(memory_s, LEAD_S + seconds + _LEAST_SILENCE_S))
        memory = np.concatenate([encoded, self._silence[len(encoded) : length]])
        most = math.ceil(_TOKENS_PER_SECOND * (seconds + 1))
        result = self._model.model.generate(
            StorageView.from_array(memory[None]),
            [self._prompt],
            beam_size=beam_size,
            max_length=len(self._prompt) + most,
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        tokens = result.sequences_ids[0]
        return _Decoded(
            [token for token in tokens if token < self._tokenizer.eot],
            result.scores[0] * len(tokens) / (len(tokens) + 1),
            result.no_speech_prob,
            len(tokens) < most,
        )


def _lacks_language(model: str, language: str | None) -> UsageError:
    return UsageError(
        f"Whisper {model} knows no language {language!r}; tiny.en hears English only, and whisper:base hears many"
        " (`make more` installs it)"
    )


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
            num_workers=_AT_ONCE,
            local_files_only=Path(model).is_dir(),
        )
    except Exception as error:  # CTranslate2 and the hub client each have their own kinds
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"the Whisper model {model} cannot be loaded: {reason}") from error


def _speech_certainty(samples: np.ndarray) -> float:
    """Return the probability of speech that Silero VAD reaches or passes for 90 ms in all."""
    from faster_whisper.vad import get_vad_model

    windows = np.pad(samples, (0, -len(samples) % _VAD_WINDOW))
    probabilities = np.sort(get_vad_model()(windows).ravel())
    return float(probabilities[-min(_VAD_WINDOWS, len(probabilities))])


def _says_twice(text: str) -> bool:
    """Whether three or more words come twice in a row."""
    words = re.findall(r"[\w']+", text.lower())
    lengths = range(3, len(words) // 2 + 1)
    return any(words[i : i + n] == words[i + n : i + 2 * n] for n in lengths for i in range(len(words) - 2 * n + 1))


def _repetition(text: str) -> float:
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def _confidence(segments: Sequence[Any]) -> float:
    seconds = [max(segment.end - segment.start, 0.01) for segment in segments]
    mean = sum(segment.avg_logprob * length for segment, length in zip(segments, seconds, strict=True)) / sum(seconds)
    return math.exp(min(mean, 0.0))


def _words(segments: Sequence[Any]) -> Iterable[Word]:
    for segment in segments:
        for part in segment.words or [segment]:
            yield Word(getattr(part, "word", None) or part.text, part.start, part.end)
