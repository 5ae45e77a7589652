"""Tables in memory: DataFrames of pandas and polars, Arrow tables and data sets are corpora like files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import polars as pl
import pytest
from scripted_engines import ScriptedClassifier, scores

from emolib.classify import classify_file
from emolib.cli import main
from emolib.data import clean_corpus, load_split
from emolib.errors import InputError
from emolib.finetune.presets import preset
from emolib.finetune.training_data import load_training_data

TEXTS = ["nobody came to the platform", "we danced all night", "my girl drew a heart", "they lied about the train"]
LABELS = ["sadness", "joy", "love", "anger"]
ROWS = {"text": TEXTS, "label": LABELS}
NAMES = ["sadness", "joy", "love", "anger", "fear", "surprise"]
FEATURES = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=NAMES)})


def frames() -> dict[str, Any]:
    numbers = {"text": TEXTS, "label": list(range(4))}
    return {
        "pandas": pd.DataFrame(ROWS),
        "pandas with an index": pd.DataFrame(ROWS, index=["a", "b", "c", "d"]),
        "pandas with categories": pd.DataFrame(ROWS).astype({"label": "category"}),
        "pandas with numbers": pd.DataFrame({"content": TEXTS, "emotion": [0.0, 1.0, 2.0, 3.0], "id": range(4)}),
        "polars": pl.DataFrame(ROWS),
        "arrow": pl.DataFrame(ROWS).to_arrow(),
        "datasets": datasets.Dataset.from_dict(ROWS),
        "datasets with class labels": datasets.Dataset.from_dict(numbers, features=FEATURES),
        "datasets, some rows": datasets.Dataset.from_dict({"text": ["no", *TEXTS], "label": ["joy", *LABELS]}).select(
            range(1, 5)
        ),
    }


@pytest.mark.parametrize("kind", frames())
def test_a_table_in_memory_is_a_corpus(kind: str, tmp_path: Path) -> None:
    frame = frames()[kind]
    corpus = load_split(frame)
    assert list(corpus.texts) == TEXTS
    assert list(corpus.labels) == LABELS
    report = clean_corpus(frame, tmp_path / "clean")
    assert report.read == 4


def test_a_mapping_of_splits_keeps_them(tmp_path: Path) -> None:
    data = datasets.DatasetDict(
        train=datasets.Dataset.from_dict(ROWS),
        validation=datasets.Dataset.from_dict({"text": ["the cellar door moved"], "label": ["fear"]}),
        test=datasets.Dataset.from_dict({"text": ["a stranger knew my name"], "label": ["surprise"]}),
    )
    clean_corpus(data, tmp_path)
    for split, labels in (("train", LABELS), ("validation", ["fear"]), ("test", ["surprise"])):
        assert list(load_split(tmp_path, split).labels) == labels
        assert list(load_split(data, split).labels) == labels
    chosen = load_training_data(data, None, preset("cpu"))
    assert list(chosen.texts) == TEXTS
    assert list(chosen.held_out_texts) == ["the cellar door moved"]
    with pytest.raises(InputError, match="has no split 'test'; it has train"):
        load_split({"train": pd.DataFrame(ROWS)}, "test")


def test_rows_with_gaps_are_rejected_and_counted(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": [*TEXTS, None], "label": [0, 1, 2, 3, 1]})
    report = clean_corpus([frame], tmp_path)
    assert (report.read, report.rejected) == (5, 1)
    with pytest.raises(InputError, match=r"the DataFrame, line 5: the text or the label is missing.*with clean_corpus"):
        load_split(frame)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame({"a": TEXTS, "b": LABELS, "c": LABELS}), "the DataFrame has the columns a, b, c; name two"),
        (pd.DataFrame({"text": [1, 2], "label": ["joy", "joy"]}), "the column text holds Int64, not text"),
    ],
)
def test_a_table_without_texts_and_labels_is_one_sentence(frame: pd.DataFrame, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_split(frame)


WORKBOOKS = [("a.xlsx", b"PK\x03\x04"), ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), ("a.csv", b"PK\x03\x04")]


@pytest.mark.parametrize(("name", "start"), [*WORKBOOKS, ("a.ods", b"PK\x03\x04")])
def test_a_workbook_says_how_to_save_it(
    name: str, start: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / name
    source.write_bytes(start + bytes(range(256)))
    commands = [
        ["clean", str(source), "--out", str(tmp_path / "clean")],
        ["train", "--data", str(source), "--out", str(tmp_path / "run"), "--preset", "cpu"],
    ]
    for command in commands:
        assert main(command) in (1, 2)
        said = capsys.readouterr().err
        assert "is a workbook; save its sheet as CSV" in said
        assert "Traceback" not in said
    with pytest.raises(InputError, match="is a workbook"):
        classify_file(source, tmp_path / "labels", ScriptedClassifier(scores("joy")))
