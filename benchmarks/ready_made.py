"""The two ready-made adapters, from their corpora to the files that ship.

    python -m benchmarks.ready_made train carer|everyday [--out build/ready-made]
    python -m benchmarks.ready_made ship [--out build/ready-made] [--json FILE]

`train` builds the corpus and trains with the package's own `train`; stopped, it goes on where it was. `ship`
judges both adapters on both data sets, fits what they save beside their weights (temperature, and the confidence
under which a text counts as neutral), and writes float16 adapters with their model cards to emolib/adapters.

carer:     CARER's 16,000 training rows after our cleaning, without those that a linear model finds mislabelled.
everyday:  GoEmotions' training comments whose labels fall into one group of `emolib.emotions.GOEMOTIONS`, and our
           own sentences. No row of CARER, so its licence is free. A neutral text has all six labels as its soft
           label, each alike: the adapter learns to be unsure, and abstains.

Needs CARER and GoEmotions in $EMOLIB_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from emolib.data import CleanSettings, Corpus, clean_corpus, find_label_issues, load_split, sample_corpus
from emolib.emotions import EMOTIONS, GOEMOTIONS, NEUTRAL
from emolib.files import write_text
from emolib.finetune import preset, train
from emolib.finetune.trainer import TrainingData

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("EMOLIB_DATA", ROOT.parent / "shared" / "data"))

_COMMON = {"batch_size": 32, "schedule": "cosine", "warmup_steps": 25, "checkpoint_steps": 20, "eval_steps": 100}
SETTINGS = {
    "carer": preset("cpu", **_COMMON, epochs=1.0, eval_examples=256),
    "everyday": preset("cpu", **_COMMON, epochs=1.0, eval_examples=256),
}

#: Label issues below this quality (the probability of the given label) are left out of the training rows.
_SUSPICIOUS = 0.1
#: Rows of each group that are taken from GoEmotions at most; what is rare is taken whole.
_AT_MOST = {"joy": 2400, "anger": 2200, NEUTRAL: 3000}
#: Comments of GoEmotions' training file that are held back for the temperature and the neutral threshold.
_HELD_BACK = 1500
_SEED = 3407


def carer_corpus(out: Path) -> Corpus:
    """CARER's training rows, cleaned, without the most suspicious ones; `out` keeps the cleaned folder."""
    clean_corpus([DATA / "carer" / "train.txt", DATA / "carer" / "val.txt"], out, CleanSettings())
    corpus = load_split(out, "train")
    issues = find_label_issues(corpus).issues
    suspicious = {issue.text for issue in issues if issue.quality < _SUSPICIOUS}
    rows = [row for row in zip(corpus.texts, corpus.labels, strict=True) if row[0] not in suspicious]
    return Corpus("carer", *map(list, zip(*rows, strict=True)))


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


def everyday_corpus() -> tuple[Corpus, list[tuple[str, str]]]:
    """The training rows of `everyday`, and the comments held back for its thresholds."""
    shuffle = random.Random(_SEED)
    comments = goemotions("train")
    shuffle.shuffle(comments)
    held_back, comments = comments[:_HELD_BACK], comments[_HELD_BACK:]
    taken: Counter[str] = Counter()
    rows = []
    for text, group in comments:
        taken[group] += 1
        if taken[group] <= _AT_MOST.get(group, len(comments)):
            rows.append((text, group))
    ours = sample_corpus("train")
    rows += zip(ours.texts, ours.labels, strict=True)
    shuffle.shuffle(rows)
    soft = [dict.fromkeys(EMOTIONS, 1 / 6) if group == NEUTRAL else {group: 1.0} for _, group in rows]
    labels = [EMOTIONS[0] if group == NEUTRAL else group for _, group in rows]
    return Corpus("everyday", [text for text, _ in rows], labels, soft), held_back


def train_adapter(name: str, out: Path) -> None:
    """Train `name` into the run folder `out`/`name`."""
    out.mkdir(parents=True, exist_ok=True)
    if name == "carer":
        validation = out / "carer-clean"
        corpus = _kept(out / "carer.jsonl", lambda: carer_corpus(validation))
        held_out = load_split(validation, "validation")
    else:
        corpus, held_back = everyday_corpus()
        emotional = [row for row in held_back if row[1] != NEUTRAL]
        held_out = Corpus("held back", *map(list, zip(*emotional, strict=True)))
    print(f"{name}: {len(corpus):,} rows", dict(Counter(corpus.labels)), file=sys.stderr)
    train(_training_data(corpus, held_out, SETTINGS[name].eval_examples), out / name, SETTINGS[name])


def _training_data(corpus: Corpus, held_out: Corpus, examples: int) -> TrainingData:
    chosen = random.Random(_SEED).sample(range(len(held_out)), examples)
    return TrainingData(
        corpus.name,
        corpus.sha256,
        corpus.texts,
        corpus.labels,
        corpus.soft,
        [held_out.texts[index] for index in chosen],
        [held_out.labels[index] for index in chosen],
    )


def _kept(file: Path, make: Callable[[], Corpus]) -> Corpus:
    # Label issues take minutes, and a training that goes on needs the very same rows.
    if not file.is_file():
        corpus = make()
        rows = zip(corpus.texts, corpus.labels, strict=True)
        write_text(file, "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return load_split(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("train", "ship"):
        added = commands.add_parser(command)
        added.add_argument("--out", type=Path, default=ROOT / "build" / "ready-made")
        if command == "train":
            added.add_argument("name", choices=sorted(SETTINGS))
    options = parser.parse_args()
    if not (DATA / "carer").is_dir() or not (DATA / "goemotions").is_dir():
        sys.exit(f"benchmarks.ready_made needs CARER and GoEmotions in {DATA}; set EMOLIB_DATA")
    if options.command == "train":
        train_adapter(options.name, options.out)


if __name__ == "__main__":
    main()
