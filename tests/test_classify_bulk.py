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


def test_a_cut_gzip_keeps_what_was_done(classifier: EmotionClassifier, tmp_path: Path) -> None:
    source = tmp_path / "texts.txt.gz"
    whole = gzip.compress("".join(f"text {os.urandom(8).hex()}\n" for _ in range(3000)).encode())
    source.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cannot be read to its end"):
        classify_file(source, tmp_path / "out", classifier, part_rows=100)
    assert len(rows_of(tmp_path / "out")) >= 100


def test_an_empty_file_and_an_absent_one(
    run: Path, classifier: EmotionClassifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.txt").touch()
    assert classify_file(tmp_path / "empty.txt", tmp_path / "out", classifier).rows == 0
    assert main(["classify", "--model", str(run), "--in", str(tmp_path / "no.txt"), "--out", str(tmp_path / "o")]) == 1
    assert "is no file" in capsys.readouterr().err
    assert main(["classify", "--model", str(run), "--in", str(tmp_path / "empty.txt")]) == 2
    assert "go together" in capsys.readouterr().err
