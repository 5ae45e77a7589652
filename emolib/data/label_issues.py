"""Labels that look wrong: where a linear model that never saw a text is sure of another label (cleanlab)."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from emolib.data.corpus import Corpus
from emolib.data.linear import linear_model
from emolib.errors import InputError, MissingDependency
from emolib.files import write_text
from emolib.tables import Table

__all__ = ["LabelIssue", "LabelIssues", "find_label_issues"]

_FOLDS = 5


@dataclass(frozen=True)
class LabelIssue:
    """A text whose label is suspicious: the label given, the one suggested, and cleanlab's quality in [0, 1]."""

    text: str
    given: str
    suggested: str
    quality: float


@dataclass(frozen=True)
class LabelIssues:
    """Suspicious labels, the worst first, of `rows` texts; `accuracy` is the linear model's, out of fold."""

    rows: int
    accuracy: float
    issues: tuple[LabelIssue, ...]

    def write(self, path: Path) -> None:
        """Write them as CSV: quality, given, suggested, text."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("quality", "given", "suggested", "text"))
        writer.writerows((f"{i.quality:.4f}", i.given, i.suggested, i.text) for i in self.issues)
        write_text(path, table.getvalue())

    def shown(self, count: int) -> Table:
        """The first `count` suspicious labels, to be read."""
        rows = [[i.text, i.given, i.suggested] for i in self.issues[:count]]
        return Table(["text", "label given", "label suggested"], rows)

    def table(self) -> str:
        """Two lines for people."""
        share = len(self.issues) / self.rows
        return (
            f"{'TF-IDF baseline':<16}{self.accuracy:>9.2%}  accuracy of TF-IDF and logistic regression, out of fold\n"
            f"{'label issues':<16}{len(self.issues):>9,}  labels that look wrong ({share:.1%}), the worst first"
        )


def find_label_issues(corpus: Corpus, seed: int = 3407) -> LabelIssues:
    """Rank the suspicious labels of `corpus` by out-of-fold probabilities of the linear model.

    Raises InputError where there are fewer than five texts of a label, the number of folds.
    """
    try:
        from cleanlab.filter import find_label_issues as rank
        from cleanlab.rank import get_label_quality_scores
        from sklearn.model_selection import StratifiedKFold, cross_val_predict
        from sklearn.preprocessing import LabelEncoder
    except ImportError as error:
        raise MissingDependency("cleanlab", extra="train") from error
    encoder = LabelEncoder()
    given = encoder.fit_transform(list(corpus.labels))
    counts = {str(name): int((given == place).sum()) for place, name in enumerate(encoder.classes_)}
    rare = min(counts, key=counts.get)
    if counts[rare] < _FOLDS or len(counts) < 2:
        raise InputError(
            f"label issues need two labels with {_FOLDS} texts each; {rare} has {counts[rare]} in {corpus.name}"
        )
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    probabilities = cross_val_predict(linear_model(), list(corpus.texts), given, cv=folds, method="predict_proba")
    places = rank(given, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    quality = get_label_quality_scores(given, probabilities)
    best = probabilities.argmax(axis=1)
    issues = tuple(
        LabelIssue(corpus.texts[p], corpus.labels[p], str(encoder.classes_[best[p]]), float(quality[p])) for p in places
    )
    return LabelIssues(len(corpus), float((best == given).mean()), issues)
