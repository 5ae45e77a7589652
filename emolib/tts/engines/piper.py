"""Piper, the embedded engine. piper-tts is GPL-3.0-or-later: only the service's process imports it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from emolib.errors import MissingDependency
from emolib.tts.engines.base import Utterance
from emolib.tts.engines.phonemes import LONGEST_RUN, Phonemizer, runs
from emolib.tts.engines.piper_network import PiperNetwork
from emolib.tts.engines.shaping import Shaping, pitch_ratio
from emolib.tts.prosody import NEUTRAL, Prosody, prosody_for
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
            from piper import PiperConfig
            from piper.phoneme_ids import phonemes_to_ids
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
        self._network = PiperNetwork(voice, options)
        self._config = PiperConfig.from_dict(json.loads(Path(f"{voice}.json").read_text(encoding="utf-8")))
        self._ids = phonemes_to_ids
        self._phonemes = Phonemizer(self._config)
        self.sample_rate: int = self._config.sample_rate
        self._warm_up()

    def _warm_up(self) -> None:
        """Speak the longest run that can come: onnxruntime keeps that memory, and needs no more later."""
        sentence = self._phonemes(_WARM_UP)[0]
        longest = (sentence * (LONGEST_RUN // len(sentence) + 1))[:LONGEST_RUN]
        for _ in self._network.sound(self._inputs(longest, replace(NEUTRAL, rate=1 / _SLOWEST))):
            pass

    def synthesize(self, utterance: Utterance, stop: threading.Event) -> Iterator[np.ndarray]:
        """The pieces of each sentence, and between sentences the pause of the emotion."""
        prosody = prosody_for(utterance.emotion, utterance.intensity)
        texts = sentences(utterance.text)
        for number, phonemes in enumerate(spoken for text in texts for spoken in self._phonemes(text)):
            if number and not stop.is_set():
                yield np.zeros(round(prosody.pause * self.sample_rate), dtype=np.float32)
            for run in runs(phonemes):
                shaping = Shaping(prosody, self.sample_rate)
                for piece, last in self._network.sound(self._inputs(run, prosody)):
                    if stop.is_set():
                        return
                    if len(samples := shaping.push(piece, last)):
                        yield samples

    def _inputs(self, phonemes: list[str], prosody: Prosody) -> dict[str, np.ndarray]:
        """What the network is given for one run of phonemes."""
        ids = self._ids(phonemes, self._config.phoneme_id_map)
        # Shifting the pitch shortens the sound again by as much as it is stretched here.
        length = self._config.length_scale * pitch_ratio(prosody) / prosody.rate
        inputs = {
            "input": np.array([ids], dtype=np.int64),
            "input_lengths": np.array([len(ids)], dtype=np.int64),
            "scales": np.array([prosody.variation, length, prosody.timing], dtype=np.float32),
        }
        if self._config.num_speakers > 1:
            inputs["sid"] = np.array([self._config.default_speaker_id], dtype=np.int64)
        return inputs

    def close(self) -> None:
        """Nothing outlives the process."""
