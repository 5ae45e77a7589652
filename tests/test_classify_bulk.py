"""Files of any size: every line once and in order, in whole parts, and after a kill nothing lost or doubled."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs import save_run, save_tiny_base
from safetensors.torch import load_file, save_file

from emolib.classify import EmotionClassifier, classify_file
from emolib.cli import main
from emolib.errors import InputError, UsageError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bulk")
    return save_run(folder / "run", save_tiny_base(folder / "base"))


@pytest.fixture(scope="module")
def classifier(run: Path) -> EmotionClassifier:
    return EmotionClassifier.load(run)


def rows_of(out: Path) -> list[dict]:
    return [json.loads(line) for part in sorted(out.glob("part-*.jsonl")) for line in part.read_text().splitlines()]


def test_every_line_is_there_once_and_in_order(classifier: EmotionClassifier, tmp_path: Path) -> None:
    texts = [f"text number {number}" for number in range(25)]
    source = tmp_path / "texts.txt"
    source.write_text("\n".join(texts) + "\n")
    summary = classify_file(source, tmp_path / "out", classifier, part_rows=10)
    rows = rows_of(tmp_path / "out")
    assert [row["text"] for row in rows] == texts
    assert [row["line"] for row in rows] == list(range(1, 26))
    assert [row["label"] for row in rows] == [scores.label for scores in classifier.classify(texts)]
    assert (summary.rows, summary.parts, sum(summary.labels.values())) == (25, 3, 25)


def test_json_lines_keep_their_ids_and_bad_lines_are_named(classifier: EmotionClassifier, tmp_path: Path) -> None:
    source = tmp_path / "texts.jsonl.gz"
    lines = [b'{"id": 7, "text": "hello", "more": 1}', b"{", b'{"text": 5}', b'{"text": " "}', b"\xff\xfe"]
    source.write_bytes(gzip.compress(b"\n".join(lines)))
    summary = classify_file(source, tmp_path / "out", classifier)
    rows = rows_of(tmp_path / "out")
    assert (rows[0]["id"], "more" in rows[0]) == (7, False)
    assert ["error" in row for row in rows] == [False, True, True, False, True]
    assert rows[3]["label"] is None
    assert (summary.rows, summary.unreadable) == (5, 3)


def test_a_killed_job_goes_on_with_nothing_lost_or_doubled(run: Path, tmp_path: Path) -> None:
    source = tmp_path / "texts.txt"
    source.write_text("".join(f"text number {number} of many\n" for number in range(1500)))
    command = [sys.executable, "-m", "emolib.cli", "classify", "--model", str(run), "--in", str(source)]
    command += ["--out", str(tmp_path / "out"), "--part-rows", "100"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "out").glob("part-*.jsonl"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {part.name: part.stat().st_mtime_ns for part in (tmp_path / "out").glob("part-*.jsonl")}
    assert 3 <= len(before) < 15
    assert subprocess.run(command, capture_output=True, timeout=200).returncode == 0
    assert [row["line"] for row in rows_of(tmp_path / "out")] == list(range(1, 1501))
    assert all((tmp_path / "out" / name).stat().st_mtime_ns == when for name, when in before.items())


def test_another_job_or_another_folder_is_refused(classifier: EmotionClassifier, tmp_path: Path) -> None:
    source = tmp_path / "texts.txt"
    source.write_text("hello\n")
    classify_file(source, tmp_path / "out", classifier)
    with pytest.raises(UsageError, match="another part_rows \\(10000, and now 5\\)"):
        classify_file(source, tmp_path / "out", classifier, part_rows=5)
    with pytest.raises(UsageError, match="is not empty"):
        classify_file(source, tmp_path, classifier)
    with pytest.raises(UsageError, match="at least one row"):
        classify_file(source, tmp_path / "zero", classifier, part_rows=0)


def test_changed_texts_and_changed_weights_are_another_job(run: Path, tmp_path: Path) -> None:
    source, trained = tmp_path / "texts.txt", tmp_path / "run"
    source.write_text("hello\n")
    shutil.copytree(run, trained)
    classify_file(source, tmp_path / "out", EmotionClassifier.load(trained))
    source.write_text("yello\n")
    with pytest.raises(UsageError, match="another source"):
        classify_file(source, tmp_path / "out", EmotionClassifier.load(trained))
    source.write_text("hello\n")
    weights = trained / "adapter" / "adapter_model.safetensors"
    save_file({name: tensor * 2 for name, tensor in load_file(weights).items()}, weights, metadata={"format": "pt"})
    with pytest.raises(UsageError, match="another model"):
        classify_file(source, tmp_path / "out", EmotionClassifier.load(trained))


@pytest.mark.parametrize("how", ["cut off", "a wrong byte", "a wrong checksum"])
def test_a_damaged_gzip_is_classified_up_to_the_damage(how: str, classifier: EmotionClassifier, tmp_path: Path) -> None:
    source = tmp_path / "texts.txt.gz"
    packed = bytearray(gzip.compress("".join(f"text {os.urandom(64).hex()}\n" for _ in range(3000)).encode()))
    if how == "a wrong byte":
        packed[len(packed) // 2 :] = bytes(200)
    if how == "a wrong checksum":
        packed[-8] ^= 0xFF
    source.write_bytes(packed[: len(packed) // 2] if how == "cut off" else packed)
    summary = classify_file(source, tmp_path / "out", classifier, part_rows=100)
    *rows, last = rows_of(tmp_path / "out")
    assert len(rows) > 500
    assert all(row["label"] for row in rows)
    assert "damaged from here on" in last["error"]
    assert (summary.rows, summary.unreadable) == (len(rows) + 1, 1)
    assert classify_file(source, tmp_path / "out", classifier, part_rows=100) == summary


def test_no_gzip_file_is_refused_before_the_folder_is_made(classifier: EmotionClassifier, tmp_path: Path) -> None:
    (tmp_path / "texts.txt.gz").write_text("plain text\n")
    with pytest.raises(InputError, match="no gzip file"):
        classify_file(tmp_path / "texts.txt.gz", tmp_path / "out", classifier)
    assert not (tmp_path / "out").exists()


ODD_LINES = [
    r'{"id": 1, "text": "fine"}',
    r'{"id": "\ud83d", "text": "so happy today \ud83d"}',
    r'{"id": 3, "text": "wow \ud83d\ude00"}',
    "[" * 100_000,
    r'{"id": 5, "text": "\ufeffsad"}',
]


def test_no_line_stops_a_job(classifier: EmotionClassifier, tmp_path: Path) -> None:
    source = tmp_path / "texts.JSONL"
    source.write_text("\n".join(ODD_LINES))
    summary = classify_file(source, tmp_path / "out", classifier)
    rows = rows_of(tmp_path / "out")
    assert [row.get("text") for row in rows] == ["fine", "so happy today ", "wow \U0001f600", None, "\ufeffsad"]
    assert [row.get("id") for row in rows] == [1, "", 3, None, 5]
    assert (summary.rows, summary.unreadable) == (5, 1)
    assert rows[4]["probabilities"] == classifier.classify(["sad"])[0].as_dict()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".txt.gz"])
def test_a_byte_order_mark_is_no_part_of_a_text(
    ending: str, encoding: str, classifier: EmotionClassifier, tmp_path: Path
) -> None:
    texts = ["i feel so very alone", "hello, café?"]
    lines = [json.dumps({"text": text}, ensure_ascii=False) if ending == ".jsonl" else text for text in texts]
    content = "\r\n".join(lines).encode(encoding)
    source = tmp_path / f"texts{ending}"
    source.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    classify_file(source, tmp_path / "out", classifier)
    assert [row["text"] for row in rows_of(tmp_path / "out")] == texts


def test_an_empty_file_and_an_absent_one(
    run: Path, classifier: EmotionClassifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.txt").touch()
    assert classify_file(tmp_path / "empty.txt", tmp_path / "out", classifier).rows == 0
    assert main(["classify", "--model", str(run), "--in", str(tmp_path / "no.txt"), "--out", str(tmp_path / "o")]) == 1
    assert "is no file" in capsys.readouterr().err
    assert main(["classify", "--model", str(run), "--in", str(tmp_path / "empty.txt")]) == 2
    assert "go together" in capsys.readouterr().err
