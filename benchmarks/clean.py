"""Cleaning at CARER's full size: emolib against the same rules written plainly in pandas, in one run.

    python -m benchmarks.clean [--quick] [--json FILE]

The 16,000 rows of CARER's training file are expanded to 416,809: the first half of one text and the second half of
another, with the first one's label, plus as many duplicate rows with another label as the full set has. The
validation file stands beside it, for leaks. Each side reads both files, applies the rules and writes the splits, in
a process of its own; the two outputs must be equal row for row. The rule near_duplicates has no plain form in
pandas: the comparison leaves it out, and `seconds` and `peak_mb` are of all rules together.

Needs CARER in $EMOLIB_DATA/carer (default ../shared/data/carer).
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._report import Report, run

ROWS = 416_809
DUPLICATES = 416_809 - 393_822  # rows of the full set whose text has come before
ROOT = Path(__file__).parent.parent


def measure(report: Report, quick: bool) -> None:
    carer = Path(os.environ.get("EMOLIB_DATA", ROOT.parent / "shared" / "data")) / "carer"
    if not (carer / "train.txt").is_file():
        sys.exit(f"benchmarks.clean needs CARER's train.txt and val.txt in {carer}; set EMOLIB_DATA")
    print(f"expanding CARER's training rows to {ROWS:,} by recombining halves of sentences", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "val.txt").write_text((carer / "val.txt").read_text())
        lines = expanded((carer / "train.txt").read_text().splitlines(), ROWS)
        for part in (16, 4, 1):
            _whole(report, folder, lines[: ROWS // part], part)
        ours, theirs = [], []
        for _ in range(1 if quick else 3):
            ours.append(_timed("emolib", folder)[0])
            theirs.append(_timed("pandas", folder)[0])
        same = all(
            (folder / "emolib" / split).read_text() == (folder / "pandas" / split).read_text()
            for split in ("train.jsonl", "validation.jsonl")
        )
        if not same:
            sys.exit("benchmarks.clean: the outputs of emolib and pandas differ")
        report.figures["speedup_vs_pandas"] = statistics.median(theirs) / statistics.median(ours)
        report.rows += [
            {"what": "emolib, the rules of pandas", "rows": ROWS, "seconds": statistics.median(ours)},
            {"what": "pandas, the same rules", "rows": ROWS, "seconds": statistics.median(theirs)},
            {"what": "outputs equal row for row", "rows": ROWS, "seconds": "yes"},
        ]


def expanded(lines: list[str], rows: int) -> list[str]:
    """`lines` first, then recombined ones, then duplicates under another label, shuffled from a fixed seed."""
    draw = random.Random(3407)
    pairs = [line.rpartition(";")[::2] for line in lines]
    labels = sorted({label for _, label in pairs})
    texts = [text.split() for text, _ in pairs]
    made = list(lines)
    while len(made) < rows - DUPLICATES:
        first, second = draw.randrange(len(pairs)), draw.randrange(len(pairs))
        head, tail = texts[first][: len(texts[first]) // 2], texts[second][len(texts[second]) // 2 :]
        made.append(f"{' '.join(head + tail)};{pairs[first][1]}")
    for line in draw.sample(made, rows - len(made)):
        text, _, label = line.rpartition(";")
        others = [other for other in labels if other != label]
        made.append(f"{text};{draw.choice(others) if draw.random() < 0.97 else label}")
    draw.shuffle(made)
    return made


def _whole(report: Report, folder: Path, lines: list[str], part: int) -> None:
    (folder / "train.txt").write_text("\n".join(lines) + "\n")
    seconds, peak = _timed("all", folder)
    report.rows.append({"what": f"emolib, all rules, 1/{part} of the rows", "rows": len(lines), "seconds": seconds})
    if part == 1:
        report.figures |= {"seconds": seconds, "peak_mb": peak}


def _timed(side: str, folder: Path) -> tuple[float, float]:
    """Seconds from reading to the written files, and the peak memory of the process in MB."""
    command = [sys.executable, "-m", "benchmarks._clean_sides", side, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    seconds, peak = done.stdout.split()[-2:]
    return float(seconds), float(peak)


if __name__ == "__main__":
    sys.exit(run(measure, "clean", ["emolib", "polars", "pandas", "rensa"]))
