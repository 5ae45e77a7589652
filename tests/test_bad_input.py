"""Bad input to any command is one sentence on standard error, exit code 1 or 2, no traceback, nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def emolib(*arguments: object, stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emolib.cli", *map(str, arguments)]
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, cwd=cwd, env=environment)


def refused(result: subprocess.CompletedProcess[str], *names: object) -> None:
    """The command failed with one sentence that has every one of `names` in it."""
    assert result.returncode in (1, 2), result.stderr
    assert "Traceback" not in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("emolib: "), last
    for name in names:
        assert str(name) in last


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("the tent blew away;sadness\nwe won the cup;joy\n")
    return path


COMMANDS_ON_A_MISSING_FILE = [
    ("clean", "{missing}", "--out", "{out}"),
    ("train", "--data", "{missing}", "--out", "{out}"),
    ("plot", "{missing}", "--out", "{out}"),
    ("evaluate", "{missing}", "--data", "{missing}"),
    ("classify", "--model", "{missing}"),
    ("export", "{missing}", "--out", "{out}"),
    ("talk", "--in", "{missing}", "--out", "{out}"),
]


@pytest.mark.parametrize("command", COMMANDS_ON_A_MISSING_FILE, ids=lambda command: command[0])
def test_a_missing_file_is_named(command: tuple[str, ...], tmp_path: Path) -> None:
    missing, out = tmp_path / "nowhere" / "absent.wav", tmp_path / "out"
    result = emolib(*(word.format(missing=missing, out=out) for word in command))
    refused(result, missing)
    assert not out.exists()


def test_an_unknown_label_is_refused_for_training_with_its_line_and_the_way_out(corpus: Path, tmp_path: Path) -> None:
    corpus.write_text(corpus.read_text() + "the bus was late;boredom\n")
    refused(emolib("train", "--data", corpus, "--out", tmp_path / "run"), corpus, "line 3", "boredom", "emolib clean")


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    refused(emolib("clean", empty, "--out", tmp_path / "out"), empty)
    refused(emolib("train", "--data", empty, "--out", tmp_path / "run"), empty)


@pytest.mark.parametrize("command", ["plot", "evaluate", "export", "classify"])
def test_a_run_folder_without_an_adapter_is_refused(command: str, corpus: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    more = {
        "plot": (run, "--out", tmp_path / "figures"),
        "evaluate": (run, "--data", corpus),
        "export": (run, "--out", tmp_path / "gguf"),
        "classify": ("--model", run),
    }
    refused(emolib(command, *more[command]), run, "adapter")


def test_a_full_disk_is_named_and_what_was_there_stays(corpus: Path, tmp_path: Path) -> None:
    corpus.write_text("".join(f"the {number}th parcel went to the wrong house;anger\n" for number in range(900)))
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk can only be made by root")
    try:
        (small / "filler").write_bytes(b"x" * 60_000)
        refused(emolib("clean", corpus, "--out", small / "out"), "no space left")
        assert (small / "filler").stat().st_size == 60_000
        assert not list(small.rglob("*train*"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_folder_that_cannot_be_written_is_named(corpus: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, not a folder")
    refused(emolib("clean", corpus, "--out", blocked / "out"), blocked)
    assert blocked.read_text() == "a file, not a folder"


def test_an_unknown_command_is_bad_use() -> None:
    result = emolib("sing")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    program = [sys.executable, "-m", "emolib.cli", "doctor"]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        result = subprocess.run(program, stdout=gone, stderr=subprocess.PIPE, text=True, timeout=60, env=environment)
    assert "Traceback" not in result.stderr
