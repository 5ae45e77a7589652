"""Proof that a GGUF file is the model: the same texts through torch and through llama.cpp.

Every export does it with a few texts (`check_files`), and `verify_export` with as many as are asked for.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emolib.classify import EmotionClassifier
from emolib.classify.classifier import softmax
from emolib.data import Corpus, load_split, sample_corpus
from emolib.errors import DeviceError, ModelError, UsageError
from emolib.export.loading import classifier_of, load_run, load_where_it_fits, weights_of
from emolib.export.manifest import ExportedFile, Manifest
from emolib.files import sha256
from emolib.labels import CARER

if TYPE_CHECKING:
    from emolib.emotion_model import AdapterSource

__all__ = ["TorchAnswers", "answers_on_torch", "check_files", "verify_export"]

_log = logging.getLogger(__name__)

#: By quantisation: how many nats the log-probabilities of a label may differ on average before a file counts as
#: another model. Measured on carer: 0.004 in f16, 0.11 in q8_0, 0.55 in q4_k_m.
_MOST_DIFFERENCE = {"f16": 0.1, "q8_0": 0.5}
_MOST_DIFFERENCE_OF_FEWER_BITS = 2.0


def _few_texts() -> list[str]:
    """Return a text for each emotion, from the sample corpus."""
    corpus = sample_corpus("test")
    return [corpus.texts[list(corpus.labels).index(label)] for label in CARER]


@dataclass(frozen=True)
class TorchAnswers:
    """Log-probabilities [6, K] of the labels for the six texts of `check_files`; `exact` if in float32."""

    log_probabilities: np.ndarray
    exact: bool


def answers_on_torch(source: AdapterSource, weights: int) -> TorchAnswers | None:
    """Return what the run, which has so many `weights`, answers; None, with a warning, if no memory here holds it."""
    try:
        loaded = load_where_it_fits(source, weights)
    except DeviceError as error:
        _log.warning("the files are not compared with the run: %s", error)
        return None
    exact = loaded.model.device.type == "cpu"
    return TorchAnswers(_log_probabilities(classifier_of(loaded), _few_texts()), exact)


def check_files(files: Sequence[ExportedFile], folder: Path, expected: TorchAnswers | None) -> tuple[ExportedFile, ...]:
    """Return `files`, which lie in `folder`, with what a comparison of a few texts with torch found.

    `expected` is what `answers_on_torch` returned. ModelError where a file is another model.
    """
    if expected is None:
        return tuple(files)
    texts = _few_texts()
    checked = []
    for entry in files:
        if entry.kind != "adapter":
            answers = _log_probabilities(_open(entry, files, folder), texts)
            found = _compare(expected.log_probabilities, answers)
            _refuse_other_answers(entry, found, exact=expected.exact)
            entry = dataclasses.replace(entry, verified=found)
        checked.append(entry)
    return tuple(checked)


def _refuse_other_answers(entry: ExportedFile, found: Mapping[str, Any], *, exact: bool) -> None:
    allowed = _MOST_DIFFERENCE.get(entry.type, _MOST_DIFFERENCE_OF_FEWER_BITS)
    if found["mean_difference"] > (allowed if exact else _MOST_DIFFERENCE_OF_FEWER_BITS):
        raise ModelError(
            f"{entry.file} does not answer as the run does on torch ({found['agreement']:.0%} of {found['texts']} texts"
            f" get the same label, the log-probabilities differ by {found['mean_difference']:.2f} nats): nothing was"
            " exported; export it merged, with more bits (--quant f16), or report the adapter's config"
        )


def _open(entry: ExportedFile, files: Sequence[ExportedFile], folder: Path) -> EmotionClassifier:
    """Load the classifier of a file, with the adapter beside it on a base."""
    adapter = next((folder / other.file for other in files if other.kind == "adapter"), None)
    return EmotionClassifier.load(folder / entry.file, adapter=adapter if entry.kind == "base" else None)


def verify_export(
    run: str | Path, out: str | Path, data: str | Path | Corpus | None = None, *, texts: int = 500
) -> Manifest:
    """Compare every file of the export in `out` with the run on torch, and write what was found into its manifest.

    `data` gives the texts (default: the sample corpus); the first `texts` of them are taken. Per file: `agreement`
    (share of the texts that get the same label), `largest_difference` and `mean_difference` of the labels'
    log-probabilities in nats, and the accuracy of both if the texts have labels of the run, one each. An adapter is
    verified on each base file beside it.
    """
    if texts < 1:
        raise UsageError(f"--verify takes a number of texts of at least 1, not {texts}")
    out = Path(out)
    manifest = Manifest.read(out)
    loaded = load_run(run)
    classifier = classifier_of(load_where_it_fits(loaded.source, weights_of(loaded)))
    labels = classifier.labels
    corpus = sample_corpus("test") if data is None else load_split(data, "validation", labels=labels)
    rows = list(corpus.texts[:texts])
    gold = None
    if corpus.label_set == labels and not labels.multi_label:
        gold = np.array([labels.index(label) for label in corpus.labels[:texts]])
    expected = _log_probabilities(classifier, rows)
    files = []
    for entry in manifest.files:
        if entry.kind == "adapter":
            files.append(entry)
            continue
        _refuse_changed(out / entry.file, entry)
        found = _compare(expected, _log_probabilities(_open(entry, manifest.files, out), rows), gold)
        files.append(dataclasses.replace(entry, verified=found))
    verified = Manifest(tuple(files), manifest.model)
    verified.write(out)
    return verified


def _log_probabilities(classifier: EmotionClassifier, texts: list[str]) -> np.ndarray:
    return np.log(np.maximum(softmax(classifier.scorer.label_logits(texts)), 1e-12))


def _compare(expected: np.ndarray, found: np.ndarray, gold: np.ndarray | None = None) -> Mapping[str, Any]:
    labels, others = expected.argmax(axis=1), found.argmax(axis=1)
    difference = np.abs(expected - found)
    compared = {
        "texts": len(expected),
        "agreement": round(float(np.mean(labels == others)), 4),
        "largest_difference": round(float(difference.max()), 4),
        "mean_difference": round(float(difference.mean()), 4),
    }
    if gold is None:
        return compared
    return {
        **compared,
        "accuracy": round(float(np.mean(others == gold)), 4),
        "accuracy_on_torch": round(float(np.mean(labels == gold)), 4),
    }


def _refuse_changed(path: Path, entry: ExportedFile) -> None:
    if not path.is_file() or sha256(path) != entry.sha256:
        raise ModelError(f"{path} is not the file that its manifest describes; export it again")
