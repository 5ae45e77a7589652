"""The linear floor: what a bag of words and a linear model reach, below which no language model is worth its cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from emolib.classify.classifier import softmax
from emolib.data.linear import linear_model
from emolib.evaluate.model_scores import ModelScores
from emolib.evaluate.multi_label import MultiLabelScores, fit_thresholds, label_matrix

if TYPE_CHECKING:
    from emolib.data import Corpus

__all__ = ["linear_floor", "one_per_label"]

#: The score of a label that a model does not know.
_NEVER = -1e4


def linear_floor(
    train: Corpus, texts: Sequence[str], gold: Sequence[str], held_out: Corpus | None = None
) -> ModelScores | MultiLabelScores:
    """Return the scores of TF-IDF over words and word pairs with logistic regression (scikit-learn) on `train`.

    For texts with several labels there is a regression per label, with thresholds fitted on `held_out`.
    """
    labels = train.label_set
    if labels.multi_label:
        log_probabilities = one_per_label(train)
        thresholds: tuple[float, ...] = ()
        if held_out is not None:
            probabilities = softmax(log_probabilities(held_out.texts))
            thresholds = fit_thresholds(probabilities, label_matrix(held_out.labels, labels))
        logits = log_probabilities(texts)
        answers = [labels.names[k] for k in logits.argmax(axis=1)]
        return MultiLabelScores(gold, answers, logits, labels, thresholds=thresholds)
    model = linear_model()
    model.fit(train.texts, train.labels)
    # A label that the training corpus lacks gets a score that never wins.
    logits = np.full((len(texts), len(labels)), _NEVER)
    columns = [labels.index(label) for label in model.classes_]
    logits[:, columns] = model.predict_log_proba(texts)
    return ModelScores(gold, [str(label) for label in model.predict(texts)], logits, labels=labels)


def one_per_label(train: Corpus) -> Callable[[Sequence[str]], np.ndarray]:
    """Train TF-IDF with a logistic regression per label on `train`; return what gives texts their scores [N, K]."""
    from sklearn.multiclass import OneVsRestClassifier

    labels = train.label_set
    features, regression = (step for _, step in linear_model().steps)
    truth = label_matrix(train.labels, labels)
    known = [k for k in range(len(labels)) if 0 < truth[:, k].sum() < len(truth)]
    model = OneVsRestClassifier(regression).fit(features.fit_transform(train.texts), truth[:, known].astype(int))

    def log_probabilities(texts: Sequence[str]) -> np.ndarray:
        found = np.full((len(texts), len(labels)), _NEVER)
        found[:, known] = np.log(np.maximum(model.predict_proba(features.transform(texts)), 1e-12))
        return found

    return log_probabilities
