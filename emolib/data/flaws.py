"""The flaws of real corpora, planted in a clean one: what is planted is known, so the cleaning can be checked."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emolib.data.corpus import Corpus
from emolib.errors import InputError
from emolib.tables import Table

if TYPE_CHECKING:
    import polars as pl

    from emolib.data.report import CleanReport

__all__ = ["FlawedCorpus", "plant_flaws"]

#: The label that a contradiction gives a text: in CARER joy and love, and fear and surprise, are given to one text.
_CONTRADICTION = {
    "joy": "love",
    "love": "joy",
    "fear": "surprise",
    "surprise": "fear",
    "sadness": "anger",
    "anger": "sadness",
}


@dataclass(frozen=True)
class FlawedCorpus:
    """A training and a test split with planted flaws: how many of each kind, in `planted`."""

    train: Corpus
    test: Corpus
    planted: Mapping[str, int]

    def frames(self) -> dict[str, pl.DataFrame]:
        """Both splits as `clean_corpus` takes them."""
        import polars as pl

        splits = {"train": self.train, "test": self.test}
        return {
            name: pl.DataFrame({"text": list(one.texts), "label": list(one.labels)}) for name, one in splits.items()
        }

    def compare(self, report: CleanReport) -> Table:
        """Return what was planted beside what the cleaning of it found, a row per flaw."""
        dropped = {rule.name: rule.dropped for rule in report.rules}
        found = {
            "twins": dropped["duplicates"],
            "contradictions": report.findings.conflicting_texts["train"],
            "leaks": report.findings.leaked_texts["train/test"],
        }
        gone = {"twins": "duplicates", "contradictions": "conflicts", "leaks": "leakage"}
        rows = [[name, str(self.planted[name]), str(found[name]), str(dropped[gone[name]])] for name in found]
        return Table(["flaw", "planted", "found", "rows dropped"], rows)


def plant_flaws(
    train: Corpus, test: Corpus, *, twins: int = 31, contradictions: int = 30, leaks: int = 11, seed: int = 3407
) -> FlawedCorpus:
    """Return copies of `train` and `test` with flaws planted by `seed`.

    A twin is a training text that stands there twice. A contradiction is one that stands there twice with different
    labels. A leak is a test text that stands in the training split as well, with another label, as in CARER. No text
    gets two flaws. InputError if the splits have too few texts.
    """
    if twins + contradictions > len(train) or leaks > len(test):
        raise InputError(
            f"{twins} twins and {contradictions} contradictions need as many training texts, and {leaks} leaks as many"
            f" test texts; there are {len(train)} and {len(test)}"
        )
    chance = random.Random(seed)
    chosen = chance.sample(range(len(train)), twins + contradictions)
    leaked = chance.sample(range(len(test)), leaks)
    rows = list(zip(train.texts, train.labels, strict=True))
    rows += [rows[row] for row in chosen[:twins]]
    rows += [(train.texts[row], _other_label(train, row)) for row in chosen[twins:]]
    rows += [(test.texts[row], _other_label(test, row)) for row in leaked]
    chance.shuffle(rows)
    flawed = Corpus("flawed", *zip(*rows, strict=True), label_set=train.label_set)
    return FlawedCorpus(flawed, test, {"twins": twins, "contradictions": contradictions, "leaks": leaks})


def _other_label(corpus: Corpus, row: int) -> str:
    label, names = corpus.labels[row], corpus.label_set.names
    return _CONTRADICTION.get(label) or names[(names.index(label) + 1) % len(names)]
