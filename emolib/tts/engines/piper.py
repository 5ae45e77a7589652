"""Piper, the embedded engine. piper-tts is GPL-3.0-or-later: only the service's process imports it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from emolib.errors import MissingDependency
from emolib.tts.engines.base import Utterance
from emolib.tts.engines.phonemes import MixedPhonemizer
from emolib.tts.engines.shaping import level, pitch_ratio, shift_pitch, without_lead
from emolib.tts.prosody import prosody_for
from emolib.tts.text import sentences

__all__ = ["PiperEngine"]


class PiperEngine:
    """A Piper voice, with emotion as prosody (see `emolib.tts.prosody`)."""

    name = "piper"
    clones_voices = False
    reads_tags = False

    def __init__(self, voice: Path, threads: int = 2) -> None:
        try:
            import onnxruntime
            from piper import PiperConfig, PiperVoice, SynthesisConfig
        except ImportError as error:
            raise MissingDependency(f"the package {error.name}", extra="tts") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Spinning worker threads would take the second core from the language model of a dialogue.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(voice), sess_options=options, providers=["CPUExecutionProvider"])
        config = PiperConfig.from_dict(json.loads(Path(f"{voice}.json").read_text(encoding="utf-8")))
        self._settings = SynthesisConfig
        self._voice = PiperVoice(session=session, config=config)
        self._phonemes = MixedPhonemizer(self._voice)
        self.sample_rate: int = config.sample_rate
        self._warm_up()

    def _warm_up(self) -> None:
        for _ in self.synthesize(Utterance("Ready."), threading.Event()):
            pass

    def synthesize(self, utterance: Utterance, stop: threading.Event) -> Iterator[np.ndarray]:
        """A piece a sentence, with the pause that follows it inside the text."""
        prosody = prosody_for(utterance.emotion, utterance.intensity)
        settings = self._settings(
            # Shifting the pitch shortens the sound again by as much as it is stretched here.
            length_scale=self._voice.config.length_scale * pitch_ratio(prosody) / prosody.rate,
            noise_scale=prosody.variation,
            noise_w_scale=prosody.timing,
            normalize_audio=False,
        )
        spoken = False
        parts = (phonemes for sentence in sentences(utterance.text) for phonemes in self._phonemes(sentence))
        for phonemes in parts:
            if stop.is_set():
                return
            if not phonemes:
                continue
            if spoken:
                yield np.zeros(round(prosody.pause * self.sample_rate), dtype=np.float32)
            audio = self._voice.phoneme_ids_to_audio(self._voice.phonemes_to_ids(phonemes), settings)
            spoken = True
            shifted = shift_pitch(np.atleast_1d(audio), self.sample_rate, prosody)
            yield level(without_lead(shifted, self.sample_rate), prosody)

    def close(self) -> None:
        """Nothing outlives the process."""
