"""A corpus with labels of its own: read, cleaned, mapped, or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emolib.data import CleanSettings, clean_corpus, load_split, parse_label_rules
from emolib.errors import EmolibError, InputError, UsageError
from emolib.labels import CARER

TICKETS = [
    ("the shop is down, nobody can pay", "urgent"),
    ("could you change my address some day", "calm"),
    ("help, my account is locked right now", "urgent"),
    ("a question about last month's invoice", "calm"),
    ("the server room is under water", "urgent"),
    ("thanks, all is well here", "calm"),
]
WHOLE = {"rules": (), "validation_share": 0.0, "test_share": 0.0}


def test_a_csv_with_two_labels_of_ones_own_is_a_corpus(tmp_path: Path) -> None:
    path = csv(tmp_path, "text,label", TICKETS)
    report = clean(path, tmp_path / "out")
    assert report["kept"] == 6
    assert report["labels"]["names"] == ["calm", "urgent"]
    assert report["balance"]["train"] == {"calm": 3, "urgent": 3}
    corpus = load_split(tmp_path / "out")
    assert corpus.label_set.names == ("calm", "urgent")
    assert load_split(path).label_set == corpus.label_set


def test_a_folder_that_was_cleaned_before_there_were_label_sets_has_the_six(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "so glad", "label": "joy"}\n', encoding="utf-8")
    assert load_split(tmp_path).label_set is CARER


def test_one_odd_label_in_the_six_is_a_reject_that_names_the_label(tmp_path: Path) -> None:
    rows = [(f"I feel glad about number {n}", "joy") for n in range(30)] + [("so mad", "rage")]
    report = clean(csv(tmp_path, "text,label", rows), tmp_path / "out")
    assert report["rejected"] == 1
    assert "unknown label 'rage'" in next(iter(report["reject_reasons"]))


def test_isears_seven_are_found_though_four_are_ours(tmp_path: Path) -> None:
    names = ("joy", "fear", "anger", "sadness", "disgust", "shame", "guilt")
    rows = [(f"sentence {n} about {name}", name) for n in range(6) for name in names]
    report = clean(csv(tmp_path, "text,label", rows), tmp_path / "out")
    assert report["rejected"] == 0
    assert set(report["labels"]["names"]) == set(names)
    assert report["labels"]["emotions"]["guilt"] == "sadness"


@pytest.mark.parametrize("first", [0, 1])
def test_isears_numbers_count_from_one_and_in_copies_from_zero(tmp_path: Path, first: int) -> None:
    names = ("joy", "fear", "anger", "sadness", "disgust", "shame", "guilt")
    rows = [(f"sentence {n} about it", str(first + n)) for n in range(7)]
    report = clean(csv(tmp_path, "text,label", rows), tmp_path / "out", vocabulary="isear")
    assert report["balance"]["train"] == dict.fromkeys(names, 1)


def test_numbers_that_a_vocabulary_lacks_are_refused(tmp_path: Path) -> None:
    path = csv(tmp_path, "text,label", [("a text", "0"), ("another text", "9")])
    with pytest.raises(InputError, match="the number 9 is none of tweeteval's, which are 0 to 3"):
        clean(path, tmp_path / "out", vocabulary="tweeteval")


def test_numbers_without_names_are_refused(tmp_path: Path) -> None:
    path = csv(tmp_path, "text,label", [(f"text {n}", str(n)) for n in range(40)])
    with pytest.raises(InputError, match=r"say what they mean: --vocabulary .* or --label-names"):
        clean(path, tmp_path / "out")


def test_labels_that_are_given_name_the_numbers(tmp_path: Path) -> None:
    path = csv(tmp_path, "text,label", [("slow", "0"), ("fast", "1"), ("faster", "1")])
    report = clean(path, tmp_path / "out", labels="calm,urgent")
    assert report["balance"]["train"] == {"calm": 1, "urgent": 2}


def test_a_vocabulary_can_be_read_as_the_six(tmp_path: Path) -> None:
    rows = [("what a day", "amusement"), ("oh no", "grief"), ("a fact", "neutral")]
    report = clean(csv(tmp_path, "text,label", rows), tmp_path / "out", labels="carer", vocabulary="goemotions")
    assert report["balance"]["train"] == {"sadness": 1, "joy": 1}
    assert report["rejected"] == 1


# --- mapping -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["words", "lines", "json"])
def test_a_mapping_renames_labels(tmp_path: Path, form: str) -> None:
    pairs = {"happy": "joy", "blissful": "happy", "sad": "sadness"}
    words = ",".join(f"{a}={b}" for a, b in pairs.items())
    if form != "words":
        file = tmp_path / ("map.json" if form == "json" else "map.txt")
        file.write_text(json.dumps(pairs) if form == "json" else words.replace(",", "\n"), encoding="utf-8")
        words = str(file)
    rows = [("one", "happy"), ("two", "blissful"), ("three", "sad"), ("four", "joy")]
    report = clean(csv(tmp_path, "text,label", rows), tmp_path / "out", mapping=words)
    assert report["balance"]["train"] == {"sadness": 1, "joy": 3}


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        ("happy=", "sends 'happy' nowhere"),
        ("happy", "sends 'happy' nowhere"),
        ("=joy", "sends 'joy' nowhere"),
        ("a=b,b=c,c=a", "goes in a circle: a = b = c = a"),
        ("a=b,a=c", "to 'b' and to 'c'"),
        ("happy=jy", "which is none of the labels"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(tmp_path: Path, mapping: str, reason: str) -> None:
    path = csv(tmp_path, "text,label", [("one", "happy"), ("two", "joy")])
    with pytest.raises(UsageError) as refused:
        clean(path, tmp_path / "out", labels="carer", mapping=mapping)
    assert reason in str(refused.value)


# --- several labels per text -----------------------------------------------------------------------


SEVERAL = {
    "list": '{"text": "I hate and fear it", "labels": ["fear", "anger"]}\n{"text": "hi", "labels": ["neutral"]}\n',
    "text": '{"text": "I hate and fear it", "labels": "fear, anger"}\n{"text": "hi", "labels": "neutral"}\n',
    "columns": '{"text": "I hate and fear it", "anger": 1, "fear": 1, "neutral": 0}\n'
    '{"text": "hi", "anger": 0, "fear": 0, "neutral": 1}\n',
}


@pytest.mark.parametrize("form", SEVERAL)
def test_several_labels_are_read_in_every_form(tmp_path: Path, form: str) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(SEVERAL[form], encoding="utf-8")
    report = clean(path, tmp_path / "out", labels="anger,fear,neutral")
    corpus = load_split(tmp_path / "out")
    assert corpus.label_set.multi_label
    assert sorted(corpus.labels) == ["anger,fear", "neutral"]
    assert report["balance"]["train"] == {"anger": 1, "fear": 1, "neutral": 1}


def test_a_csv_with_one_column_per_label(tmp_path: Path) -> None:
    path = tmp_path / "semeval.csv"
    path.write_text("ID,Tweet,anger,joy\n1,so mad,1,0\n2,mad and glad,1,1\n3,nothing,0,0\n", encoding="utf-8")
    report = clean(path, tmp_path / "out")
    assert report["balance"]["train"] == {"anger": 2, "joy": 1}
    assert report["reject_reasons"] == {"none of the label columns is 1": 1}


def test_goemotions_numbers_are_its_twenty_eight_labels(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text("so funny and so kind\t1,5\tabc\nit is a table\t27\tdef\n", encoding="utf-8")
    clean(path, tmp_path / "out", vocabulary="goemotions")
    corpus = load_split(tmp_path / "out")
    assert len(corpus.label_set) == 28
    assert list(corpus.labels) == ["amusement,caring", "neutral"]


def test_rows_with_several_labels_are_rejects_of_a_set_with_one(tmp_path: Path) -> None:
    rows = [("both of them", '"urgent,calm"'), *TICKETS]
    report = clean(csv(tmp_path, "text,label", rows), tmp_path / "out", labels="urgent,calm", multi_label=False)
    assert report["rejected"] == 1
    assert "has the labels urgent, calm, which are not one label" in next(iter(report["reject_reasons"]))


# --- what does not fit -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([("a", "Up"), ("b", "up"), ("c", "down")], "differ in case or white space only"),
        ([("a", "same"), ("b", "same")], "at least two labels"),
        ([(f"text {n}", f"label {n}x") for n in range(300)], "at most 64"),
    ],
)
def test_labels_that_are_no_label_set_are_refused(tmp_path: Path, rows: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(EmolibError) as refused:
        clean(csv(tmp_path, "text,label", rows), tmp_path / "out")
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_corpus_with_other_labels_than_the_model_is_refused(tmp_path: Path) -> None:
    clean(csv(tmp_path, "text,label", TICKETS), tmp_path / "out")
    with pytest.raises(InputError, match="has the labels calm, urgent, and the model sadness, joy"):
        load_split(tmp_path / "out", labels=CARER)


def test_a_label_that_training_never_saw_is_none_of_the_run(tmp_path: Path) -> None:
    corpus = load_split(csv(tmp_path, "text,label", TICKETS))
    test = csv(tmp_path, "text,label", [*TICKETS, ("what now", "angry")], "other.csv")
    with pytest.raises(InputError, match="unknown label 'angry'; known: calm, urgent"):
        load_split(test, labels=corpus.label_set)


def csv(folder: Path, header: str, rows: list[tuple[str, str]], name: str = "corpus.csv") -> Path:
    path = folder / name
    lines = [f'"{text}",{label}' for text, label in rows]
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def clean(path: Path, out: Path, labels: str | None = None, **rules: Any) -> dict[str, Any]:
    settings = CleanSettings(**WHOLE, label_rules=parse_label_rules(labels, **rules))
    return clean_corpus(path, out, settings).as_dict()
