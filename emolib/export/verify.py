"""Proof that a GGUF file is the model: the same texts through torch and through llama.cpp."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emolib.classify import EmotionClassifier
from emolib.classify.classifier import softmax
from emolib.data import Corpus, load_split, sample_corpus
from emolib.emotions import EMOTIONS
from emolib.errors import ModelError, UsageError
from emolib.export.manifest import ExportedFile, Manifest
from emolib.files import sha256

__all__ = ["verify_export"]


def verify_export(
    run: str | Path, out: str | Path, data: str | Path | Corpus | None = None, *, texts: int = 500
) -> Manifest:
    """Compare every file of the export in `out` with the run on torch, and write what was found into its manifest.

    `data` gives the texts (default: the sample corpus); the first `texts` of them are taken. Per file: `agreement`
    (share of the texts that get the same label), `largest_difference` and `mean_difference` of the labels'
    log-probabilities in nats, and the accuracy of both. An adapter is verified on each base file beside it.
    """
    if texts < 1:
        raise UsageError(f"--verify takes a number of texts of at least 1, not {texts}")
    out = Path(out)
    manifest = Manifest.read(out)
    corpus = sample_corpus("test") if data is None else load_split(data, "validation")
    rows = list(corpus.texts[:texts])
    gold = np.array([EMOTIONS.index(label) for label in corpus.labels[:texts]])
    expected = _log_probabilities(EmotionClassifier.load(Path(run), device="cpu"), rows)
    adapter = next((out / entry.file for entry in manifest.files if entry.kind == "adapter"), None)
    files = []
    for entry in manifest.files:
        if entry.kind == "adapter":
            files.append(entry)
            continue
        _refuse_changed(out / entry.file, entry)
        classifier = EmotionClassifier.load(out / entry.file, adapter=adapter if entry.kind == "base" else None)
        found = _compare(expected, _log_probabilities(classifier, rows), gold)
        files.append(dataclasses.replace(entry, verified=found))
    verified = Manifest(tuple(files), manifest.model)
    verified.write(out)
    return verified


def _log_probabilities(classifier: EmotionClassifier, texts: list[str]) -> np.ndarray:
    return np.log(np.maximum(softmax(classifier.scorer.label_logits(texts)), 1e-12))


def _compare(expected: np.ndarray, found: np.ndarray, gold: np.ndarray) -> Mapping[str, Any]:
    labels, others = expected.argmax(axis=1), found.argmax(axis=1)
    difference = np.abs(expected - found)
    return {
        "texts": len(gold),
        "agreement": round(float(np.mean(labels == others)), 4),
        "largest_difference": round(float(difference.max()), 4),
        "mean_difference": round(float(difference.mean()), 4),
        "accuracy": round(float(np.mean(others == gold)), 4),
        "accuracy_on_torch": round(float(np.mean(labels == gold)), 4),
    }


def _refuse_changed(path: Path, entry: ExportedFile) -> None:
    if not path.is_file() or sha256(path) != entry.sha256:
        raise ModelError(f"{path} is not the file that its manifest describes; export it again")
