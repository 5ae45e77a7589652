"""FunASR: Paraformer (whole clips and streaming), SenseVoice with its tags, FSMN-VAD and emotion2vec.

`pip install 'emolib[funasr]'` brings the package. Models come from ModelScope or the Hugging Face hub, or
from a folder.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emolib.audio import SAMPLE_RATE, AudioClip
from emolib.errors import MissingDependency, ModelError
from emolib.files import expand_user, looks_like_path
from emolib.hub import HubName, hub_problem
from emolib.speech.partials import PartialTranscripts
from emolib.speech.transcript import NoSpeech, Transcript, Word

__all__ = [
    "Emotion2Vec",
    "FsmnVad",
    "FunASRRecognizer",
    "ParaformerStream",
    "ParaformerStreaming",
    "locate_model",
    "parse_sensevoice",
]

#: A shorter sound makes its front end raise ValueError.
_LEAST_SAMPLES = SAMPLE_RATE // 10
#: Its own default makes a listener wait for two seconds.
_END_SILENCE_MS = 800

_TAG = re.compile(r"<\|([^|]*)\|>")
_LANGUAGES = {"zh", "en", "yue", "ja", "ko"}
_EMOTIONS = {"HAPPY", "SAD", "ANGRY", "NEUTRAL", "FEARFUL", "DISGUSTED", "SURPRISED"}
_NO_EVENT = {"EMO_UNKNOWN", "Speech", "withitn", "woitn", "nospeech", ""}

#: Back and ahead, in chunks of 60 ms: 600 ms at a time, as the published streaming model was trained.
_CHUNK = [0, 10, 5]
_CHUNK_SAMPLES = _CHUNK[1] * 960


class FunASRRecognizer:
    """Speech to text with Paraformer or SenseVoice.

    `model`, `vad_model` (for clips over half a minute) and `punc_model` are names of a hub ("paraformer-zh",
    "iic/SenseVoiceSmall", "fsmn-vad", "ct-punc") or folders; `hub` is "ms" (ModelScope) or "hf"; `hotwords`
    are preferred by models that know them. Safe to call from several threads; one works at a time.
    """

    def __init__(
        self,
        model: str | Path = "paraformer-zh",
        *,
        vad_model: str | Path | None = None,
        punc_model: str | Path | None = None,
        device: str = "cpu",
        hub: HubName = "ms",
        language: str = "auto",
        hotwords: Sequence[str] = (),
        threads: int = 2,
    ) -> None:
        self._model = _Model(model, device, hub, threads, vad_model=vad_model, punc_model=punc_model)
        self._options: dict[str, Any] = {"language": language, "use_itn": True}
        if hotwords:
            self._options["hotword"] = " ".join(hotwords)
        if vad_model:
            self._options |= {"batch_size_s": 60, "merge_vad": True}
        if vad_model and punc_model:
            self._options["sentence_timestamp"] = True

    def transcribe(self, clip: AudioClip) -> Transcript:
        """Transcribe a clip of any rate. Raises NoSpeech if nothing was understood."""
        result = self._model.generate(_samples(clip), **self._options)
        transcript = _transcript(result[0] if result else {})
        if not transcript.text:
            raise NoSpeech(clip)
        return transcript

    def stream(self) -> PartialTranscripts:
        """Open an utterance that is transcribed again and again while it is spoken."""
        return PartialTranscripts(self)


class ParaformerStreaming:
    """Speech to text while it is spoken, in steps of 600 ms, each computed once."""

    def __init__(
        self,
        model: str | Path = "paraformer-zh-streaming",
        *,
        device: str = "cpu",
        hub: HubName = "ms",
        threads: int = 2,
    ) -> None:
        self._model = _Model(model, device, hub, threads)

    def stream(self) -> ParaformerStream:
        """Open an utterance."""
        return ParaformerStream(self._model)

    def transcribe(self, clip: AudioClip) -> Transcript:
        """Transcribe a whole clip. Raises NoSpeech if nothing was understood."""
        samples = _samples(clip)
        stream = self.stream()
        stream.push(samples)
        try:
            return stream.finish(len(samples))
        except NoSpeech:
            raise NoSpeech(clip) from None


class ParaformerStream:
    """A `RecognitionStream` of streaming Paraformer; `push` computes in the caller's thread."""

    def __init__(self, model: _Model) -> None:
        self._model = model
        self._cache: dict[str, Any] = {}
        self._waiting = np.zeros(0, dtype=np.float32)
        self._text = ""
        self._covered = 0

    def push(self, samples: np.ndarray) -> None:
        """Take the next samples, float32 at 16 kHz."""
        self._waiting = np.concatenate([self._waiting, samples])
        # One chunk is kept back: the last one has to be marked as final, and an empty one is not enough
        # when the whole utterance was shorter than a chunk.
        while len(self._waiting) > _CHUNK_SAMPLES:
            self._step(self._waiting[:_CHUNK_SAMPLES], final=False)
            self._waiting = self._waiting[_CHUNK_SAMPLES:]

    def flush(self) -> None:
        """Nothing is waiting for more than 600 ms anyway."""

    def commit(self, spoken: int) -> None:
        """Nothing is heard twice anyway."""

    def partial(self) -> tuple[Transcript | None, int]:
        """Return the transcript so far and the number of samples it covers."""
        text = self._text.strip()
        return (Transcript(text) if text else None), self._covered

    def finish(self, spoken: int) -> Transcript:
        """Return the transcript. Raises NoSpeech if nothing was understood."""
        total = self._covered + len(self._waiting)
        if total >= _LEAST_SAMPLES:
            self._step(self._waiting, final=True)
        if not self._text.strip():
            raise NoSpeech(AudioClip(np.zeros(total, dtype=np.float32), SAMPLE_RATE, "the utterance"))
        return Transcript(self._text.strip())

    def close(self) -> None:
        """Give up."""
        self._cache = {}

    def _step(self, samples: np.ndarray, *, final: bool) -> None:
        result = self._model.generate(
            samples,
            cache=self._cache,
            is_final=final,
            chunk_size=_CHUNK,
            encoder_chunk_look_back=4,
            decoder_chunk_look_back=1,
        )
        self._text += "".join(part.get("text", "") for part in result)
        self._covered += len(samples)


class FsmnVad:
    """FunASR's voice activity detection over a whole clip."""

    def __init__(self, model: str | Path = "fsmn-vad", *, device: str = "cpu", hub: HubName = "ms") -> None:
        self._model = _Model(model, device, hub, threads=1)

    def segments(self, clip: AudioClip) -> list[tuple[float, float]]:
        """Return start and end of each stretch of speech, in seconds; empty if there is none."""
        try:
            samples = _samples(clip)
        except NoSpeech:
            return []
        found = self._model.generate(samples, max_end_silence_time=_END_SILENCE_MS)
        return [(start / 1000, end / 1000) for part in found for start, end in part.get("value", [])]


class Emotion2Vec:
    """The emotion of a voice, whatever the words (emotion2vec+)."""

    def __init__(
        self,
        model: str | Path = "iic/emotion2vec_plus_base",
        *,
        device: str = "cpu",
        hub: HubName = "ms",
        threads: int = 2,
    ) -> None:
        self._model = _Model(model, device, hub, threads)

    def classify(self, clip: AudioClip) -> dict[str, float]:
        """Return a probability for each of the nine classes, by English name."""
        result = self._model.generate(_samples(clip), granularity="utterance", extract_embedding=False)
        return english_labels(result[0]["labels"], result[0]["scores"])


def parse_sensevoice(text: str) -> Transcript:
    """SenseVoice's raw output, `<|en|><|HAPPY|><|Speech|><|withitn|>text` a segment, as a transcript.

    The voice emotion is the share of the segments that carry each tag; unknown ones do not count.
    """
    tags = _TAG.findall(text)
    emotions = Counter(tag for tag in tags if tag in _EMOTIONS)
    languages = Counter(tag for tag in tags if tag in _LANGUAGES)
    events = dict.fromkeys(tag for tag in tags if tag not in _EMOTIONS | _LANGUAGES | _NO_EVENT)
    return Transcript(
        text=" ".join(_TAG.sub(" ", text).split()),
        language=languages.most_common(1)[0][0] if languages else None,
        voice_emotion={tag: count / emotions.total() for tag, count in emotions.items()} or None,
        events=tuple(events),
    )


def english_labels(labels: Sequence[str], scores: Sequence[float]) -> dict[str, float]:
    """emotion2vec's "生气/angry" labels by their English half, in lower case."""
    names = [label.rpartition("/")[2].strip("<>").lower() for label in labels]
    return {("unknown" if name == "unk" else name): float(score) for name, score in zip(names, scores, strict=True)}


class _Model:
    """A FunASR AutoModel whose failures are ours."""

    def __init__(self, model: str | Path, device: str, hub: HubName, threads: int, **parts: str | Path | None) -> None:
        try:
            from funasr import AutoModel
        except ImportError as error:
            raise MissingDependency("the package funasr", extra="funasr") from error
        self.name = str(model)
        place = locate_model(model, hub)
        named = {part: locate_model(name, hub) for part, name in parts.items() if name}
        if "vad_model" in named:
            named["vad_kwargs"] = {"max_end_silence_time": _END_SILENCE_MS, "max_single_segment_time": 30_000}
        try:
            self._model = AutoModel(
                model=place,
                hub=hub,
                device=device,
                ncpu=threads,
                disable_update=True,
                disable_pbar=True,
                log_level="ERROR",
                **named,
            )
        except Exception as error:  # assertion, key and runtime errors, as the folder has it
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(f"the FunASR model {self.name} cannot be loaded: {reason}") from error
        self._lock = threading.Lock()

    def generate(self, samples: np.ndarray, **options: Any) -> list[dict[str, Any]]:
        with self._lock:
            try:
                return self._model.generate(input=samples, **options)
            except Exception as error:
                raise ModelError(f"the FunASR model {self.name} failed on {len(samples)} samples: {error}") from error


def _samples(clip: AudioClip) -> np.ndarray:
    samples = clip.resample(SAMPLE_RATE).samples
    if len(samples) < _LEAST_SAMPLES or not np.any(samples):
        raise NoSpeech(clip)
    return samples


def _transcript(result: Mapping[str, Any]) -> Transcript:
    text = result.get("text", "")
    if _TAG.search(text):
        return parse_sensevoice(text)
    return Transcript(text.strip(), words=tuple(_words(result)))


def _words(result: Mapping[str, Any]) -> Iterator[Word]:
    if result.get("sentence_info"):
        for sentence in result["sentence_info"]:
            yield Word(sentence["text"], sentence["start"] / 1000, sentence["end"] / 1000)
        return
    parts = result.get("text", "").split()
    times = result.get("timestamp") or []
    if len(parts) == len(times):
        for part, (start, end) in zip(parts, times, strict=True):
            yield Word(part, start / 1000, end / 1000)


def locate_model(model: str | Path, hub: HubName = "ms") -> str:
    """Return a folder, or a name that the hub will know; ModelError within 5 seconds if neither can be had."""
    path = expand_user(model)
    if path.is_dir():
        if not any((path / name).is_file() for name in ("config.yaml", "configuration.json")):
            raise ModelError(f"{path} is not a FunASR model: it has no config.yaml")
        return str(path)
    if isinstance(model, Path) or looks_like_path(model):
        raise ModelError(f"{path} is not a folder; name a folder with a FunASR model, or a model of a hub")
    if folder := _downloaded(str(model), hub):
        return str(folder)
    # Without a network FunASR tries for 20 seconds and then says that the name "is not registered".
    if problem := hub_problem(hub):
        raise ModelError(
            f"the FunASR model {model} has to be downloaded and {problem};"
            " name a folder that holds it, or use Whisper, which needs no hub"
        )
    return str(model)


def _downloaded(name: str, hub: HubName) -> Path | None:
    """Return the folder of a model in the hub's own cache (MODELSCOPE_CACHE, HF_HUB_CACHE), or None."""
    try:
        # FunASR prints notices of its own when it is imported.
        with contextlib.redirect_stdout(io.StringIO()):
            from funasr.download.name_maps_from_hub import name_maps_hf, name_maps_ms

        if hub == "ms":
            from modelscope.hub.snapshot_download import snapshot_download

            names, cache = name_maps_ms, os.environ.get("MODELSCOPE_CACHE")
        else:
            from huggingface_hub import snapshot_download

            names, cache = name_maps_hf, None
        folder = Path(snapshot_download(names.get(name, name), cache_dir=cache, local_files_only=True))
    except Exception:  # not there, or a name that no hub could have: the hub is asked
        return None
    return folder if _is_whole(folder) else None


def _is_whole(folder: Path) -> bool:
    """Return whether configuration and weights are there, under the names that the model's own description gives."""
    try:
        files = json.loads((folder / "configuration.json").read_text(encoding="utf-8"))["file_path_metas"]
    except (OSError, ValueError, KeyError, TypeError):
        files = {}
    names = (files.get("config", "config.yaml"), files.get("init_param", "model.pt"))
    return all((folder / name).is_file() for name in names)
