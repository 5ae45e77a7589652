"""The baselines of an evaluation: simple models on the same rows, below which no language model is worth its cost.

TF-IDF with logistic regression needs scikit-learn alone. Logistic regression on the vectors of a frozen sentence
encoder joins it if an encoder can be had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emolib.classify.classifier import softmax
from emolib.data.linear import linear_model
from emolib.errors import MissingDependency
from emolib.evaluate.model_scores import ModelScores
from emolib.evaluate.multi_label import MultiLabelScores, fit_thresholds, label_matrix

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from emolib.data import Corpus
    from emolib.encoder import SentenceEncoder

__all__ = ["TFIDF", "Baseline", "baseline_scores", "baselines_of", "encoder_baseline", "train_baseline"]

#: The score of a label that a model does not know.
_NEVER = -1e4


@dataclass(frozen=True)
class Baseline:
    """A simple classifier: `inputs` makes of N texts what `model`, an untrained pipeline, is trained on."""

    name: str
    inputs: Callable[[Sequence[str]], Any]
    model: Callable[[], Pipeline]


#: TF-IDF over words and word pairs with logistic regression.
TFIDF = Baseline("TF-IDF", list, linear_model)


def encoder_baseline(encoder: SentenceEncoder) -> Baseline:
    """Return logistic regression on the vectors of `encoder`, which stays frozen. Each text is encoded once."""
    known: dict[str, np.ndarray] = {}

    def vectors(texts: Sequence[str]) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, encoder.encode(new), strict=True))
        return np.stack([known[text] for text in texts])

    return Baseline(encoder.name, vectors, _regression_of_vectors)


def _regression_of_vectors() -> Pipeline:
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise MissingDependency("scikit-learn", extra="train") from None
    # The vectors of E5 point nearly the same way; without scaling, the regression sees little of what differs.
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300, class_weight="balanced"))


def train_baseline(baseline: Baseline, train: Corpus) -> Callable[[Sequence[str]], np.ndarray]:
    """Train `baseline` on `train`; return the function that gives N texts their log-probabilities [N, K].

    If texts can have several labels there is a regression per label. A label that `train` lacks never wins.
    """
    labels, model = train.label_set, baseline.model()
    inputs = baseline.inputs(train.texts)
    if labels.multi_label:
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.pipeline import make_pipeline

        truth = label_matrix(train.labels, labels)
        columns = [k for k in range(len(labels)) if 0 < truth[:, k].sum() < len(truth)]
        if not columns:  # every row has the same labels: nothing tells the texts apart
            return lambda texts: np.full((len(texts), len(labels)), _NEVER)
        model = make_pipeline(model[:-1], OneVsRestClassifier(model[-1]))
        model.fit(inputs, truth[:, columns].astype(int))
    else:
        model.fit(inputs, train.labels)
        columns = [labels.index(label) for label in model.classes_]

    def log_probabilities(texts: Sequence[str]) -> np.ndarray:
        found = np.full((len(texts), len(labels)), _NEVER)
        # scikit-learn gives one label alone a second column, in front: that the text does not have it.
        probabilities = model.predict_proba(baseline.inputs(texts))[:, -len(columns) :]
        found[:, columns] = np.log(np.maximum(probabilities, 1e-12))
        return found

    return log_probabilities


def baseline_scores(
    baseline: Baseline, train: Corpus, texts: Sequence[str], gold: Sequence[str], held_out: Corpus | None = None
) -> ModelScores | MultiLabelScores:
    """Train `baseline` on `train` and return its scores on `texts`, whose labels are `gold`.

    For texts with several labels, thresholds are fitted on `held_out`; without it they are 1/3.
    """
    labels = train.label_set
    log_probabilities = train_baseline(baseline, train)
    logits = log_probabilities(texts)
    answers = [labels.names[k] for k in logits.argmax(axis=1)]
    if not labels.multi_label:
        return ModelScores(gold, answers, logits, labels=labels)
    thresholds: tuple[float, ...] = ()
    if held_out is not None:
        probabilities = softmax(log_probabilities(held_out.texts))
        thresholds = fit_thresholds(probabilities, label_matrix(held_out.labels, labels))
    return MultiLabelScores(gold, answers, logits, labels, thresholds=thresholds)


def baselines_of(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of the baselines in a metrics.json by name; older files have TF-IDF as `linear_floor`."""
    older = {TFIDF.name: metrics["linear_floor"]} if "linear_floor" in metrics else {}
    return metrics.get("baselines", older)
