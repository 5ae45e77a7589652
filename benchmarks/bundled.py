"""The bundled adapters on both data sets, beside a linear model on the same rows.

    python -m benchmarks.bundled [--quick] [--json FILE]

For each adapter: accuracy on CARER's validation split and on our own test sentences; on GoEmotions' dev comments whose
labels fall into one group of `emolib.emotions.GOEMOTIONS`, macro-F1 over the six labels and neutral (an adapter answers
neutral by abstaining) and accuracy on the emotional ones; and the share of our neutral sentences on which it abstains.
`--quick` takes 500 rows of each data set. How the adapters are made is in `benchmarks/_bundled_recipe.py`.

Needs CARER and GoEmotions in $EMOLIB_DATA (default ../shared/data).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from benchmarks._bundled_data import (
    DATA,
    NAMES,
    answers_of,
    everyday_comments,
    everyday_corpus,
    goemotions,
    macro_f1_of,
    our_sentences,
    require_data,
)
from benchmarks._report import Report, run
from emolib.classify import EmotionClassifier
from emolib.data import Corpus, load_split, neutral_sentences, sample_corpus
from emolib.data.linear import linear_model
from emolib.emotions import EMOTIONS, NEUTRAL
from emolib.labels import EmotionScores


def measure(report: Report, quick: bool) -> None:
    require_data()
    rows = 500 if quick else None
    for name in NAMES:
        classifier = EmotionClassifier.load(name)
        row = _judged(classifier.classify, classifier.abstain_below, rows)
        report.rows.append({"model": name, **row})
        report.figures |= {f"{name}_{figure}": value for figure, value in row.items()}
    everyday = everyday_corpus(everyday_comments()[0] + our_sentences("train", "more"))
    for name, corpus in (("carer", load_split(DATA / "carer" / "train.txt")), ("everyday", everyday)):
        report.rows.append({"model": f"TF-IDF, rows of {name}", **_linear(corpus, rows)})


def _judged(classify: Callable[..., Sequence[EmotionScores]], threshold: float, rows: int | None) -> dict[str, float]:
    validation, comments, ours = load_split(DATA / "carer" / "val.txt"), goemotions("dev")[:rows], sample_corpus("test")
    judged = {
        "carer_val_accuracy": _accuracy(classify(validation.texts[:rows]), validation.labels[:rows]),
        "sample_test_accuracy": _accuracy(classify(ours.texts), ours.labels),
    }
    scores, gold = classify([text for text, _ in comments]), [label for _, label in comments]
    emotional = [place for place, label in enumerate(gold) if label != NEUTRAL]
    judged["goemotions_dev_macro_f1"] = macro_f1_of(gold, answers_of(scores, threshold))
    judged["goemotions_dev_six_label_accuracy"] = _accuracy(
        [scores[place] for place in emotional], [gold[place] for place in emotional]
    )
    plain = classify(neutral_sentences())
    judged["neutral_sentences_abstained"] = sum(score.confidence < threshold for score in plain) / len(plain)
    return {name: round(value, 4) for name, value in judged.items()}


def _accuracy(scores: Sequence[EmotionScores], gold: Sequence[str]) -> float:
    return sum(score.label == label for score, label in zip(scores, gold, strict=True)) / len(gold)


def _linear(corpus: Corpus, rows: int | None) -> dict[str, float]:
    """The linear model on the same rows; a soft label there means neutral, whose probability it gives away evenly."""
    soft = corpus.soft or [{label: 1.0} for label in corpus.labels]
    labels = [max(weights) if len(weights) == 1 else NEUTRAL for weights in soft]
    model = linear_model().fit(list(corpus.texts), labels)
    names = list(model.classes_)

    def classify(texts: Sequence[str]) -> list[EmotionScores]:
        found = []
        for row in model.predict_proba(list(texts)):
            shares = dict(zip(names, row, strict=True))
            neutral = shares.pop(NEUTRAL, 0.0)
            best = max(shares, key=shares.get)
            even = neutral if neutral > shares[best] else 0.0  # neutral wins where it is the likeliest class
            spread = {label: 1 / 6 if even else shares.get(label, 0.0) / (1 - neutral) for label in EMOTIONS}
            found.append(EmotionScores(spread))
        return found

    return _judged(classify, 0.17, rows)


if __name__ == "__main__":
    sys.exit(run(measure, "bundled", ["emolib", "torch", "transformers", "peft", "scikit-learn"]))
