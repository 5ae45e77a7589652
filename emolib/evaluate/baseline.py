"""The linear floor: what a bag of words and a linear model reach, below which no language model is worth its cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emolib.data.linear import linear_model
from emolib.emotions import EMOTIONS
from emolib.evaluate.model_scores import ModelScores

if TYPE_CHECKING:
    from emolib.data import Corpus

__all__ = ["linear_floor"]


def linear_floor(train: Corpus, texts: Sequence[str], gold: Sequence[str]) -> ModelScores:
    """The scores of TF-IDF over words and word pairs with logistic regression (scikit-learn), trained on `train`."""
    model = linear_model()
    model.fit(train.texts, train.labels)
    # A label that the training corpus lacks gets a score that never wins.
    logits = np.full((len(texts), len(EMOTIONS)), -1e4)
    columns = [EMOTIONS.index(label) for label in model.classes_]
    logits[:, columns] = model.predict_log_proba(texts)
    return ModelScores(gold, [str(label) for label in model.predict(texts)], logits)
