"""Cutting Chinese speech at modal particles where there is no punctuation.

The punctuation of real messages is taken out, the text is cut, and the cuts are compared with where the
punctuation stood inside the message (its end is no boundary to find). Precision is over all cuts;
recall is over the boundaries that follow a particle or an interjection of `PARTICLES`.

    kdconv   9,321 chat messages of KdConv's dev split, with punctuation
    cped     11,137 drama utterances of CPED's validation split, where a space or a mark shows the pause

The rules were written with both in view, so the figures say how well they describe this kind of text. The trained
classifier beside them (`benchmarks._segment_learned`) never saw the topic it is judged on: films, music and travel of
KdConv take turns, and for CPED it learns from all three.
Both sets are found in the folder that EMOLIB_DATA names (default ../shared/data).
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from pathlib import Path

from benchmarks._report import Report, run
from benchmarks._segment_learned import LearnedCutter
from emolib.dialogue import segment
from emolib.dialogue.particles import PARTICLES

_PUNCTUATION = set("，。！？；：、…,.!?;:~～")
_QUICK_SHARE = 10

Case = tuple[str, set[int]]
Cutter = Callable[[str], set[int]]


def main() -> int:
    data = Path(os.environ.get("EMOLIB_DATA", "../shared/data"))
    if not (data / "zh_kdconv").is_dir() or not (data / "zh_cped").is_dir():
        print(f"segment: {data} has no zh_kdconv and zh_cped; name their folder in EMOLIB_DATA", file=sys.stderr)
        return 1
    return run(lambda report, quick: _measure(report, quick, data), "segment", ["jieba"])


def _measure(report: Report, quick: bool, data: Path) -> None:
    topics = {path.stem: list(_kdconv(path)) for path in sorted((data / "zh_kdconv").glob("*_dev.json"))}
    sets = {"kdconv": [message for messages in topics.values() for message in messages], "cped": list(_cped(data))}
    ways: dict[str, Cutter] = {
        "punctuation only": lambda text: set(),
        "after every particle": _plain,
        "jieba, tag y": lambda text: _jieba(text, ("y",)),
        "jieba, tags y e zg o": lambda text: _jieba(text, ("y", "e", "zg", "o")),
        "emolib": _ours,
    }
    for name, messages in sets.items():
        cases = [_without_punctuation(message) for message in messages[:: _QUICK_SHARE if quick else 1]]
        for way, cutter in ways.items():
            row = _score(cases, cutter)
            report.rows.append({"data": name, "way": way, **row})
            if way == "emolib":
                report.figures |= {f"{name}_{figure}": row[figure] for figure in ("precision", "recall", "f1")}
        row = _score_learned(topics, None if name == "kdconv" else cases)
        report.rows.append({"data": name, "way": "trained on other topics", **row})


def _score_learned(topics: dict[str, list[str]], cases: Sequence[Case] | None) -> dict[str, float]:
    """The trained classifier on `cases`, or on each topic after learning from the others."""
    known = {topic: [_without_punctuation(message) for message in messages] for topic, messages in topics.items()}
    if cases is not None:
        return _score(cases, LearnedCutter([case for found in known.values() for case in found]))
    cuts: dict[str, set[int]] = {}
    for topic, found in known.items():
        cutter = LearnedCutter([case for other, more in known.items() if other != topic for case in more])
        cuts |= {text: cutter(text) for text, _ in found}
    return {**_score([case for found in known.values() for case in found], cuts.__getitem__), "us_per_character": ""}


def _score(cases: Iterable[Case], cutter: Cutter) -> dict[str, float]:
    right = wrong = found = wanted = characters = 0
    seconds = 0.0
    for text, boundaries in cases:
        started = time.perf_counter()
        cuts = cutter(text) - {len(text)}
        seconds += time.perf_counter() - started
        characters += len(text)
        right += len(cuts & boundaries)
        wrong += len(cuts - boundaries)
        after_particle = {place for place in boundaries if text[place - 1] in PARTICLES}
        found += len(cuts & after_particle)
        wanted += len(after_particle)
    precision = right / (right + wrong) if right + wrong else 0.0
    recall = found / wanted if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(f1, 4),
        "cuts": right + wrong,
        "boundaries": wanted,
        "us_per_character": round(1e6 * seconds / characters, 2),
    }


def _plain(text: str) -> set[int]:
    return {place for place, character in enumerate(text, 1) if character in PARTICLES}


def _jieba(text: str, tags: tuple[str, ...]) -> set[int]:
    import jieba
    import jieba.posseg

    jieba.setLogLevel("ERROR")
    words = list(jieba.posseg.cut(text))
    ends = accumulate(len(word.word) for word in words)
    # Other tags hold far more than particles: only words that end in one count.
    return {end for end, word in zip(ends, words, strict=True) if word.flag in tags and word.word[-1] in PARTICLES}


def _ours(text: str) -> set[int]:
    return set(accumulate(len(clause) for clause in segment(text)))


def _without_punctuation(message: str) -> Case:
    """The message without white space and punctuation, and the places in it where they stood."""
    kept: list[str] = []
    boundaries = set()
    for character in message:
        if character in _PUNCTUATION or character.isspace():
            boundaries.add(len(kept))
        else:
            kept.append(character)
    return "".join(kept), boundaries - {0, len(kept)}


def _kdconv(path: Path) -> Iterable[str]:
    for conversation in json.loads(path.read_text(encoding="utf-8")):
        yield from (message["message"] for message in conversation["messages"])


def _cped(data: Path) -> Iterable[str]:
    with open(data / "zh_cped" / "valid.csv", encoding="utf-8-sig", newline="") as file:
        yield from (row["Utterance"] for row in csv.DictReader(file))


if __name__ == "__main__":
    sys.exit(main())
