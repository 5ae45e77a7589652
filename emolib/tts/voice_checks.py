"""What a reference clip must be before it becomes part of a voiceprint."""

from __future__ import annotations

import re

import numpy as np

from emolib.audio import AudioClip
from emolib.errors import InputError, MissingDependency
from emolib.speech import SpeechRecognizer
from emolib.tts.voiceprints import VoiceClip, VoiceLibrary

__all__ = ["LONGEST", "SHORTEST", "add_voice_clip", "check_transcript", "checked_clip"]

#: Length of a reference clip without the silence around it, in seconds.
SHORTEST, LONGEST = 3.0, 30.0

_FRAME_SECONDS = 0.02
_MARGIN_SECONDS = 0.1
#: Frames this much below the loudest one are silence, in dB.
_SILENCE_BELOW = 35.0
#: Softer than this (root mean square of what is not silence, dB of full scale), a voice drowns in noise.
_SOFTEST = -40.0
_CLIPPED_AT = 0.999
_MOST_CLIPPED = 0.001
_MOST_WRONG_WORDS = 0.4


def add_voice_clip(
    library: VoiceLibrary,
    name: str,
    clip: AudioClip,
    recogniser: SpeechRecognizer,
    *,
    text: str = "",
    emotion: str | None = None,
) -> VoiceClip:
    """Check a clip and its transcript, and keep both in the voice `name`. Raises as the checks do."""
    trimmed = checked_clip(clip)
    return library.add(name, trimmed, check_transcript(trimmed, text, recogniser), emotion)


def checked_clip(clip: AudioClip) -> AudioClip:
    """`clip` without the silence at its ends.

    Raises InputError, with what to do, for a clip that is silent, clipped, too soft, or not between
    SHORTEST and LONGEST seconds.
    """
    trimmed = _trimmed(clip)
    if not SHORTEST <= trimmed.seconds <= LONGEST:
        raise InputError(
            f"{clip.name} holds {trimmed.seconds:.1f} s of voice; a reference needs {SHORTEST:g} to {LONGEST:g} s:"
            f" {'record a longer sentence' if trimmed.seconds < SHORTEST else 'cut a part out of it'}"
        )
    clipped = float(np.mean(np.abs(trimmed.samples) >= _CLIPPED_AT))
    if clipped > _MOST_CLIPPED:
        raise InputError(f"{clip.name} is clipped ({clipped:.1%} of it at full scale); record it again with less gain")
    loudness = _decibels(trimmed.samples[np.newaxis])[0]
    if loudness < _SOFTEST:
        raise InputError(f"{clip.name} is too soft ({loudness:.0f} dB); record it again nearer to the microphone")
    return trimmed


def check_transcript(clip: AudioClip, text: str, recogniser: SpeechRecognizer) -> str:
    """The transcript to keep: `text`, or what the recogniser heard where `text` is empty.

    Raises InputError where the two differ in over 40 % of the words. A text that is not in Latin
    letters is kept as it is, for the embedded recogniser knows English only.
    """
    if text.strip() and not re.search("[a-zA-Z]", text):
        return text.strip()
    heard = recogniser.transcribe(clip).text
    if not text.strip():
        return heard
    wrong = _word_error_rate(text, heard)
    if wrong > _MOST_WRONG_WORDS:
        raise InputError(f"{clip.name} does not say {text!r}; heard was {heard!r}: correct --text or the recording")
    return text.strip()


def _trimmed(clip: AudioClip) -> AudioClip:
    size = max(1, round(_FRAME_SECONDS * clip.sample_rate))
    frames = clip.samples[: len(clip) // size * size].reshape(-1, size)
    if not len(frames) or not np.any(frames):
        raise InputError(f"{clip.name} is silent; check the microphone and record it again")
    levels = _decibels(frames)
    loud = np.flatnonzero(levels > levels.max() - _SILENCE_BELOW)
    margin = round(_MARGIN_SECONDS * clip.sample_rate)
    return clip.cut(int(loud[0]) * size - margin, (int(loud[-1]) + 1) * size + margin)


def _decibels(frames: np.ndarray) -> np.ndarray:
    """The root mean square of each row, in dB of full scale."""
    return 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 1e-12)


def _word_error_rate(expected: str, heard: str) -> float:
    try:
        import jiwer
    except ImportError as error:
        raise MissingDependency("the package jiwer", extra="tts") from error
    return jiwer.wer(_words(expected), _words(heard))


def _words(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower())) or "-"
