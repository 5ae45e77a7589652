"""Piper, the embedded engine: phonemes, the network in two halves, and emotion as prosody.

piper-tts is GPL-3.0-or-later: only the service's process imports it.
"""

from __future__ import annotations

import json
import re
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import accumulate, groupby, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import numpy as np

from emolib.errors import MissingDependency, StorageError
from emolib.tts.engines import Utterance, sentences
from emolib.tts.prosody import NEUTRAL, Prosody, Shaping, pitch_ratio, prosody_for

__all__ = ["LONGEST_RUN", "Phonemizer", "PiperEngine", "PiperNetwork", "runs"]

_WARM_UP = "We can talk about it tomorrow when everybody has had some sleep. "
#: Longer than any emotion and any chance draws out the same phonemes, as a factor of their usual length.
_SLOWEST = 1.6

#: Phonemes that the voice speaks in one go, stress marks and spaces counted: about 6 s of sound. The memory
#: that a voice needs grows with its longest run, and so does the wait for the first sound of a sentence.
LONGEST_RUN = 120

_CLAUSE_MARKS = ",;:"
#: espeak-ng marks words that it reads as another language, as in "(fr)".
_LANGUAGE = re.compile(r"\([\w-]+\)")
#: Scripts that espeak-ng's English spells letter by letter, by the first word of a letter's Unicode name, and the
#: language of espeak-ng that reads them.
_LANGUAGES = {
    "CJK": "cmn", "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CYRILLIC": "ru", "GREEK": "el", "HEBREW": "he",
    "ARABIC": "ar", "THAI": "th", "DEVANAGARI": "hi", "BENGALI": "bn", "TAMIL": "ta", "GEORGIAN": "ka",
    "ARMENIAN": "hy", "ETHIOPIC": "am",
}  # fmt: skip
#: Sounds that an English voice was not trained on, by the nearest that it was; tones are dropped.
_NEAREST = str.maketrans({"χ": "h", "ɕ": "ʃ", "ʂ": "ʃ", "ʐ": "ɹ", "y": "i", "ɤ": "ʌ", **dict.fromkeys("0123456789.")})

#: The first node of the generator, in every export of Piper's.
_GENERATOR = "/dec/conv_pre/Conv"
#: Frames that a piece is given on either side: the generator of the medium voices looks at 10, of the high ones at 13.
_AROUND = 13
#: Frames of the pieces before the last, of 12 ms each, by the least length of the whole. Each costs 2 x _AROUND more,
#: and the last must be there before the ones before it were heard.
_CUTS = ((320, (32, 128)), (96, (32,)), (0, ()))


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
        """Yield the pieces of each sentence, with the pause of the emotion between two sentences."""
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
        """Return the inputs of the network for one run of phonemes."""
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


class Phonemizer:
    """Phonemes of a text in the language of a Piper voice (its configuration `config`), a list a sentence.

    Works on piper-tts' bridge to espeak-ng, with two differences to piper-tts' own phonemizer: a service that runs
    for days must not lose memory with every sentence, and what is in another script is read in its language, with the
    accent of the voice, where espeak-ng's English spells it: "Chinese letter, Chinese letter".
    """

    def __init__(self, config: Any) -> None:
        from piper import espeakbridge
        from piper.phonemize_espeak import ESPEAK_DATA_DIR

        self._bridge = espeakbridge
        self._bridge.initialize(str(ESPEAK_DATA_DIR))
        self._language: str = config.espeak_voice
        # Each change of the language costs espeak-ng 1.3 kB that it never gives back.
        self._bridge.set_voice(self._language)
        self._known = config.phoneme_id_map
        # espeak-ng holds the language in a global variable.
        self._lock = threading.Lock()

    def __call__(self, text: str) -> list[list[str]]:
        with self._lock:
            parts = _by_language(text, self._language)
            alone = all(language is None for language, _ in parts)
            found = self._read(text) if alone else [self._mixed(parts)]
        return [sentence for sentence in found if sentence]

    def _mixed(self, parts: list[tuple[str | None, str]]) -> list[str]:
        phonemes: list[str] = []
        for language, part in parts:
            if part.strip():
                found = self._foreign(language, part) if language else self._read(part)
                phonemes += [" ", *(phoneme for sentence in found for phoneme in sentence)]
        return phonemes[1:]

    def _foreign(self, language: str, text: str) -> list[list[str]]:
        self._bridge.set_voice(language)
        try:
            sentences = self._read(text)
        finally:
            self._bridge.set_voice(self._language)
        return [[near for near in "".join(found).translate(_NEAREST) if near in self._known] for found in sentences]

    def _read(self, text: str) -> list[list[str]]:
        sentences: list[list[str]] = [[]]
        for sounds, mark, ends in self._bridge.get_phonemes(text):
            spoken = _LANGUAGE.sub("", sounds) + mark + (" " if mark and mark in _CLAUSE_MARKS else "")
            sentences[-1] += unicodedata.normalize("NFD", spoken)
            if ends:
                sentences.append([])
        return sentences


def _by_language(text: str, own: str) -> list[tuple[str | None, str]]:
    """Split `text` by language, None for the voice's `own`; marks and spaces go with the letter before."""
    languages: list[str | None] = []
    for character in text:
        if character.isalpha() or not languages:
            found = _LANGUAGES.get(unicodedata.name(character, "").partition(" ")[0])
            languages.append(None if found == own else found)
        else:
            languages.append(languages[-1])
    same = groupby(zip(languages, text, strict=True), key=lambda pair: pair[0])
    return [(language, "".join(character for _, character in run)) for language, run in same]


def runs(phonemes: list[str]) -> Iterator[list[str]]:
    """Split `phonemes` into parts of at most LONGEST_RUN, after the last clause mark or space that fits."""
    while len(phonemes) > LONGEST_RUN:
        cut = _cut(phonemes[:LONGEST_RUN])
        yield phonemes[:cut]
        phonemes = phonemes[cut:]
    if phonemes:
        yield phonemes


def _cut(fitting: list[str]) -> int:
    """Return how many phonemes belong to the first part; a cut in the first third would leave a stub."""
    spaces = [place for place, phoneme in enumerate(fitting, 1) if phoneme == " " and 3 * place > len(fitting)]
    behind_marks = [place for place in spaces if fitting[place - 2] in _CLAUSE_MARKS]
    return max(behind_marks or spaces or [len(fitting)])


class PiperNetwork:
    """The voice in the file `voice` on onnxruntime.

    A voice of another make, such as one of several speakers, is left whole, and gives its sound in one piece.
    """

    def __init__(self, voice: Path, options: Any) -> None:
        try:
            import onnx
            import onnxruntime
            from onnx.utils import Extractor
        except ImportError as error:
            raise MissingDependency(f"the package {error.name}", extra="tts") from error

        def session(model: Any) -> Any:
            # Through a file: of a model that is given as bytes, onnxruntime keeps them as long as the session.
            try:
                with TemporaryDirectory() as folder:
                    path = f"{folder}/half.onnx"
                    onnx.save(model, path)
                    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            except OSError as error:
                raise StorageError(f"the voice needs 70 MB in {gettempdir()} while it is loaded: {error}") from error

        model = onnx.load(str(voice))
        self._frames = _frames_of(model)
        self._generator = None
        if self._frames is None:
            self._first = onnxruntime.InferenceSession(str(voice), options, providers=["CPUExecutionProvider"])
            return
        halves = Extractor(model)
        inputs = [entry.name for entry in model.graph.input]
        self._generator = session(halves.extract_model([self._frames], [model.graph.output[0].name]))
        self._first = session(halves.extract_model(inputs, [self._frames]))

    def sound(self, inputs: dict[str, np.ndarray]) -> Iterator[tuple[np.ndarray, bool]]:
        """Yield the sound of a run of phonemes, given as Piper's inputs: pieces and whether each is the last."""
        found = self._first.run(None, inputs)[0]
        if self._generator is None:
            yield np.atleast_1d(found.squeeze()), True
            return
        count = found.shape[-1]
        pieces = next(lengths for least, lengths in _CUTS if count >= least)
        for start, end in pairwise([*accumulate(pieces, initial=0), count]):
            before = min(start, _AROUND)
            frames = found[:, :, start - before : end + _AROUND]
            samples = self._generator.run(None, {self._frames: frames})[0].squeeze()
            hop = len(samples) // frames.shape[-1]
            yield samples[before * hop : (before + end - start) * hop], end == count


def _frames_of(model: Any) -> str | None:
    """Return the name of the generator's input; None if there is no generator, or if it has other inputs too."""
    generator = [node for node in model.graph.node if node.name.startswith("/dec/")]
    first = next((node for node in generator if node.name == _GENERATOR), None)
    if first is None:
        return None
    known = {entry.name for entry in model.graph.initializer} | {name for node in generator for name in node.output}
    wanted = {name for node in generator for name in node.input} - known - {""}
    return first.input[0] if wanted == {first.input[0]} else None
