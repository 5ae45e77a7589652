"""What the bundled adapters are made from and judged on, and the score that their threshold is fitted to."""

from __future__ import annotations

import csv
import os
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emolib.data import CleanSettings, Corpus, clean_corpus, find_label_issues, load_split, sample_corpus
from emolib.emotions import EMOTIONS, GOEMOTIONS, NEUTRAL
from emolib.evaluate.scores import confusion_counts, macro_f1
from emolib.labels import EmotionScores

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("EMOLIB_DATA", ROOT.parent / "shared" / "data"))
NAMES = ("carer", "everyday")

#: Label issues below this quality (the probability of the given label) are left out of the training rows.
_SUSPICIOUS = 0.1
#: Rows of each group that are taken from GoEmotions at most; what is rare is taken whole.
_AT_MOST = {"joy": 2400, "anger": 2200, NEUTRAL: 3000}
#: Comments of GoEmotions' training file that are held back for the temperature and the neutral threshold.
_HELD_BACK = 1500
#: Comments that stand beside our own sentences in the second training.
_SECOND_COMMENTS = 6000
SEED = 3407

Rows = list[tuple[str, str]]


def require_data() -> None:
    """Say what is missing, and stop."""
    if not (DATA / "carer").is_dir() or not (DATA / "goemotions").is_dir():
        sys.exit(f"the benchmark of the bundled adapters needs CARER and GoEmotions in {DATA}; set EMOLIB_DATA")


def goemotions(split: str) -> list[tuple[str, str]]:
    """Comments of GoEmotions' `split` ("train" or "dev") whose labels fall into one group, with that group."""
    names = (DATA / "goemotions" / "labels.txt").read_text(encoding="utf-8").split()
    rows = []
    with (DATA / "goemotions" / f"{split}.tsv").open(encoding="utf-8", newline="") as file:
        for text, ids, _ in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            groups = {GOEMOTIONS[names[int(number)]] for number in ids.split(",")}
            if len(groups) == 1:
                rows.append((text, groups.pop()))
    return rows


def answers_of(scores: Sequence[EmotionScores], threshold: float) -> list[str]:
    return [NEUTRAL if score.confidence < threshold else score.label for score in scores]


def macro_f1_of(gold: Sequence[str], answers: Sequence[str]) -> float:
    names = (*EMOTIONS, NEUTRAL)
    counts = confusion_counts(
        np.array([names.index(label) for label in gold]), np.array([names.index(label) for label in answers]), 7
    )
    return float(macro_f1(counts))


def carer_corpus(out: Path) -> Corpus:
    """CARER's training rows, cleaned, without the most suspicious ones; `out` keeps the cleaned folder."""
    clean_corpus([DATA / "carer" / "train.txt", DATA / "carer" / "val.txt"], out, CleanSettings())
    corpus = load_split(out, "train")
    issues = find_label_issues(corpus).issues
    suspicious = {issue.text for issue in issues if issue.quality < _SUSPICIOUS}
    rows = [row for row in zip(corpus.texts, corpus.labels, strict=True) if row[0] not in suspicious]
    return Corpus("carer", *map(list, zip(*rows, strict=True)))


def everyday_comments() -> tuple[Rows, Rows]:
    """GoEmotions' comments that `everyday` learns from, and those held back for its thresholds."""
    comments = goemotions("train")
    random.Random(SEED).shuffle(comments)
    held_back, comments = comments[:_HELD_BACK], comments[_HELD_BACK:]
    taken: Counter[str] = Counter()
    rows = []
    for text, group in comments:
        taken[group] += 1
        if taken[group] <= _AT_MOST.get(group, len(comments)):
            rows.append((text, group))
    return rows, held_back


def our_sentences(*splits: str) -> Rows:
    """The rows of these splits of the sample corpus."""
    corpora = map(sample_corpus, splits)
    return [row for corpus in corpora for row in zip(corpus.texts, corpus.labels, strict=True)]


def everyday_corpora() -> tuple[Corpus, Corpus]:
    """What `everyday` is trained on first, and what second."""
    comments, _ = everyday_comments()
    beside = random.Random(SEED).sample(comments, _SECOND_COMMENTS)
    first, second = comments + our_sentences("train"), beside + our_sentences("train", "more")
    return everyday_corpus(first), everyday_corpus(second)


def everyday_corpus(rows: Rows) -> Corpus:
    """`rows` in an order of their own, the neutral ones with all six labels alike."""
    rows = random.Random(SEED).sample(rows, len(rows))
    soft = [dict.fromkeys(EMOTIONS, 1 / 6) if group == NEUTRAL else {group: 1.0} for _, group in rows]
    labels = [EMOTIONS[0] if group == NEUTRAL else group for _, group in rows]
    return Corpus("everyday", [text for text, _ in rows], labels, soft)
