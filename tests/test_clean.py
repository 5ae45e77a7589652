"""Cleaning: each rule does what it says, the counts add up, and the rules hold for every corpus."""

from __future__ import annotations

import json
import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emolib.data import RULES, CleanSettings, clean_corpus, load_split
from emolib.data.clean import clean_frame
from emolib.data.near import near_duplicates, similarity
from emolib.data.repair import REPAIRS, repair
from emolib.data.report import find_conflicts
from emolib.emotions import EMOTIONS
from emolib.errors import UsageError


def frame(rows: list[tuple[str | None, str, str]]) -> pl.DataFrame:
    table = pl.DataFrame(rows, schema={"split": pl.String, "text": pl.String, "label": pl.String}, orient="row")
    return table.with_columns(soft=pl.lit(None, dtype=pl.List(pl.Float64))).with_row_index("index")


def cleaned(rows: list[tuple[str | None, str, str]], **options: object) -> list[tuple[str, str, str]]:
    kept, _ = clean_frame(frame(rows), CleanSettings(**options))
    return sorted(kept.select("split", "text", "label").rows())


def drops(rows: list[tuple[str | None, str, str]], rule: str, **options: object) -> int:
    _, counts = clean_frame(frame(rows), CleanSettings(**options))
    return next(count.dropped for count in counts if count.name == rule)


@pytest.mark.parametrize(
    ("dirty", "clean", "rule"),
    [
        ("so\u00a0tired \u200bof it", "so tired of it", "unicode"),
        ("\u201cno\u201d \u2026 she wrote", '"no" ... she wrote', "unicode"),
        ("she said <b>yes</b> &amp; cried", "she said yes & cried", "html"),
        ("read it at https://example.org/a?b=c today", "read it at today", "html"),
        ("we went a href http www there", "we went there", "html"),
        ("  far   too\tmany\nspaces ", "far too many spaces", "whitespace"),
    ],
)
def test_texts_are_repaired(dirty: str, clean: str, rule: str) -> None:
    text, changed = repair(dirty)
    assert text == clean
    assert rule in changed


def test_conflicts_are_dropped_decided_or_kept_as_shares() -> None:
    rows = [("train", "she said yes", "joy")] * 2 + [
        ("train", "She said: yes!", "love"),
        ("train", "it rains", "sadness"),
    ]
    calm = ("train", "it rains", "sadness")
    assert cleaned(rows, conflicts="drop") == [calm]
    assert [row for row in cleaned(rows, conflicts="majority") if row != calm] == [("train", "she said yes", "joy")]
    kept, _ = clean_frame(frame(rows), CleanSettings(conflicts="soft"))
    shares = dict(zip(EMOTIONS, kept.filter(pl.col("soft").is_not_null())["soft"][0], strict=True))
    assert shares["joy"] == pytest.approx(2 / 3)
    assert shares["love"] == pytest.approx(1 / 3)


def test_a_tie_has_no_majority() -> None:
    rows = [("train", "she said yes", "joy"), ("train", "she said yes", "love")]
    assert cleaned(rows, conflicts="majority") == []


def near_frame(keys: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"index": range(len(keys)), "key": keys, "group": ["train joy"] * len(keys)})


@settings(deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5).map(" ".join), max_size=25),
    st.sampled_from([0.6, 0.9, 1.0]),
)
def test_what_is_dropped_resembles_a_text_that_stays(keys: list[str], threshold: float) -> None:
    gone = set(near_duplicates(near_frame(keys), threshold))
    kept = [key for index, key in enumerate(keys) if index not in gone]
    assert all(any(similarity(keys[index], key) >= threshold for key in kept) for index in gone)
    assert near_duplicates(near_frame(kept), threshold) == []


@pytest.mark.parametrize("threshold", [0.6, 0.75, 0.9])
def test_nearly_all_near_duplicates_are_found_at_every_threshold(threshold: float) -> None:
    draw = random.Random(5)
    words = [f"w{number}" for number in range(2000)]
    originals = [draw.sample(words, 40) for _ in range(300)]
    copies = []
    for text in originals:  # as many words changed at the end as the threshold allows
        changed = next(n for n in range(40, -1, -1) if (79 - 2 * n) / (79 + 2 * n) >= threshold)
        copies.append(text[: 40 - changed] + [f"x{draw.random()}" for _ in range(changed)])
    gone = near_duplicates(near_frame([" ".join(text) for text in originals + copies]), threshold)
    assert len(gone) >= 0.97 * len(copies)


def test_a_thousand_variants_of_one_sentence_leave_one() -> None:
    sentence = " ".join(f"word{number}" for number in range(60))
    assert len(near_duplicates(near_frame([f"{sentence} {number}" for number in range(1000)]), 0.9)) == 999


def test_near_duplicates_of_one_label_are_dropped_and_of_two_labels_kept() -> None:
    words = [f"word{number}" for number in range(30)]
    text, other = " ".join(words), " ".join([*words, "again"])
    assert similarity(text, other) > 0.9
    assert drops([("train", text, "joy"), ("train", other, "joy")], "near_duplicates") == 1
    assert drops([("train", text, "joy"), ("train", other, "love")], "near_duplicates") == 0


def test_leaks_leave_train_and_never_the_test() -> None:
    rows = [
        ("train", "the lamp broke", "anger"),
        ("test", "The lamp broke.", "sadness"),
        ("validation", "one two", "joy"),
    ]
    rows += [("train", "one two", "joy"), ("validation", "the lamp broke", "anger")]
    assert cleaned(rows) == [("test", "The lamp broke.", "sadness"), ("validation", "one two", "joy")]


def test_one_character_is_no_text() -> None:
    assert drops([("train", "x", "joy"), ("train", " ", "joy"), ("train", "xy", "joy")], "empty") == 2


def test_a_text_longer_than_the_model_takes_is_dropped() -> None:
    long = " ".join(f"w{number}" for number in range(2000))
    assert drops([("train", long, "joy"), ("train", "short one", "joy")], "too_long") == 1


def test_every_rule_can_be_switched_off() -> None:
    rows = [("train", "same  text", "joy")] * 3 + [("test", "same  text", "fear"), ("train", "x", "joy")]
    assert len(cleaned(rows, rules=())) == len(rows)
    with pytest.raises(UsageError, match="unknown cleaning rule 'polish'"):
        CleanSettings(rules=("polish",))


def test_the_report_proves_that_nothing_went_missing(tmp_path: Path) -> None:
    source = tmp_path / "corpus.txt"
    source.write_text(
        "the pot boiled over;anger\nthe pot boiled over;anger\nwe won;joy\nwe won;love\nq;joy\nsoup;boredom\n"
        "the cat is   back;joy\nno label here\n"
    )
    report = clean_corpus(source, tmp_path / "out").as_dict()
    assert (report["read"], report["kept"], report["dropped"], report["rejected"]) == (8, 2, 4, 2)
    assert report["adds_up"]
    assert {rule["name"] for rule in report["rules"]} == set(RULES)
    assert report["findings"]["conflicting_texts"] == {"all": 1}
    assert report["findings"]["ceiling"]["all"] == pytest.approx(5 / 6, abs=1e-6)
    assert (tmp_path / "out" / "report.json").read_text() == json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    page = (tmp_path / "out" / "report.html").read_text()
    assert "8 rows read = 2 kept + 4 dropped" in page
    assert page.count("data:image/png") == 3


def test_the_page_of_the_report_shows_a_text_and_runs_nothing_in_it(tmp_path: Path) -> None:
    source = tmp_path / "corpus.txt"
    source.write_text("q <script>alert(1)</script>;<b>boredom</b>\n<i>we</i> won the cup;joy\nit rains here;fear\n")
    clean_corpus(source, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;i&gt;we&lt;/i&gt; won the cup" in page
    assert not any(tag in page for tag in ("<script>", "<b>", "<i>"))


def test_the_ceiling_counts_what_the_labels_allow() -> None:
    rows = [("train", "a b", "joy")] * 3 + [("train", "a b", "love"), ("train", "c d", "fear")]
    found = find_conflicts(frame(rows))
    assert found.ceiling == {"train": 0.8}
    assert found.duplicate_rows == {"train": 3}
    assert found.conflict_pairs == {"joy/love": 1}


def test_leaks_are_counted_with_those_of_another_label() -> None:
    rows = [("train", "a b", "joy"), ("test", "a b", "love"), ("train", "c d", "joy"), ("test", "c d", "joy")]
    found = find_conflicts(frame(rows))
    assert found.leaked_texts == {"train/test": 2}
    assert found.leaked_with_other_label == {"train/test": 1}


def test_soft_labels_survive_to_training_and_to_arrow(tmp_path: Path) -> None:
    import datasets

    source = tmp_path / "train.txt"
    source.write_text("she said yes;joy\nshe said yes;love\nit rains again;sadness\n")
    clean_corpus(source, tmp_path / "out", CleanSettings(conflicts="soft", arrow=True))
    corpus = load_split(tmp_path / "out")
    assert corpus.soft == [{"joy": 0.5, "love": 0.5}, {"sadness": 1.0}]
    assert len(datasets.load_from_disk(tmp_path / "out" / "arrow")["train"]) == 2


def test_cleaning_leaves_foreign_files_alone_and_replaces_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "test.jsonl").write_text('{"text": "from an earlier cleaning", "label": "joy"}\n')
    source = tmp_path / "train.txt"
    source.write_text("we won the cup;joy\n")
    clean_corpus(source, out)
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "test.jsonl").exists()


def test_undivided_corpora_are_divided_within_each_label() -> None:
    rows = [(None, f"{label} sentence with the number {number}", label) for label in EMOTIONS for number in range(50)]
    kept, _ = clean_frame(frame(rows), CleanSettings(rules=()))
    counts = {(split, label): n for split, label, n in kept.group_by("split", "label").len().rows()}
    assert counts == {
        (split, label): n for label in EMOTIONS for split, n in (("train", 40), ("validation", 5), ("test", 5))
    }
    assert cleaned(rows, rules=(), seed=1) != cleaned(rows, rules=(), seed=2)


WORDS = st.sampled_from("rain rains Rain, lamp LAMP! the a href http &amp; <b> café naïve … 7".split())
TEXTS = st.lists(WORDS, max_size=6).map(" ".join)
ROWS = st.lists(
    st.tuples(st.sampled_from([None, "train", "validation", "test"]), TEXTS, st.sampled_from(EMOTIONS)),
    min_size=1,
    max_size=25,
)
PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@PROPERTY
@given(st.text(max_size=60))
def test_repairing_twice_changes_nothing(text: str) -> None:
    once, _ = repair(text)
    assert repair(once) == (once, frozenset())


@PROPERTY
@given(ROWS, st.sampled_from(["drop", "majority", "soft"]))
def test_cleaning_twice_changes_nothing(rows: list[tuple[str | None, str, str]], policy: str) -> None:
    once, _ = clean_frame(frame(rows), CleanSettings(conflicts=policy))
    again, counts = clean_frame(once.select("index", "split", "text", "label", "soft"), CleanSettings(conflicts=policy))
    assert again.select("split", "text", "label", "soft").rows() == once.select("split", "text", "label", "soft").rows()
    assert sum(count.dropped + count.changed for count in counts) == 0


@PROPERTY
@given(ROWS, st.randoms(use_true_random=False), st.sampled_from(["drop", "majority", "soft"]))
def test_the_order_of_the_rows_does_not_change_what_is_kept(
    rows: list[tuple[str | None, str, str]], random: object, policy: str
) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert cleaned(rows, conflicts=policy) == cleaned(shuffled, conflicts=policy)


@PROPERTY
@given(ROWS)
def test_no_text_is_in_two_splits_and_the_counts_add_up(rows: list[tuple[str | None, str, str]]) -> None:
    kept, counts = clean_frame(frame(rows), CleanSettings())
    assert kept.group_by("key").agg(pl.col("split").n_unique())["split"].max() in (1, None)
    assert len(rows) == kept.height + sum(count.dropped for count in counts)
    assert {count.name for count in counts} >= set(REPAIRS)
