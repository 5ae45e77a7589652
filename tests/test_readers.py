"""Every form of corpus is read, every row that is none is rejected with its line, and nothing goes missing."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import polars as pl
import pytest

from emolib.data import CleanSettings, LabelRules, clean_corpus, load_split
from emolib.data.hub import is_hub_name
from emolib.errors import EmolibError, InputError, UsageError

ROWS = [(f"on day {number} the ferry was late and nobody said a word to {number}", "anger") for number in range(12)]
ROWS += [(f"number {number} on the list got a puppy, and it licked all {number} of us", "joy") for number in range(12)]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def clean(path: Path | list[Path], out: Path, **settings: object) -> dict:
    options = {"rules": ("empty", "duplicates"), "validation_share": 0, "test_share": 0, **settings}
    report = clean_corpus(path, out, CleanSettings(**options)).as_dict()
    assert report["read"] == report["kept"] + report["dropped"] + report["rejected"]
    return report


def semicolons() -> str:
    return "".join(f"{text};{label}\n" for text, label in ROWS)


FORMS = {
    "corpus.txt": semicolons(),
    "corpus.csv": "label,id,text\n" + "".join(f'{label},{i},"{text}"\n' for i, (text, label) in enumerate(ROWS)),
    "corpus.tsv": "Sentence\tEmotion\n" + "".join(f"{text}\t{label}\n" for text, label in ROWS),
    "bare.csv": "".join(f'"{text}",{label}\n' for text, label in ROWS),
    "corpus.jsonl": "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS),
    "bom.txt": "\ufeff" + semicolons(),
    "crlf.txt": semicolons().replace("\n", "\r\n"),
    "corpus.txt.gz": gzip.compress(semicolons().encode()),
}


@pytest.mark.parametrize("name", FORMS)
def test_each_form_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    corpus = load_split(write(tmp_path, name, FORMS[name]))
    assert sorted(zip(corpus.texts, corpus.labels, strict=True)) == sorted(ROWS)


def test_parquet_gives_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    pl.DataFrame(ROWS, schema=["text", "label"], orient="row").write_parquet(path)
    assert len(load_split(path)) == len(ROWS)


def test_columns_of_any_name_can_be_chosen(tmp_path: Path) -> None:
    path = write(tmp_path, "odd.csv", "w,q\n" + "".join(f'{label},"{text}"\n' for text, label in ROWS))
    report = clean(path, tmp_path / "out", text_column="q", label_column="w")
    assert report["kept"] == len(ROWS)


def test_two_label_columns_are_a_question_not_a_guess(tmp_path: Path) -> None:
    path = write(tmp_path, "two.csv", "text,label,emotion\nall quiet,joy,fear\n")
    with pytest.raises(InputError, match="label and emotion; choose one with --label-column"):
        clean(path, tmp_path / "out")
    assert clean(path, tmp_path / "out", label_column="emotion")["balance"] == {"train": {"fear": 1}}


def test_quotes_and_separators_inside_texts_survive(tmp_path: Path) -> None:
    rows = [('he said "no; never", twice', "anger"), ("a, b; c", "joy"), ("two\nlines", "fear")]
    content = "text,label\n" + "".join('"{}",{}\n'.format(text.replace('"', '""'), label) for text, label in rows)
    corpus = load_split(write(tmp_path, "quoted.csv", content))
    assert list(corpus.texts) == [text for text, _ in rows]
    assert load_split(write(tmp_path, "plain.txt", "stay; go; stay;joy\n")).texts == ["stay; go; stay"]


def test_a_quote_that_nobody_closes_costs_one_row(tmp_path: Path) -> None:
    lines = ["text,label", '"an open quote, and more,joy', *(f"sentence number {number},fear" for number in range(40))]
    report = clean(write(tmp_path, "open.csv", "\n".join(lines) + "\n"), tmp_path / "out")
    assert (report["kept"], report["rejected"]) == (40, 1)
    assert json.loads((tmp_path / "out" / "rejects.jsonl").read_text())["line"] == 2


def test_lines_in_another_encoding_are_rejected_one_by_one(tmp_path: Path) -> None:
    content = semicolons().encode() + "the café was closed;sadness\n".encode("cp1252")
    report = clean(write(tmp_path, "mixed.txt", content), tmp_path / "out")
    assert report["reject_reasons"] == {"the line is not valid UTF-8": 1}
    assert report["kept"] == len(ROWS)


def test_an_unknown_label_in_row_400000_is_found_with_its_line(tmp_path: Path) -> None:
    lines = [f"sentence {number} of a long file;joy" for number in range(1, 400_001)]
    lines[399_999] = "sentence 400000 of a long file;boredom"
    report = clean(write(tmp_path, "long.txt", "\n".join(lines) + "\n"), tmp_path / "out", rules=())
    reject = json.loads((tmp_path / "out" / "rejects.jsonl").read_text())
    assert (report["rejected"], reject["line"], reject["file"]) == (1, 400_000, "long.txt")
    assert "boredom" in reject["reason"]


def test_a_line_of_50_megabytes_is_one_reject(tmp_path: Path) -> None:
    path = write(tmp_path, "wide.txt", "x" * 50_000_000 + ";joy\n" + semicolons())
    report = clean(path, tmp_path / "out")
    assert (report["kept"], report["rejected"]) == (len(ROWS), 1)
    assert (tmp_path / "out" / "rejects.jsonl").stat().st_size < 1000


def test_a_gzip_that_is_cut_off_gives_what_it_holds_and_says_so(tmp_path: Path) -> None:
    many = "".join(f"{text} {copy};{label}\n" for copy in range(200) for text, label in ROWS).encode()
    packed = gzip.compress(many)
    report = clean(write(tmp_path, "cut.txt.gz", packed[: len(packed) // 2]), tmp_path / "out", rules=())
    assert 100 < report["kept"] < 4800
    assert any("cut off" in reason for reason in report["reject_reasons"])


def test_parquet_of_the_wrong_types_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.parquet"
    pl.DataFrame({"text": [1, 2], "label": ["joy", "fear"]}).write_parquet(path)
    with pytest.raises(InputError, match="column text holds Int64, not text"):
        load_split(path)
    pl.DataFrame({"text": ["a b", "c d"], "label": [0.5, 1.5]}).write_parquet(path)
    with pytest.raises(InputError, match="column label holds Float64, not labels"):
        load_split(path)


@pytest.mark.parametrize("name", ["train.pkl", "innocent.txt"])
def test_pickle_is_refused_with_the_reason_and_the_way_out(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00]\x94.")
    with pytest.raises(InputError, match=r"runs whatever code it carries.*save it as CSV"):
        load_split(path)


def test_a_folder_stands_for_the_splits_in_it(tmp_path: Path) -> None:
    source = tmp_path / "carer"
    source.mkdir()
    write(source, "train.txt", semicolons())
    write(source, "val.txt", "the last bus has gone;sadness\n")
    write(source, "notes.md", "not a corpus")
    report = clean([source], tmp_path / "out")
    assert list(report["balance"]) == ["train", "validation"]


def test_a_folder_without_splits_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "notes.md", "not a corpus")
    with pytest.raises(InputError, match="without files named train"):
        clean([tmp_path], tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", "no usable row among 0"),
        ("image.csv", b"\x89PNG\0\0\0\0", "binary file"),
        ("not.txt.gz", b"plain text;joy\n", "no gzip file"),
    ],
)
def test_a_file_that_is_no_corpus_is_one_sentence(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        clean(write(tmp_path, name, content), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_ending_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.txt, \.csv, \.tsv, \.jsonl, \.json, \.parquet"):
        load_split(write(tmp_path, "corpus.docx", "x"))


def test_numbers_are_labels_in_the_order_of_carer(tmp_path: Path) -> None:
    cues = {0: "sad", 1: "happy", 2: "loving", 3: "angry", 4: "afraid", 5: "amazed"}
    lines = [f"i am so {word} about number {copy};{label}" for label, word in cues.items() for copy in range(8)]
    corpus = load_split(write(tmp_path, "numbers.txt", "\n".join(lines) + "\n"))
    assert corpus.labels[0] == "sadness"
    assert corpus.labels[-1] == "surprise"


def test_numbers_in_another_order_are_refused_with_the_order_that_the_texts_suggest(tmp_path: Path) -> None:
    order = ["anger", "fear", "joy", "love", "sadness", "surprise"]
    cues = {
        "anger": "angry",
        "fear": "afraid",
        "joy": "happy",
        "love": "loving",
        "sadness": "sad",
        "surprise": "amazed",
    }
    lines = [f"i am so {cues[name]} about {copy};{order.index(name)}" for name in order for copy in range(8)]
    path = write(tmp_path, "alphabetical.txt", "\n".join(lines) + "\n")
    with pytest.raises(InputError, match="--label-names anger,fear,joy,love,sadness,surprise"):
        load_split(path)
    report = clean(path, tmp_path / "out", label_rules=LabelRules(names=tuple(order)))
    assert report["label_order"] == {"alphabetical.txt": "numbers in the order given"}


def test_a_hub_that_does_not_answer_is_one_sentence_within_five_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)
    import datasets  # noqa: F401  its import is not the waiting that is measured

    started = time.monotonic()
    with pytest.raises(EmolibError, match=r"dair-ai/emotion cannot be downloaded \(http://127.0.0.1:9 does not answer"):
        clean_corpus("dair-ai/emotion", tmp_path / "out")
    assert time.monotonic() - started < 5


def test_hub_names_are_told_from_files() -> None:
    assert is_hub_name("dair-ai/emotion")
    assert is_hub_name("dair-ai/emotion:unsplit")
    assert not is_hub_name("data/train.txt")
    assert not is_hub_name("train.txt")
