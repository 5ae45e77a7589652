"""The linear floor: what a bag of words and a linear model reach, below which no language model is worth its cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emolib.classify.classifier import softmax
from emolib.data.linear import linear_model
from emolib.evaluate.model_scores import ModelScores
from emolib.evaluate.multi_label import MultiLabelScores, fit_thresholds, label_matrix

if TYPE_CHECKING:
    from emolib.data import Corpus

__all__ = ["linear_floor"]

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
        return _one_per_label(train, texts, gold, held_out)
    model = linear_model()
    model.fit(train.texts, train.labels)
    # A label that the training corpus lacks gets a score that never wins.
    logits = np.full((len(texts), len(labels)), _NEVER)
    columns = [labels.index(label) for label in model.classes_]
    logits[:, columns] = model.predict_log_proba(texts)
    return ModelScores(gold, [str(label) for label in model.predict(texts)], logits, labels=labels)


def _one_per_label(
    train: Corpus, texts: Sequence[str], gold: Sequence[str], held_out: Corpus | None
) -> MultiLabelScores:
    from sklearn.multiclass import OneVsRestClassifier

    labels = train.label_set
    features, regression = (step for _, step in linear_model().steps)
    truth = label_matrix(train.labels, labels)
    known = [k for k in range(len(labels)) if 0 < truth[:, k].sum() < len(truth)]
    model = OneVsRestClassifier(regression).fit(features.fit_transform(train.texts), truth[:, known].astype(int))

    def log_probabilities(of: Sequence[str]) -> np.ndarray:
        found = np.full((len(of), len(labels)), _NEVER)
        found[:, known] = np.log(np.maximum(model.predict_proba(features.transform(of)), 1e-12))
        return found

    thresholds: tuple[float, ...] = ()
    if held_out is not None:
        thresholds = fit_thresholds(softmax(log_probabilities(held_out.texts)), label_matrix(held_out.labels, labels))
    logits = log_probabilities(texts)
    return MultiLabelScores(
        gold, [labels.names[k] for k in logits.argmax(axis=1)], logits, labels, thresholds=thresholds
    )
