"""The linear floor: what a bag of words and a linear model reach, below which no language model is worth its cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emolib.emotions import EMOTIONS
from emolib.errors import MissingDependency
from emolib.evaluate.model_scores import ModelScores

if TYPE_CHECKING:
    from emolib.data import Corpus

__all__ = ["linear_floor"]


def linear_floor(train: Corpus, texts: Sequence[str], gold: Sequence[str]) -> ModelScores:
    """The scores of TF-IDF over words and word pairs with logistic regression (scikit-learn), trained on `train`."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
    except ImportError:
        raise MissingDependency("scikit-learn", extra="train") from None
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(vectorizer, LogisticRegression(C=10.0, max_iter=1000, class_weight="balanced"))
    model.fit(train.texts, train.labels)
    # A label that the training corpus lacks gets a score that never wins.
    logits = np.full((len(texts), len(EMOTIONS)), -1e4)
    columns = [EMOTIONS.index(label) for label in model.classes_]
    logits[:, columns] = model.predict_log_proba(texts)
    return ModelScores(gold, [str(label) for label in model.predict(texts)], logits)
