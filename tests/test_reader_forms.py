"""Files as spreadsheets, pandas and the hub write them are read, and what looks alike is not mixed up."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolib.data import CleanSettings, clean_corpus, load_conversations, load_split, parse_label_rules
from emolib.data.columns import Columns
from emolib.data.readers import find_sources, read_source
from emolib.errors import InputError

NAMES = ("sadness", "joy", "love", "anger", "fear", "surprise")
ROWS = [(f"on day {number} nobody came, and it rained on number {number}", "sadness") for number in range(6)]
ROWS += [(f"we danced all night; it was party number {number}", "joy") for number in range(6)]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows_of(path: Path, **columns: str) -> list[tuple[str, str]]:
    table = read_source(path, Columns(**columns))[0]
    assert list(table.rejects) == []
    return list(zip(table.texts.to_list(), table.labels.to_list(), strict=True))


def table(delimiter: str, rows: list[tuple[str, str]] = ROWS, header: str | None = "text|label") -> str:
    lines = [header.replace("|", delimiter)] if header else []
    quoted = [f'"{text}"' if delimiter in text else text for text, _ in rows]
    return "\r\n".join([*lines, *(f"{text}{delimiter}{row[1]}" for text, row in zip(quoted, rows, strict=True)), ""])


# --- delimiters ----------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["text|label", None], ids=["header", "bare"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["corpus.csv", "corpus.tsv", "corpus.csv.gz"])
def test_the_delimiter_is_found_in_the_file(name: str, delimiter: str, header: str | None, tmp_path: Path) -> None:
    content = table(delimiter, header=header).encode()
    path = write(tmp_path, name, gzip.compress(content) if name.endswith(".gz") else content)
    assert rows_of(path) == ROWS


def test_excels_separator_line_is_obeyed_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path, "sep.csv", "\ufeffsep=;\r\n" + table(";") + "no label here\r\n")
    found = read_source(path)[0]
    assert found.lines.to_list() == list(range(3, 3 + len(ROWS)))
    assert [reject.line for reject in found.rejects] == [3 + len(ROWS)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
@pytest.mark.parametrize(("name", "delimiter"), [("corpus.csv", ","), ("corpus.txt", "\t"), ("corpus.tsv", "\t")])
def test_excels_unicode_text_is_read(name: str, delimiter: str, encoding: str, tmp_path: Path) -> None:
    rows = [*ROWS, ("das Café war zu, und es hat geregnet", "sadness")]
    assert rows_of(write(tmp_path, name, table(delimiter, rows).encode(encoding))) == rows


def test_small_numbers_of_a_binary_file_are_no_text(tmp_path: Path) -> None:
    for content in (b"\0\1\2", bytes(range(1, 30)).replace(b"", b"\0"), b"\1\0\2\0" * 40):
        with pytest.raises(InputError, match="binary file"):
            read_source(write(tmp_path, "numbers.csv", content))


def test_fields_are_read_with_the_32_bit_longs_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = csv.field_size_limit

    def on_windows(limit: int = 0) -> int:
        if limit > 2**31 - 1:
            raise OverflowError("Python int too large to convert to C long")
        return original(limit)

    monkeypatch.setattr(csv, "field_size_limit", on_windows)
    assert sys.maxsize > 2**31
    assert rows_of(write(tmp_path, "corpus.csv", table(","))) == ROWS
    long = f"text,label\n{'x' * 200_000},joy\n"
    assert "200,000 characters" in read_source(write(tmp_path, "long.csv", long))[0].rejects[0].reason


# --- quotation marks -----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "delimiter"), [("tweets.tsv", "\t"), ("tweets.csv", ",")])
@pytest.mark.parametrize(
    "later", ['He said "no" to me', 'She whispered "yes"', '"Oh no" he said', '""Really""? I asked']
)
def test_a_text_that_begins_with_a_quotation_mark_swallows_nothing(
    later: str, name: str, delimiter: str, tmp_path: Path
) -> None:
    rows = [("plain one", "joy"), ('"So happy today', "joy"), ("I am sad about the rain", "sadness"), (later, "anger")]
    content = "".join(f"{text}{delimiter}{label}\n" for text, label in [("text", "label"), *rows, ("the end", "fear")])
    assert rows_of(write(tmp_path, name, content)) == [*rows, ("the end", "fear")]


def test_a_text_that_ends_with_a_quotation_mark_swallows_nothing(tmp_path: Path) -> None:
    rows = [('"So happy today', "joy"), ("nothing at all", "sadness"), ('and that was "it"', "fear"), ('5 o"', "joy")]
    content = "".join(f"{text}\t{label}\n" for text, label in rows)
    assert rows_of(write(tmp_path, "tweets.tsv", content)) == rows


@given(st.lists(st.text(alphabet='ab" ', min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=8))
def test_every_line_is_a_row_or_a_reject(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    content = "".join(f"{text}\tjoy\n" for text in texts)
    found = read_source(write(tmp_path_factory.getbasetemp(), "quotes.tsv", "text\tlabel\n" + content))[0]
    assert len(found.texts) + len(found.rejects) == len(texts)
    assert sorted([*found.lines, *(reject.line for reject in found.rejects)]) == list(range(2, len(texts) + 2))


def test_backslashed_quotes_and_line_breaks_in_quotes_are_read(tmp_path: Path) -> None:
    content = 'text,label\n"he said \\"no\\" twice",anger\n"first, then\nsecond, and more",joy\n'
    assert rows_of(write(tmp_path, "escaped.csv", content)) == [
        ('he said "no" twice', "anger"),
        ("first, then\nsecond, and more", "joy"),
    ]


# --- columns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        [",text,label", *(f'{i},"{text}",{label}' for i, (text, label) in enumerate(ROWS))],
        [*(f'{i},"{text}",{label}' for i, (text, label) in enumerate(ROWS))],
        [",0,1", *(f'{i},"{text}",{label}' for i, (text, label) in enumerate(ROWS))],
        [*(f'{label},"{text}"' for text, label in ROWS)],
        [*(f'"{text}",{label},ee{i}xq{i}' for i, (text, label) in enumerate(ROWS))],
    ],
    ids=["index", "bare index", "numbered header", "label first", "id last"],
)
def test_an_index_is_neither_text_nor_label(lines: list[str], tmp_path: Path) -> None:
    assert rows_of(write(tmp_path, "pandas.csv", "\n".join(lines) + "\n")) == ROWS


def test_the_id_beside_a_text_is_no_label(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"id": number, "text": text}) + "\n" for number, (text, _) in enumerate(ROWS))
    with pytest.raises(InputError, match="no column for the label among id, text"):
        load_split(write(tmp_path, "texts.jsonl", lines))


# --- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["float.csv", "float.jsonl", "float.parquet", "list.parquet", "list.jsonl"])
def test_whole_numbers_may_be_floats_or_lists_of_one(name: str, tmp_path: Path) -> None:
    path, numbers = tmp_path / name, [float(NAMES.index(label)) for _, label in ROWS]
    texts = [text for text, _ in ROWS]
    labels = [[int(number)] for number in numbers] if name.startswith("list") else numbers
    if name.endswith(".parquet"):
        pl.DataFrame({"text": texts, "label": labels}).write_parquet(path)
    elif name.endswith(".csv"):
        pl.DataFrame({"text": texts, "label": labels}).write_csv(path)
    else:
        pl.DataFrame({"text": texts, "label": labels}).write_ndjson(path)
    assert load_split(path).labels == [label for _, label in ROWS]


def test_a_gap_among_the_floats_of_a_parquet_file_is_one_reject(tmp_path: Path) -> None:
    path = tmp_path / "gap.parquet"
    pl.DataFrame({"text": ["one two", "three four", "five six"], "label": [0.0, None, float("nan")]}).write_parquet(
        path
    )
    found = read_source(path)[0]
    assert found.labels.to_list() == ["0"]
    assert [reject.line for reject in found.rejects] == [2, 3]


GOEMOTIONS = [("You are doing amazing work", "0"), ("haha that joke killed me", "1"), ("Get out, you liar", "2")]
GOEMOTIONS += [("Take care, my friend", "5"), ("It was on the news", "27"), ("I hate and fear it", "2,14")]
GOEMOTIONS += [("Ugh, you make me furious", "2,3")]


def test_the_numbers_of_goemotions_are_refused_and_read_when_named(tmp_path: Path) -> None:
    path = write(tmp_path, "goemotions.tsv", "".join(f"{text}\t{label}\teew{text[:2]}\n" for text, label in GOEMOTIONS))
    for read in (load_split, lambda path: clean_corpus(path, tmp_path / "never")):
        with pytest.raises(InputError, match=r"numbers such as 27 and 2,14.*--vocabulary goemotions"):
            read(path)
    assert not (tmp_path / "never").exists()
    rules = parse_label_rules("carer", vocabulary="goemotions")
    settings = CleanSettings(rules=(), validation_share=0, test_share=0, label_rules=rules)
    report = clean_corpus(path, tmp_path / "out", settings).as_dict()
    assert report["balance"]["train"] == {"joy": 2, "love": 1, "anger": 2}
    assert report["rejected"] == 2


def test_one_mistyped_number_is_a_reject(tmp_path: Path) -> None:
    lines = [f"text number {number};{number % 6}" for number in range(300)]
    report = clean_corpus(
        write(tmp_path, "carer.txt", "\n".join([*lines, "one more text;9"])), tmp_path / "out"
    ).as_dict()
    assert report["rejected"] == 1


# --- JSON ----------------------------------------------------------------------------------------

OBJECTS = [{"text": text, "label": label} for text, label in ROWS]
JSON_FORMS = {
    "lines": "".join(json.dumps(row) + "\n" for row in OBJECTS),
    "list": json.dumps(OBJECTS),
    "indented": json.dumps(OBJECTS, indent=2),
    "data": json.dumps({"data": OBJECTS}),
    "data indented": json.dumps({"version": 1, "data": OBJECTS}, indent=2),
    "pandas columns": json.dumps(
        {key: {str(i): row[key] for i, row in enumerate(OBJECTS)} for key in ("text", "label")}
    ),
    "pandas list": json.dumps({key: [row[key] for row in OBJECTS] for key in ("text", "label")}),
    "pandas split": json.dumps({"columns": ["text", "label"], "index": [0], "data": [list(row) for row in ROWS]}),
    "pandas table": json.dumps({"schema": {"fields": [{"name": "text"}]}, "data": OBJECTS}),
    "hub viewer": json.dumps({"features": [{"name": "text"}], "rows": [{"row_idx": 0, "row": row} for row in OBJECTS]}),
    "nested": "".join(json.dumps({**row, "spans": [{"text": "x", "label": "joy"}]}) + "\n" for row in OBJECTS),
    "one row": json.dumps(OBJECTS[0]),
}


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
@pytest.mark.parametrize("form", JSON_FORMS)
def test_every_form_of_json_is_read(form: str, ending: str, tmp_path: Path) -> None:
    assert rows_of(write(tmp_path, f"corpus{ending}", JSON_FORMS[form])) == (ROWS[:1] if form == "one row" else ROWS)


def test_a_json_list_that_is_cut_off_gives_what_it_holds_and_says_so(tmp_path: Path) -> None:
    content = json.dumps(OBJECTS, indent=2)
    found = read_source(write(tmp_path, "cut.json", content[: content.index('"text": "we danced')]))[0]
    assert len(found.texts) == 6
    assert [(reject.line, "cut off here" in reject.reason) for reject in found.rejects] == [(26, True)]


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"text": "a b", "label": 1e999}', '{"text": "a b", "label": {}}', "[1]"]
)
def test_an_odd_line_of_json_is_one_reject(line: str, tmp_path: Path) -> None:
    found = read_source(write(tmp_path, "odd.jsonl", f"{JSON_FORMS['lines']}{line}\n"))[0]
    assert (len(found.texts), [reject.line for reject in found.rejects]) == (len(ROWS), [len(ROWS) + 1])


def test_half_an_emoji_costs_half_an_emoji(tmp_path: Path) -> None:
    lines = '{"text": "so happy today \\ud83d", "label": "joy"}\n{"text": "wow \\ud83d\\ude00", "label": "joy"}\n'
    lines += '{"text": 5, "label": "\\ud83d"}\n'
    report = clean_corpus(write(tmp_path, "half.jsonl", lines), tmp_path / "out", CleanSettings(rules=())).as_dict()
    assert (report["read"], report["rejected"]) == (3, 1)
    assert load_split(tmp_path / "out").texts == ["so happy today ", "wow \U0001f600"]


def test_conversations_meet_the_same_odd_lines(tmp_path: Path) -> None:
    good = {"messages": [{"role": "user", "content": "wow \ud83d"}, {"role": "assistant", "content": "yes \U0001f600"}]}
    path = write(tmp_path, "talks.jsonl", f"{json.dumps(good)}\n{'[' * 100_000}\n")
    found = load_conversations(path)
    assert [message.content for message in found.conversations[0]] == ["wow", "yes \U0001f600"]
    assert [reject.line for reject in found.rejects] == [2]


# --- splits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.csv", "train"),
        ("emotion_train.csv", "train"),
        ("emotion-test.csv.gz", "test"),
        ("My.Emotions.Dev.jsonl", "validation"),
        ("emotion_train-00000-of-00002.parquet", "train"),
        ("test_emotion.txt", "test"),
        ("contest.txt", None),
        ("my test data.csv", None),
        ("corpus.csv", None),
    ],
)
def test_the_first_or_last_word_of_a_name_is_its_split(name: str, split: str | None, tmp_path: Path) -> None:
    path = tmp_path / name
    rows = table(",", header=None)
    if path.suffix == ".parquet":
        pl.DataFrame(ROWS, schema=["text", "label"], orient="row").write_parquet(path)
    else:
        content = "".join(f"{text};{label}\n" for text, label in ROWS) if path.suffix == ".txt" else rows
        content = "".join(json.dumps(row) + "\n" for row in OBJECTS) if path.suffix == ".jsonl" else content
        path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    assert read_source(path)[0].split == split


def test_the_official_test_rows_never_reach_training(tmp_path: Path) -> None:
    for split in ("train", "test"):
        rows = [(f"{text} {split}", label) for text, label in ROWS]
        write(tmp_path, f"emotion_{split}.csv", table(",", rows))
    assert [Path(path).name for path in find_sources([tmp_path])] == ["emotion_test.csv", "emotion_train.csv"]
    clean_corpus(tmp_path, tmp_path / "out")
    assert all(text.endswith("train") for text in load_split(tmp_path / "out", "train").texts)
    assert all(text.endswith("test") for text in load_split(tmp_path / "out", "test").texts)


# --- gzip ----------------------------------------------------------------------------------------


def damaged(how: str) -> bytes:
    lines = "".join(f"text number {number} of many;joy\n" for number in range(60_000)).encode()
    packed = bytearray(gzip.compress(lines))
    if how == "a wrong byte":
        packed[len(packed) // 2 : len(packed) // 2 + 200] = bytes(200)
    if how == "a wrong checksum":
        packed[-8] ^= 0xFF
    return bytes(packed) + (b"garbage" if how == "garbage behind" else b"")


@pytest.mark.parametrize("how", ["a wrong byte", "a wrong checksum", "garbage behind"])
def test_a_damaged_gzip_gives_what_comes_before_the_damage(how: str, tmp_path: Path) -> None:
    found = read_source(write(tmp_path, "damaged.txt.gz", damaged(how)))[0]
    assert len(found.texts) > 10_000
    assert set(found.labels) == {"joy"}
    assert len(found.rejects) == 1


def test_zeros_behind_a_gzip_and_several_members_are_whole(tmp_path: Path) -> None:
    content = "".join(f"{text};{label}\n" for text, label in ROWS).encode()
    path = write(tmp_path, "two.txt.gz", gzip.compress(content) * 2 + bytes(512))
    assert rows_of(path) == ROWS * 2
