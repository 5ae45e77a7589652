"""The two sides of benchmarks.clean, each in a process of its own: `all` and `emolib` are ours, `pandas` the peer."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path


def emolib_side(folder: Path, out: Path, *, near: bool) -> None:
    from emolib.data import RULES, CleanSettings, clean_corpus

    rules = RULES if near else tuple(rule for rule in RULES if rule != "near_duplicates")
    clean_corpus([folder / "train.txt", folder / "val.txt"], out, CleanSettings(rules=rules))


def pandas_side(folder: Path, out: Path) -> None:
    """The rules as one would write them down in pandas; the repair of one text is the same function."""
    import pandas as pd

    from emolib.data.repair import repair
    from emolib.emotions import EMOTIONS

    frames = []
    for split, name in (("train", "train.txt"), ("validation", "val.txt")):
        lines = pd.Series((folder / name).read_text(encoding="utf-8").splitlines())
        parts = lines.str.rsplit(";", n=1, expand=True)
        frames.append(pd.DataFrame({"split": split, "text": parts[0], "label": parts[1].str.strip().str.lower()}))
    rows = pd.concat(frames, ignore_index=True)
    rows = rows[rows["label"].isin(EMOTIONS)]
    rows["text"] = rows["text"].map(lambda text: repair(text)[0])
    rows = rows[rows["text"].str.len() >= 2]
    words = rows["text"].str.lower().str.replace(r"[\W_]+", " ", regex=True).str.strip()
    rows["key"] = words.where(words != "", rows["text"])
    rows = rows[rows.groupby(["split", "key"])["label"].transform("nunique") == 1]
    rows = rows.sort_values("text", kind="stable").drop_duplicates(["split", "key", "label"]).sort_index()
    held = set(rows.loc[rows["split"] == "validation", "key"])
    rows = rows[(rows["split"] == "validation") | ~rows["key"].isin(held)]
    out.mkdir(exist_ok=True)
    for split, found in rows.groupby("split"):
        found[["text", "label"]].to_json(out / f"{split}.jsonl", orient="records", lines=True, force_ascii=False)
    (out / "report.json").write_text(json.dumps({"kept": len(rows), "labels": rows["label"].value_counts().to_dict()}))


def main(side: str, folder: Path) -> None:
    started = time.perf_counter()
    if side == "pandas":
        pandas_side(folder, folder / side)
    else:
        emolib_side(folder, folder / side, near=side == "all")
    seconds = time.perf_counter() - started
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
