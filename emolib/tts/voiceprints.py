"""Voiceprints: a folder a voice, with reference clips, their transcripts and the emotions they are for."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emolib.emotions import EMOTIONS
from emolib.errors import InputError, UsageError
from emolib.files import storage_errors, write_json
from emolib.tts.engines import Reference

if TYPE_CHECKING:
    from emolib.audio import AudioClip

__all__ = ["VoiceClip", "VoiceLibrary", "Voiceprint", "voices_folder"]

#: Fish-Speech's rule for ids, short enough for a hash behind it.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}")
_LONGEST_REFERENCE = 30.0
_GAP_SECONDS = 0.3


@dataclass(frozen=True)
class VoiceClip:
    """A reference clip: its file inside the voice's folder, what is said in it, for which emotion (None: any)."""

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
        """The clips of that emotion, else the neutral ones, else all."""
        for wanted in (emotion, None):
            found = tuple(clip for clip in self.clips if clip.emotion == wanted)
            if found:
                return found
        return self.clips

    def reference(self, emotion: str | None) -> Reference:
        """The clips for an emotion as one WAV of up to 30 s, and their transcripts as one text."""
        chosen: list[VoiceClip] = []
        for clip in self.clips_for(emotion):
            if chosen and sum(other.seconds + _GAP_SECONDS for other in chosen) + clip.seconds > _LONGEST_REFERENCE:
                break
            chosen.append(clip)
        return Reference(_one_wav([self._read(clip) for clip in chosen]), " ".join(clip.text for clip in chosen))

    def sounds(self, emotion: str | None) -> list[AudioClip]:
        """The clips for an emotion, to listen to."""
        return [self._read(clip) for clip in self.clips_for(emotion)]

    def _read(self, clip: VoiceClip) -> AudioClip:
        from emolib.audio import read_audio

        return read_audio(self.folder / clip.file)


class VoiceLibrary:
    """All voiceprints under a folder (default: `voices_folder()`)."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or voices_folder()

    def names(self) -> list[str]:
        """The names of the voices, in order."""
        if not self.folder.is_dir():
            return []
        return sorted(path.parent.name for path in self.folder.glob("*/voice.json"))

    def open(self, name: str) -> Voiceprint:
        """The voice of that name. Raises UsageError where there is none, InputError for a damaged folder."""
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
        """Keep a checked clip (see `emolib.tts.voice_checks`) in a voice, which is made where it is new."""
        from emolib.audio import write_wav

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
        """The voices and their clips, a line each."""
        lines = [
            f"{name:<20} {clip.emotion or 'any':<9} {clip.seconds:5.1f} s  {clip.text}"
            for name in self.names()
            for clip in self.open(name).clips
        ]
        return "\n".join(lines) or f"no voices in {self.folder}; add one with: emolib voice add NAME clip.wav"

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is not a name for a voice; use up to 64 letters, digits, - and _")
        return self.folder / name


def voices_folder() -> Path:
    """$EMOLIB_VOICES, or the folder `emolib/voices` among the user's data."""
    if chosen := os.environ.get("EMOLIB_VOICES"):
        return Path(chosen)
    data = os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(data) if data else Path.home() / ".local" / "share") / "emolib" / "voices"


def _free_name(stem: str, taken: Sequence[VoiceClip]) -> str:
    used = {clip.file for clip in taken}
    return next(name for number in range(1, len(used) + 2) if (name := f"{stem}-{number}.wav") not in used)


def _one_wav(sounds: Sequence[AudioClip]) -> bytes:
    import soundfile

    rate = sounds[0].sample_rate
    gap = np.zeros(round(_GAP_SECONDS * rate), dtype=np.float32)
    parts: list[np.ndarray] = []
    for sound in sounds:
        parts += [sound.samples if sound.sample_rate == rate else sound.resample(rate).samples, gap]
    buffer = io.BytesIO()
    soundfile.write(buffer, np.concatenate(parts[:-1]), rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()
