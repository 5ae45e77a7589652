"""GoEmotions' 28 labels, several per text, learnt in one epoch and judged on its own dev set.

    python -m benchmarks.goemotions [--quick] [--json FILE]

Trains SmolLM2-135M on the 43,410 comments of the train set with the preset `cpu` in batches of 16 (about 70 minutes on
two cores; a stopped training resumes from runs/goemotions), beside TF-IDF with a logistic regression per label on the
same rows. The thresholds are fitted on one half of the dev set and judged on the other, and the other way round, so no
comment decides about itself. `--quick` takes 40 steps and 1,000 comments of the dev set; its figures say that all of it
runs, and nothing about quality.

Published, on the test set: macro-F1 0.46 (BERT, Demszky et al., 2020), 0.54 to 0.55 (RoBERTa and ModernBERT in an
independent re-evaluation).

Needs GoEmotions in $EMOLIB_DATA (default ../shared/data).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks._bundled_data import DATA, require_data
from benchmarks._report import Report, run
from emolib.classify import EmotionClassifier
from emolib.classify.classifier import softmax
from emolib.data import Corpus, load_split
from emolib.emotions import VOCABULARIES
from emolib.evaluate.baselines import TFIDF, train_baseline
from emolib.evaluate.multi_label import MultiLabelScores, fit_thresholds, label_matrix
from emolib.finetune import preset, train
from emolib.labels import LabelSet

LABELS = LabelSet(VOCABULARIES["goemotions"].names, "neutral", multi_label=True)
_QUICK_STEPS, _QUICK_ROWS = 40, 1000


def measure(report: Report, quick: bool) -> None:
    require_data()
    folder = DATA / "goemotions"
    rows, dev = load_split(folder / "train.tsv", labels=LABELS), load_split(folder / "dev.tsv", labels=LABELS)
    if quick:
        dev = Corpus(dev.name, dev.texts[:_QUICK_ROWS], dev.labels[:_QUICK_ROWS], label_set=LABELS)
    length = {"max_steps": _QUICK_STEPS} if quick else {"epochs": 1.0}
    settings = preset("cpu", batch_size=16, max_length=256, tracking="off", eval_steps=0, **length)
    trained = train(rows, Path("runs") / ("goemotions-quick" if quick else "goemotions"), settings)
    logits = {
        "TF-IDF": train_baseline(TFIDF, rows)(dev.texts),
        "SmolLM2-135M, one epoch": EmotionClassifier.load(trained.path).scorer.label_logits(dev.texts),
    }
    for name, scores in logits.items():
        report.rows.append({"model": name, **judged(scores, dev)})
    report.rows.append({"model": "BERT, published (test set)", "macro_f1": 0.46})
    report.rows.append({"model": "RoBERTa, ModernBERT, re-evaluated (test set)", "macro_f1": 0.545})
    report.figures |= {f"goemotions_{name}": value for name, value in report.rows[1].items() if name != "model"}


def judged(logits: np.ndarray, dev: Corpus) -> dict[str, float]:
    """Return macro-F1, micro-F1 and strict set match [0, 1] with thresholds fitted on the other half of `dev`."""
    probabilities, truth = softmax(logits), label_matrix(dev.labels, LABELS)
    halves = (np.arange(len(truth)) % 2 == 0, np.arange(len(truth)) % 2 == 1)
    predicted = np.zeros_like(truth)
    for fitted_on, used_on in (halves, halves[::-1]):
        thresholds = fit_thresholds(probabilities[fitted_on], truth[fitted_on])
        gold = [dev.labels[row] for row in np.flatnonzero(used_on)]
        scores = MultiLabelScores(gold, [""] * len(gold), logits[used_on], LABELS, thresholds=thresholds)
        predicted[used_on] = scores.predicted
    return MultiLabelScores.figures(truth, predicted)


if __name__ == "__main__":
    sys.exit(run(measure, "goemotions", ("torch", "transformers", "scikit-learn")))
