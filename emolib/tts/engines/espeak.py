"""espeak-ng, the last resort: a program of the system, robotic and understood everywhere."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator

import numpy as np

from emolib.errors import MissingDependency, ServiceError
from emolib.tts.engines import EngineError, Utterance, sentences
from emolib.tts.prosody import Prosody, level, prosody_for
from emolib.tts.sound import PcmStream

__all__ = ["EspeakEngine"]

_WORDS_PER_MINUTE = 165
#: espeak-ng's pitch runs from 0 to 99 with 50 in the middle; about eight steps are a semitone.
_PITCH, _STEPS_PER_SEMITONE = 50, 8
_LONGEST_SECONDS = 20.0


class EspeakEngine:
    """The program espeak-ng, with emotion as its own rate and pitch."""

    name = "espeak-ng"
    sample_rate = 22_050
    clones_voices = False
    reads_tags = False

    def __init__(self, voice: str = "en-us") -> None:
        program = shutil.which("espeak-ng")
        if program is None:
            raise MissingDependency("espeak-ng", system="espeak-ng")
        self._program = program
        self._voice = voice

    def synthesize(self, utterance: Utterance, stop: threading.Event) -> Iterator[np.ndarray]:
        """Yield one piece per sentence, with the pause of the emotion between two."""
        prosody = prosody_for(utterance.emotion, utterance.intensity)
        for number, sentence in enumerate(sentences(utterance.text)):
            if stop.is_set():
                return
            if number:
                yield np.zeros(round(prosody.pause * self.sample_rate), dtype=np.float32)
            yield level(self._say(sentence, prosody), prosody)

    def _say(self, sentence: str, prosody: Prosody) -> np.ndarray:
        rate = round(_WORDS_PER_MINUTE * prosody.rate)
        pitch = min(99, max(0, round(_PITCH + _STEPS_PER_SEMITONE * prosody.pitch)))
        command = [self._program, "-v", self._voice, "-s", str(rate), "-p", str(pitch), "--stdin", "--stdout"]
        try:
            done = subprocess.run(
                command, input=sentence.encode(), capture_output=True, timeout=_LONGEST_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise EngineError(f"espeak-ng took over {_LONGEST_SECONDS:g} s") from error
        if done.returncode:
            raise EngineError(f"espeak-ng ended with {done.returncode}: {done.stderr.decode(errors='replace')[:200]}")
        decoder = PcmStream(self.sample_rate)
        try:
            samples = decoder.push(done.stdout)
        except ServiceError as error:
            raise EngineError(f"espeak-ng gave no WAV: {error}") from error
        return samples

    def close(self) -> None:
        """Nothing is held."""
