"""The face of every emotion classifier: texts in, a probability for each label out."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from emolib.emotions import DEFAULT_EMOTION_MODEL
from emolib.errors import MissingDependency, UsageError
from emolib.files import sha256
from emolib.labels import ABSTAIN_BELOW, CARER, EmotionScores, LabelSet
from emolib.models import chat_gguf, resolve_base
from emolib.unicode import BYTE_ORDER_MARK, text_lines, without_half_characters

__all__ = ["EmotionClassifier", "LabelScorer", "softmax"]

#: Lines that `classify_lines` reads at most before it answers.
_LARGEST_BATCH = 256


class LabelScorer(Protocol):
    """What gives each label a score; the implementations are on torch and on llama.cpp."""

    def label_logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return the scores [N, K] of `texts` in the order of the labels: log-probabilities up to a constant a row."""
        ...


@dataclass(frozen=True)
class EmotionClassifier:
    """Classifies texts with a `LabelScorer`; `temperature` divides the scores before they become probabilities.

    `name` is what was loaded, and `weights` the files that make it what it is. `labels` is the label set that it knows,
    and `thresholds` has one probability per label of a multi-label model, from which a text has the label.
    """

    scorer: LabelScorer
    temperature: float = 1.0
    abstain_below: float = ABSTAIN_BELOW
    name: str = ""
    weights: tuple[Path, ...] = ()
    labels: LabelSet = CARER
    thresholds: tuple[float, ...] = ()

    @property
    def identity(self) -> str:
        """The name with what decides the answers: the hashes of the weights, temperature and threshold."""
        hashes = [sha256(path)[:12] for path in self.weights]
        return " ".join([self.name, *hashes, f"t={self.temperature:g}", f"abstain={self.abstain_below:g}"])

    @classmethod
    def load(
        cls, model: str | Path = DEFAULT_EMOTION_MODEL, *, adapter: str | Path | None = None, device: str | None = None
    ) -> EmotionClassifier:
        """The classifier that `model` names.

        On torch, or on llama.cpp if torch is not installed: a run folder, an adapter folder, a bundled adapter
        ("everyday" or "carer"; each has its model card in `emolib/adapters`), or a base model. On llama.cpp: a GGUF
        file, with the LoRA GGUF `adapter` where that is apart, or the URL of a llama-server (its key in
        EMOLIB_LLAMA_KEY), with the name of one of its adapters where several are loaded there.
        InputError, ModelError, ServiceError or UsageError where it is none of them.
        """
        name = str(model)
        if name.startswith(("http://", "https://")):
            return cls._on_server(name, None if adapter is None else str(adapter))
        if name.lower().endswith(".gguf"):
            return cls._on_gguf(Path(model), Path(adapter) if adapter else None)
        if adapter is not None:
            raise UsageError(
                f"an adapter file goes with a base GGUF, and {name} is none; name the run or adapter alone"
            )
        if not _has_torch():
            return cls._without_torch(model)
        return cls._on_torch(model, device)

    @classmethod
    def _without_torch(cls, model: str | Path) -> EmotionClassifier:
        """The adapter on llama.cpp, if its base is one of the models that come as GGUF in a wheel."""
        from emolib.adapter_files import lora_file
        from emolib.emotion_model import find_adapter

        base = resolve_base(find_adapter(model).base)
        if base.kind != "wheel":
            raise MissingDependency(f"torch, on which {model} runs,", extra="train")
        return replace(cls._on_gguf(chat_gguf(base.name), lora_file(model, "classify")), name=str(model))

    @classmethod
    def _on_torch(cls, model: str | Path, device: str | None) -> EmotionClassifier:
        from emolib.classify.packed_linear import pack_linears
        from emolib.classify.torch_scorer import TorchScorer
        from emolib.emotion_model import load_emotion_model

        loaded = load_emotion_model(model, device=device).merged()
        pack_linears(loaded.model)
        source = loaded.source
        weights = (source.adapter / "adapter_model.safetensors",) if source.adapter else ()
        return cls(
            TorchScorer.of(loaded),
            source.temperature,
            source.abstain_below,
            str(model),
            weights,
            source.labels,
            source.thresholds,
        )

    @classmethod
    def _on_gguf(cls, model: Path, adapter: Path | None) -> EmotionClassifier:
        from emolib.classify.llama_scorer import open_gguf

        scorer, notes = open_gguf(model, adapter)
        return cls(
            scorer,
            notes.get("emolib.temperature", 1.0),
            notes.get("emolib.abstain_below", ABSTAIN_BELOW),
            model.name,
            tuple(path for path in (model, adapter) if path),
            scorer.labels,
            tuple(json.loads(notes.get("emolib.thresholds", "[]"))),
        )

    @classmethod
    def _on_server(cls, url: str, adapter: str | None) -> EmotionClassifier:
        from emolib.classify.llama_scorer import open_server

        scorer, task = open_server(url, os.environ.get("EMOLIB_LLAMA_KEY"), adapter)
        name = " ".join(filter(None, (url, adapter)))
        return cls(scorer, task.temperature, task.abstain_below, name, (), task.labels, task.thresholds)

    def classify(self, texts: Sequence[str]) -> list[EmotionScores]:
        """Probabilities for each text, in order. A blank text says nothing: all labels get the same.

        A byte-order mark and half characters are no part of a text; one that is too long for the model is cut.
        """
        texts = [without_half_characters(text).lstrip(BYTE_ORDER_MARK) for text in texts]
        probabilities = np.full((len(texts), len(self.labels)), 1 / len(self.labels))
        spoken = [index for index, text in enumerate(texts) if text.strip()]
        if spoken:
            logits = self.scorer.label_logits([texts[index] for index in spoken])
            probabilities[spoken] = softmax(logits / self.temperature)
        return [
            EmotionScores.from_sequence(row, self.abstain_below, self.labels, self.thresholds) for row in probabilities
        ]

    def classify_lines(self, lines: Iterable[str]) -> Iterator[tuple[str, EmotionScores]]:
        """Each line without its line break, and its scores, while `lines` is still being read.

        `lines` may be a text stream such as `sys.stdin`, whose bytes are then read as UTF-8 or UTF-16. The first answer
        comes after the first line; batches then grow, so that long inputs go fast.
        """
        source = text_lines(lines)
        size = 1
        while batch := [without_half_characters(line) for line in islice(source, size)]:
            yield from zip(batch, self.classify(batch), strict=True)
            size = min(2 * size, _LARGEST_BATCH)


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [N, K] of logits [N, K], in float64."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
