"""Train the learned score of distress: `python -m benchmarks._fit_distress [--no-check] [--write]`.

It learns from the tune half of `emolib/data/sample/distress.tsv`, from `benchmarks/distress_lines.tsv` (written for
this and nothing else, no line of it equal to one of the test half), and from lines that count as free of distress: the
sample corpus, the messages of `replies.jsonl`, and from EMOLIB_DATA GoEmotions (CC BY 4.0), KdConv and CPED (Apache
2.0). Mixtures of lines, in which a line stands between others that say nothing, teach it long messages.

Prints the figures of lines by a writer whose other half it learned from, and how many plain messages of each data set
reach the thresholds. With --write, fits on all of it and writes `weights.safetensors`.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._bundled_data import DATA
from emolib.data.sample import neutral_sentences, sample_corpus, sample_path
from emolib.dialogue.distress.features import FAMILIES, hashed
from emolib.dialogue.distress.normalise import language_of, normalise
from emolib.dialogue.distress.rules import hide_lookalikes, says_self_harm
from emolib.dialogue.distress.score import WEIGHTS

LABELS = ("urgent", "careful", "none")
LINES = Path(__file__).parent / "distress_lines.tsv"
DISTRESS = sample_path("distress")
REPLIES = LINES.parents[1] / "emolib" / "data" / "sample" / "replies.jsonl"

_KEPT = 40_000
_LEAST_LINES = 2
_MIXTURES = 600
_REGULARISATION = 3.0
_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
#: The kind of the lines whose writer saw none of the others; half of them is held out for the figures.
_OTHER = "other writer"
_WEIGHTS = {_OTHER: 1.5, "contrast": 1.5}
# Plain messages are many and easy; sad and fearful ones may be in distress after all.
_PLAIN, _HEAVY = 0.3, 0.15
_PLAIN_LINES = {"goemotions": 6000, "kdconv": 4000, "cped": 4000, "own": 5000}
_FAMILY_WEIGHTS = dict(zip(FAMILIES, (1.4, 0.8, 1.0, 1.0, 1.0, 1.0), strict=True))
# Messages of real people that may well be in distress are no examples of being free of it.
_SUSPICIOUS = re.compile(
    r"suicid|kill(?:ing)? (?:myself|me\b)|(?:want|wanna|wish|ready|going) to die"
    r"|(?:end|take|taking|ending) (?:my|your) life"
    r"|depress|self.?harm|hopeless|worthless|hate myself|i was dead|were dead|want to live|no point|better off"
    "|自杀|想死|去死|不想活|活不下去|寻死|跳楼|死了算",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Line:
    """A text, its label, and how much it counts in training."""

    language: str
    label: str
    kind: str
    text: str
    weight: float = 1.0


def lines_of(path: Path, split: str | None = None) -> list[Line]:
    """Read the lines of a table, those of `split` if it has splits."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Line(row["language"], row["label"], row["kind"], row["text"], _WEIGHTS.get(row["kind"], 1.0))
        for row in rows
        if split is None or row["split"] == split
    ]


def plain_lines(held_out: bool = False) -> list[Line]:
    """Return messages that count as free of distress; with `held_out`, others, only to count false alarms."""
    drawn = np.random.default_rng(3407)
    found = []
    for source, wanted in _PLAIN_LINES.items():
        lines = list(dict.fromkeys(_SOURCES[source](held_out)))
        if not held_out:
            lines = [line for line in lines if not _SUSPICIOUS.search(line[0])]
        for place in drawn.permutation(len(lines))[: 1500 if held_out else wanted]:
            text, heavy = lines[place]
            found.append(Line(language_of(text), "none", source, text, _HEAVY if heavy else _PLAIN))
    return found


def _own_plain(held_out: bool) -> Iterator[tuple[str, bool]]:
    for split in ("test",) if held_out else ("train", "more"):
        corpus = sample_corpus(split)
        for text, label in zip(corpus.texts, corpus.labels, strict=True):
            yield text, label in ("sadness", "fear")
    yield from ((text, False) for text in neutral_sentences() if not held_out)
    path = REPLIES.with_name("replies_heldout.jsonl") if held_out else REPLIES
    for message in _messages(path):
        if message.get("emotion") != "careful":
            yield message["content"], message.get("emotion") in ("sadness", "fear")


def _messages(path: Path) -> Iterator[dict[str, str]]:
    """The messages of the users in a file of conversations."""
    for line in path.read_text(encoding="utf-8").splitlines():
        yield from (message for message in json.loads(line)["messages"] if message["role"] == "user")


def _goemotions(held_out: bool) -> Iterator[tuple[str, bool]]:
    path = DATA / "goemotions" / ("dev.tsv" if held_out else "train.tsv")
    for line in path.read_text(encoding="utf-8").splitlines():
        yield line.split("\t")[0], False


def _kdconv(held_out: bool) -> Iterator[tuple[str, bool]]:
    for path in sorted((DATA / "zh_kdconv").glob("*.json")):
        talks = json.loads(path.read_text(encoding="utf-8"))
        for talk in talks[: len(talks) // 3] if held_out else talks[len(talks) // 3 :]:
            yield from ((message["message"], False) for message in talk["messages"])


def _cped(held_out: bool) -> Iterator[tuple[str, bool]]:
    with open(DATA / "zh_cped" / "valid.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[: len(rows) // 3] if held_out else rows[len(rows) // 3 :]:
        yield row["Utterance"], True


_SOURCES = {"goemotions": _goemotions, "kdconv": _kdconv, "cped": _cped, "own": _own_plain}


def careful_lines() -> list[Line]:
    """Return the messages of the reply corpus that hint at despair."""
    return [
        Line("en", "careful", "replies", message["content"], 0.5)
        for message in _messages(REPLIES)
        if message.get("emotion") == "careful"
    ]


def mixtures(lines: Sequence[Line], rng: np.random.Generator) -> list[Line]:
    """Put a line between one or two that say nothing; its label is the label of the whole."""
    mixed = []
    for language in ("en", "zh"):
        plain = [line.text for line in lines if line.language == language and line.label == "none"]
        for label in LABELS:
            chosen = [line.text for line in lines if line.language == language and line.label == label]
            for _ in range(_MIXTURES):
                parts = [plain[rng.integers(len(plain))] for _ in range(rng.integers(1, 3))]
                place = len(parts) if rng.random() < 0.7 else 0
                parts.insert(place, chosen[rng.integers(len(chosen))])
                joint = ("，" if rng.random() < 0.6 else "") if language == "zh" else " "
                mixed.append(Line(language, label, "mixture", joint.join(parts), _PLAIN))
    return mixed


class Model:
    """Logistic regression over the hashed features that at least two lines have."""

    def __init__(self, lines: Sequence[Line], kept: int = _KEPT) -> None:
        from sklearn.linear_model import LogisticRegression

        counts: Counter[int] = Counter()
        weight_of: dict[int, float] = {}
        for line in lines:
            for name, family in zip(FAMILIES, _hashed(line.text), strict=True):
                counts.update(family.tolist())
                weight_of |= dict.fromkeys(family.tolist(), _FAMILY_WEIGHTS[name])
        self.hashes = np.array(sorted(f for f, count in counts.items() if count >= _LEAST_LINES), dtype=np.uint32)
        family_weights = np.array([weight_of[feature] for feature in self.hashes.tolist()], dtype=np.float32)
        trained = [*lines, *mixtures(lines, np.random.default_rng(3407))]
        regression = LogisticRegression(C=_REGULARISATION, max_iter=300)
        regression.fit(
            self._matrix([line.text for line in trained]).multiply(family_weights).tocsr(),
            [LABELS.index(line.label) for line in trained],
            sample_weight=[line.weight for line in trained],
        )
        self.bias = (regression.intercept_ - regression.intercept_[-1])[:2].astype(np.float32)
        weights = (regression.coef_ - regression.coef_[-1])[:2].T * family_weights[:, None]
        strongest = np.sort(np.argsort(-np.abs(weights).max(axis=1))[:kept])
        self.hashes = self.hashes[strongest]
        self.scale = (np.abs(weights).max(axis=0) / 127).astype(np.float32)
        self.weights = np.round(weights[strongest] / self.scale).astype(np.int8)

    def _matrix(self, texts: Sequence[str]) -> Any:
        """The known features of each text; those of a family are as long together as the root of their share."""
        from scipy.sparse import csr_matrix

        rows, columns, values = [], [], []
        for row, text in enumerate(texts):
            for family in filter(len, _hashed(text)):
                places = np.minimum(np.searchsorted(self.hashes, family), len(self.hashes) - 1)
                known = places[self.hashes[places] == family]
                rows += [row] * len(known)
                columns += known.tolist()
                values += [family.size**-0.5] * len(known)
        shape = (len(texts), len(self.hashes))
        return csr_matrix((np.array(values, dtype=np.float32), (rows, columns)), shape=shape)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return the probabilities of LABELS, a row per text."""
        logits = self._matrix(texts) @ (self.weights * self.scale) + self.bias
        odds = np.column_stack([np.exp(logits), np.ones(len(texts))])
        return odds / odds.sum(axis=1, keepdims=True)

    def write(self, path: Path) -> None:
        """Write the weights for `emolib.dialogue.distress.score`."""
        from safetensors.numpy import save_file

        names = ("hashes", "weights", "scale", "bias")
        save_file({name: getattr(self, name) for name in names}, path)


@cache
def _hashed(text: str) -> list[np.ndarray]:
    return hashed(normalise(text))


def main() -> int:
    """Check by a writer's lines that were held out, and with --write fit on everything and write the weights."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks._fit_distress")
    parser.add_argument("--no-check", action="store_true", help="print no figures")
    parser.add_argument("--write", action="store_true", help=f"write {WEIGHTS.name}")
    options = parser.parse_args()
    lines = [*lines_of(DISTRESS, "tune"), *lines_of(LINES), *careful_lines()]
    plain = plain_lines()
    if not options.no_check:
        _check(lines, plain)
    if options.write:
        Model([*lines, *plain]).write(WEIGHTS)
    return 0


def _check(lines: Sequence[Line], plain: Sequence[Line]) -> None:
    others = [line for line in lines if line.kind == _OTHER]
    held = set(others[::2])
    model = Model([*(line for line in lines if line not in held), *plain])
    for language in ("en", "zh"):
        chosen = [line for line in others[::2] if line.language == language]
        _print_figures(f"another writer's lines, {language}", chosen, _found(model, chosen))
    plain = plain_lines(held_out=True)
    for source in _SOURCES:
        chosen = [line for line in plain if line.kind == source]
        _print_figures(source, chosen, _found(model, chosen))


def _found(model: Model, lines: Sequence[Line]) -> np.ndarray:
    """The probabilities of LABELS, certain where the rules are."""
    found = model.probabilities([line.text for line in lines])
    for row, line in zip(found, lines, strict=True):
        if says_self_harm(hide_lookalikes(normalise(line.text))):
            row[:] = (1, 0, 0)
    return found


def _print_figures(title: str, lines: Sequence[Line], found: np.ndarray) -> None:
    """Print for each threshold the share of each label that reaches it, in distress at all and as urgent."""
    print(title)
    for threshold in _THRESHOLDS:
        cells = []
        for label in LABELS:
            own = found[[line.label == label for line in lines]]
            if len(own):
                flagged, urgent = np.mean(1 - own[:, 2] >= threshold), np.mean(own[:, 0] >= threshold)
                cells.append(f"{label} {flagged:.3f} (urgent {urgent:.3f})")
        print(f"  {threshold:.1f}  {'  '.join(cells)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
