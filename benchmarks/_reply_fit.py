"""How emolib/reply_examples/fit.json is made: a logistic regression over pairs that were read.

    python -m benchmarks._reply_fit

`reply_fit.tsv` has messages of the corpus of replies and replies to messages that resemble them, written by somebody
else, each with the verdict of a reader: is the reply, word for word, a good answer to this message (kind, to the point,
nothing presumed, nothing that hurts)? Printed is what eightfold cross-validation finds, messages kept together.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emolib.prompting.chat import Message
from emolib.reply_examples.fit import features
from emolib.reply_examples.index import MessageIndex
from emolib.reply_examples.replies import ReplyExamples

_PAIRS = Path(__file__).parent / "reply_fit.tsv"
_FILE = Path(__file__).parent.parent / "emolib" / "reply_examples" / "fit.json"
_FOLDS = 8


def main() -> int:
    """Fit, print, write."""
    with _PAIRS.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    known = ReplyExamples.bundled().index
    pairs = [
        [Message("user", row["other"], row["other_tone"] or None), Message("assistant", row["reply"])] for row in rows
    ]
    read = MessageIndex(pairs, known.vectors)
    read.rarity, read.weights, read.mean_vector = known.rarity, known.weights, known.mean_vector  # type: ignore[method-assign]
    rows = [rows[number] for number in read.numbers]
    found = [features(read, row["message"], row["tone"], place, row["reply"]) for place, row in enumerate(rows)]
    names = list(found[0])
    values = np.array([[each[name] for name in names] for each in found])
    suits = np.array([int(row["suits"]) for row in rows])
    groups = [row["message"] for row in rows]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=1000))
    folds = GroupKFold(_FOLDS)
    sure = cross_val_predict(model, values, suits, groups=groups, cv=folds, method="predict_proba")[:, 1]
    print(f"{len(rows)} pairs, {suits.mean():.1%} suit; area under the curve {roc_auc_score(suits, sure):.3f}")
    for least in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        chosen = sure >= least
        print(f"  from {least}: {chosen.sum()} pairs, {suits[chosen].mean():.1%} suit")
    model.fit(values, suits)
    scaler, regression = model
    weights = regression.coef_[0] / scaler.scale_
    bias = float(regression.intercept_[0] - weights @ scaler.mean_)
    table = {"bias": bias, **dict(zip(names, weights.tolist(), strict=True))}
    _FILE.write_text(json.dumps({name: round(w, 5) for name, w in table.items()}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
