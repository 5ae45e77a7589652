"""Voiceprints: a folder per voice with reference clips, their transcripts and emotions, and the checks of a clip."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emolib.audio import AudioClip, read_audio, wav_bytes, write_wav
from emolib.emotions import EMOTIONS
from emolib.errors import InputError, MissingDependency, UsageError
from emolib.files import expand_user, is_reserved_name, storage_errors, write_json
from emolib.tts.engines import Reference

if TYPE_CHECKING:
    from emolib.speech import SpeechRecognizer

__all__ = [
    "LONGEST",
    "SHORTEST",
    "VoiceClip",
    "VoiceLibrary",
    "Voiceprint",
    "add_voice_clip",
    "check_transcript",
    "checked_clip",
    "voices_folder",
]

#: Fish-Speech's rule for ids, short enough for a hash behind it.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}")
_GAP_SECONDS = 0.3

#: Length of a reference clip without the silence around it, and of several joined into one, in seconds.
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


@dataclass(frozen=True)
class VoiceClip:
    """A reference clip: its file in the voice's folder, what is said in it, and for which emotion (None: any)."""

    file: str
    text: str
    emotion: str | None
    seconds: float


@dataclass(frozen=True)
class Voiceprint:
    """A voice and its clips."""

    name: str
    folder: Path
    clips: tuple[VoiceClip, ...]

    def clips_for(self, emotion: str | None) -> tuple[VoiceClip, ...]:
        """Return the clips of `emotion`, else the neutral ones, else all."""
        for wanted in (emotion, None):
            found = tuple(clip for clip in self.clips if clip.emotion == wanted)
            if found:
                return found
        return self.clips

    def reference(self, emotion: str | None) -> Reference:
        """Join the clips for an emotion into one WAV of up to 30 s, and their transcripts into one text."""
        chosen: list[VoiceClip] = []
        for clip in self.clips_for(emotion):
            if chosen and sum(other.seconds + _GAP_SECONDS for other in chosen) + clip.seconds > LONGEST:
                break
            chosen.append(clip)
        return Reference(_one_wav([self._read(clip) for clip in chosen]), " ".join(clip.text for clip in chosen))

    def sounds(self, emotion: str | None) -> list[AudioClip]:
        """Read the clips for an emotion."""
        return [self._read(clip) for clip in self.clips_for(emotion)]

    def _read(self, clip: VoiceClip) -> AudioClip:
        return read_audio(self.folder / clip.file)


class VoiceLibrary:
    """All voiceprints under a folder (default: `voices_folder()`)."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """The folder; UsageError as in `voices_folder`."""
        return self._folder or voices_folder()

    def names(self) -> list[str]:
        """Return the names of the voices, in order; none for a user who has no folder for them."""
        try:
            return sorted(path.parent.name for path in self.folder.glob("*/voice.json"))
        except UsageError:
            return []

    def open(self, name: str) -> Voiceprint:
        """Open the voice `name`. Raises UsageError if there is none, and InputError if its folder is damaged."""
        folder = self._path(name)
        try:
            entries = json.loads((folder / "voice.json").read_text(encoding="utf-8"))["clips"]
            clips = tuple(VoiceClip(**{**entry, "file": Path(entry["file"]).name}) for entry in entries)
        except FileNotFoundError:
            known = ", ".join(self.names()) or "none yet"
            raise UsageError(f"there is no voice {name!r} in {self.folder} (known: {known})") from None
        except (ValueError, KeyError, TypeError) as error:
            message = f"{folder / 'voice.json'} is damaged ({error}); delete {folder} and add the voice again"
            raise InputError(message) from error
        return Voiceprint(name, folder, clips)

    def add(self, name: str, clip: AudioClip, text: str, emotion: str | None = None) -> VoiceClip:
        """Add a checked clip (see `checked_clip`) to a voice, which is created if it is new."""
        folder = self._path(name)
        if emotion is not None and emotion not in EMOTIONS:
            raise UsageError(f"unknown emotion {emotion!r}; use one of {', '.join(EMOTIONS)}")
        old = self.open(name).clips if name in self.names() else ()
        file = _free_name(emotion or "neutral", old)
        write_wav(folder / file, clip)
        added = VoiceClip(file, text, emotion, round(clip.seconds, 3))
        write_json(folder / "voice.json", {"clips": [asdict(entry) for entry in (*old, added)]})
        return added

    def remove(self, name: str) -> None:
        """Delete a voice and its clips."""
        with storage_errors(self.folder):
            shutil.rmtree(self.open(name).folder)

    def table(self) -> str:
        """Format the voices and their clips, one line per clip."""
        lines = [
            f"{name:<20} {clip.emotion or 'any':<9} {clip.seconds:5.1f} s  {clip.text}"
            for name in self.names()
            for clip in self.open(name).clips
        ]
        return "\n".join(lines) or f"no voices in {self.folder}; add one with: emolib voice add NAME clip.wav"

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name) or is_reserved_name(name):
            raise UsageError(f"{name!r} is not a name for a voice; use up to 64 letters, digits, - and _")
        return self.folder / name


def voices_folder() -> Path:
    """Return $EMOLIB_VOICES, or the folder `emolib/voices` among the user's data.

    Raises UsageError for a user without a home: recordings are not kept among temporary files.
    """
    if chosen := os.environ.get("EMOLIB_VOICES"):
        return expand_user(chosen)
    if data := os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA"):
        return Path(data) / "emolib" / "voices"
    try:
        return Path.home() / ".local" / "share" / "emolib" / "voices"
    except RuntimeError:
        raise UsageError("this user has no home folder for voices; name a folder in EMOLIB_VOICES") from None


def _free_name(stem: str, taken: Sequence[VoiceClip]) -> str:
    used = {clip.file for clip in taken}
    return next(name for number in range(1, len(used) + 2) if (name := f"{stem}-{number}.wav") not in used)


def _one_wav(sounds: Sequence[AudioClip]) -> bytes:
    rate = sounds[0].sample_rate
    gap = np.zeros(round(_GAP_SECONDS * rate), dtype=np.float32)
    parts = [part for sound in sounds for part in (sound.resample(rate).samples, gap)]
    return wav_bytes(AudioClip(np.concatenate(parts[:-1]), rate))


def add_voice_clip(
    library: VoiceLibrary,
    name: str,
    clip: AudioClip,
    recogniser: SpeechRecognizer,
    *,
    text: str = "",
    emotion: str | None = None,
) -> VoiceClip:
    """Check a clip and its transcript, and add both to the voice `name`. Raises as the checks do."""
    trimmed = checked_clip(clip)
    return library.add(name, trimmed, check_transcript(trimmed, text, recogniser), emotion)


def checked_clip(clip: AudioClip) -> AudioClip:
    """Return `clip` without the silence at its ends.

    Raises InputError, with what to do, if the clip is silent, clipped, too soft, or not between SHORTEST
    and LONGEST seconds.
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
    """Return the transcript to keep: `text`, or what the recogniser hears if `text` is empty.

    Raises InputError if the two differ in over 40 % of the words. A text that is not in Latin letters is kept
    as it is, because the embedded recogniser knows English only.
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
    """Return the root mean square of each row, in dB of full scale."""
    return 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 1e-12)


def _word_error_rate(expected: str, heard: str) -> float:
    try:
        import jiwer
    except ImportError as error:
        raise MissingDependency("the package jiwer", extra="tts") from error
    return jiwer.wer(_words(expected), _words(heard))


def _words(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower())) or "-"
