"""Piper, the embedded engine. piper-tts is GPL-3.0-or-later: only the service's process imports it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from emolib.errors import MissingDependency
from emolib.tts.engines.base import Utterance
from emolib.tts.prosody import Prosody, prosody_for

__all__ = ["PiperEngine", "shape"]

#: Loudness of the neutral voice, as the root mean square of a sentence in dB of full scale.
NEUTRAL_LOUDNESS = -22.0
_PEAK = 0.97


class PiperEngine:
    """A Piper voice, with emotion as prosody (see `emolib.tts.prosody`)."""

    name = "piper"
    clones_voices = False

    def __init__(self, voice: Path, threads: int = 2) -> None:
        try:
            import onnxruntime
            from piper import PiperConfig, PiperVoice, SynthesisConfig
        except ImportError as error:
            raise MissingDependency(f"the package {error.name}", extra="tts") from error
        import json

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Spinning worker threads would take the second core from the language model of a dialogue.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(voice), sess_options=options, providers=["CPUExecutionProvider"])
        config = PiperConfig.from_dict(json.loads(Path(f"{voice}.json").read_text(encoding="utf-8")))
        self._settings = SynthesisConfig
        self._voice = PiperVoice(session=session, config=config)
        self.sample_rate: int = config.sample_rate
        self._warm_up()

    def _warm_up(self) -> None:
        for _ in self.synthesize(Utterance("Ready."), threading.Event()):
            pass

    def synthesize(self, utterance: Utterance, stop: threading.Event) -> Iterator[np.ndarray]:
        """A piece a sentence, with the pause that follows it inside the text."""
        prosody = prosody_for(utterance.emotion, utterance.intensity)
        ratio = 2.0 ** (prosody.pitch / 12.0)
        settings = self._settings(
            # Resampling by `ratio` shortens the sound again by as much as it is stretched here.
            length_scale=self._voice.config.length_scale * ratio / prosody.rate,
            noise_scale=prosody.variation,
            noise_w_scale=prosody.timing,
            normalize_audio=False,
        )
        spoken = False
        for phonemes in self._voice.phonemize(utterance.text):
            if stop.is_set():
                return
            if not phonemes:
                continue
            if spoken:
                yield np.zeros(round(prosody.pause * self.sample_rate), dtype=np.float32)
            audio = self._voice.phoneme_ids_to_audio(self._voice.phonemes_to_ids(phonemes), settings)
            spoken = True
            yield shape(np.atleast_1d(audio), self.sample_rate, prosody)

    def close(self) -> None:
        """Nothing outlives the process."""


def shape(samples: np.ndarray, sample_rate: int, prosody: Prosody) -> np.ndarray:
    """Raise or lower the pitch by resampling and set the loudness.

    `samples` is float mono of any scale, already stretched by the pitch ratio; the result is
    float32 mono with its peak below full scale.
    """
    import soxr

    ratio = 2.0 ** (prosody.pitch / 12.0)
    samples = np.asarray(samples, dtype=np.float32)
    if abs(ratio - 1.0) > 1e-4:
        samples = soxr.resample(samples, sample_rate * ratio, sample_rate)
    loudness = float(np.sqrt(np.mean(np.square(samples)))) if samples.size else 0.0
    if loudness < 1e-8:
        return samples
    samples = samples * np.float32(10.0 ** ((NEUTRAL_LOUDNESS + prosody.gain) / 20.0) / loudness)
    peak = float(np.max(np.abs(samples)))
    return samples * np.float32(_PEAK / peak) if peak > _PEAK else samples
