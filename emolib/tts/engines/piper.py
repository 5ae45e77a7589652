"""Piper, the embedded engine. piper-tts is GPL-3.0-or-later: only the service's process imports it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from emolib.errors import MissingDependency
from emolib.tts.engines.base import Utterance
from emolib.tts.engines.phonemes import LONGEST_RUN, Phonemizer, runs
from emolib.tts.engines.shaping import level, pitch_ratio, shift_pitch, without_lead
from emolib.tts.prosody import prosody_for
from emolib.tts.text import sentences

__all__ = ["PiperEngine"]

_WARM_UP = "We can talk about it tomorrow when everybody has had some sleep. "
#: Longer than any emotion and any chance draws out the same phonemes, as a factor of their usual length.
_SLOWEST = 1.6


@cache
def _tight_arena() -> None:
    """Give onnxruntime's sessions that ask for it an arena that grows by what is needed, once in a process.

    By its own rule it doubles: of 250 MB a voice has touched 150 after its first sentences, and the rest comes, page
    by page, in the course of days.
    """
    import onnxruntime as ort

    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    as_requested = {"arena_extend_strategy": 1}
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(as_requested))


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
        # Patterns of memory are kept for each length of an input that is met, and no two sentences are alike.
        options.enable_mem_pattern = False
        _tight_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
        session = onnxruntime.InferenceSession(str(voice), sess_options=options, providers=["CPUExecutionProvider"])
        config = PiperConfig.from_dict(json.loads(Path(f"{voice}.json").read_text(encoding="utf-8")))
        self._settings = SynthesisConfig
        self._voice = PiperVoice(session=session, config=config)
        self._phonemes = Phonemizer(config)
        self.sample_rate: int = config.sample_rate
        self._warm_up()

    def _warm_up(self) -> None:
        """Speak the longest run that can come: onnxruntime keeps that memory, and needs no more later."""
        sentence = self._phonemes(_WARM_UP)[0]
        longest = (sentence * (LONGEST_RUN // len(sentence) + 1))[:LONGEST_RUN]
        self._run(longest, self._settings(length_scale=self._voice.config.length_scale * _SLOWEST))

    def synthesize(self, utterance: Utterance, stop: threading.Event) -> Iterator[np.ndarray]:
        """A piece a sentence, or more where it is long, and between sentences the pause of the emotion."""
        prosody = prosody_for(utterance.emotion, utterance.intensity)
        settings = self._settings(
            # Shifting the pitch shortens the sound again by as much as it is stretched here.
            length_scale=self._voice.config.length_scale * pitch_ratio(prosody) / prosody.rate,
            noise_scale=prosody.variation,
            noise_w_scale=prosody.timing,
            normalize_audio=False,
        )
        texts = sentences(utterance.text)
        for number, phonemes in enumerate(spoken for text in texts for spoken in self._phonemes(text)):
            if number and not stop.is_set():
                yield np.zeros(round(prosody.pause * self.sample_rate), dtype=np.float32)
            for run in runs(phonemes):
                if stop.is_set():
                    return
                shifted = shift_pitch(self._run(run, settings), self.sample_rate, prosody)
                yield level(without_lead(shifted, self.sample_rate), prosody)

    def _run(self, phonemes: list[str], settings: Any) -> np.ndarray:
        ids = self._voice.phonemes_to_ids(phonemes)
        return np.atleast_1d(self._voice.phoneme_ids_to_audio(ids, settings))

    def close(self) -> None:
        """Nothing outlives the process."""
