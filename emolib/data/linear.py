"""The linear model of a corpus: TF-IDF over words and word pairs with logistic regression (scikit-learn)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from emolib.errors import MissingDependency

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

__all__ = ["linear_model"]


def linear_model() -> Pipeline:
    """An untrained linear classifier of texts: the honest floor of any language model on the same rows."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
    except ImportError:
        raise MissingDependency("scikit-learn", extra="train") from None

    class FewPasses(LogisticRegression):
        """Stops after `max_iter` passes without a warning.

        Where labels contradict each other the weights keep moving long after the accuracy stands still.
        """

        def fit(self, *arguments: Any, **options: Any) -> FewPasses:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                return super().fit(*arguments, **options)

    # SAGA takes sparse features a row at a time: a tenth of the time of L-BFGS, for the same accuracy.
    regression = FewPasses(C=10.0, solver="saga", tol=0.01, max_iter=30, class_weight="balanced", random_state=3407)
    return make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), regression)
