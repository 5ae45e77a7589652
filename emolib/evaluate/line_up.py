"""A fine-tuned model beside others on the same test: baselines, bundled adapters, and the intervals of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emolib.errors import EmolibError
from emolib.evaluate.baselines import TFIDF, baseline_scores, baselines_of, encoder_baseline
from emolib.evaluate.model_scores import ModelScores
from emolib.tables import Table, percent

if TYPE_CHECKING:
    from emolib.data import Corpus

__all__ = ["LineUp", "line_up"]


@dataclass(frozen=True)
class LineUp:
    """Models by name with accuracy and 95 % interval; `missing` says in a sentence which could not be had, and why."""

    models: Mapping[str, tuple[float, float, float]]
    macro_f1: Mapping[str, float]
    rows: int
    missing: Sequence[str] = ()

    def table(self) -> Table:
        """A row per model."""
        rows = [
            [name, percent(accuracy), f"{100 * low:.1f} to {100 * high:.1f}", f"{self.macro_f1[name]:.3f}"]
            for name, (accuracy, low, high) in self.models.items()
        ]
        return Table([f"on {self.rows:,} texts", "accuracy", "95 % interval", "macro-F1"], rows)


def line_up(
    metrics: Mapping[str, Any],
    test: Corpus,
    train: Corpus,
    *,
    adapters: Sequence[str] = ("carer", "everyday"),
    encoder: str | None = "auto",
) -> LineUp:
    """Return the model of `metrics` (a metrics.json) beside its baselines and bundled `adapters`, all on `test`.

    TF-IDF comes from `metrics` if it is there, else it is trained on `train`, and so is logistic regression on the
    vectors of a sentence `encoder` ("auto": multilingual-e5-small if the hub has it; None: leave it out). The bundled
    adapters answer constrained to the labels. What cannot be had is named in `missing`.
    """
    found: dict[str, Mapping[str, Any]] = {"base model": metrics["baseline"]}
    floors = baselines_of(metrics)
    if TFIDF.name not in floors:
        floors = {TFIDF.name: baseline_scores(TFIDF, train, test.texts, test.labels).as_dict(), **floors}
    found.update(floors)
    missing = []
    if encoder is not None and len(floors) == 1:
        try:
            found.update(_encoder_scores(encoder, train, test))
        except EmolibError as problem:
            missing.append(f"Without a sentence encoder: {problem}.")
    for name in adapters:
        found[name] = classify_scores(name, test).as_dict()
    found["fine-tuned"] = metrics
    models = {name: (one["accuracy"], *one["accuracy_interval"]) for name, one in found.items()}
    return LineUp(models, {name: one["macro_f1"] for name, one in found.items()}, len(test), tuple(missing))


def classify_scores(model: str, corpus: Corpus) -> ModelScores:
    """Return the scores of the classifier `model` on `corpus`, its answers constrained to the labels."""
    from emolib.classify import EmotionClassifier

    scores = EmotionClassifier.load(model).classify(corpus.texts)
    return ModelScores(corpus.labels, [one.label for one in scores], labels=corpus.label_set)


def _encoder_scores(encoder: str, train: Corpus, test: Corpus) -> dict[str, Mapping[str, Any]]:
    from emolib.encoder import DEFAULT_ENCODER, load_encoder

    baseline = encoder_baseline(load_encoder(DEFAULT_ENCODER if encoder == "auto" else encoder))
    return {baseline.name: baseline_scores(baseline, train, test.texts, test.labels).as_dict()}
