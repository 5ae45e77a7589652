"""The notebooks' switch between the embedded way and the paper's."""

from __future__ import annotations

import errno
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from emolib import lesson
from emolib.demo.notebook_errors import _show, advice
from emolib.demo.recipe import embedded, find_recipe, paper
from emolib.doctor import examine
from emolib.errors import DeviceError, EmolibError, InputError, UsageError


def gpu(monkeypatch: pytest.MonkeyPatch, gigabytes: float | None) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: gigabytes is not None)
    memory = SimpleNamespace(total_memory=(gigabytes or 0) * 1e9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: memory)


@pytest.mark.parametrize(("gigabytes", "way"), [(None, "embedded"), (4, "embedded"), (15, "gpu"), (80, "gpu")])
def test_the_way_follows_the_gpu(monkeypatch: pytest.MonkeyPatch, gigabytes: float | None, way: str) -> None:
    gpu(monkeypatch, gigabytes)
    assert find_recipe().way == way


@pytest.mark.parametrize(("gigabytes", "said"), [(None, "torch finds none"), (4, "this GPU has 4 GB")])
def test_the_papers_way_without_its_gpu_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, gigabytes: float | None, said: str
) -> None:
    gpu(monkeypatch, gigabytes)
    with pytest.raises(DeviceError, match=f"{said}.*Change runtime type"):
        lesson("gpu")


@pytest.fixture
def old_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A GPU that nvidia-smi finds and torch does not."""
    gpu(monkeypatch, None)
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'Tesla T4, 15360, 7.5, 535.104.05'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr("torch.version.cuda", "13.0")


@pytest.mark.usefixtures("old_driver")
@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for nvidia-smi is a shell script")
def test_a_driver_that_is_too_old_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = (
        r"torch .* cannot use the Tesla T4 of this machine \(driver 535.104.05\): it is built for CUDA 13.0, newer than"
    )
    assert lesson(runs=tmp_path).recipe.way == "embedded"
    assert re.search(said, capsys.readouterr().out)
    with pytest.raises(DeviceError, match=said):
        lesson("gpu", runs=tmp_path)
    assert re.search(said, examine({"HF_HUB_OFFLINE": "1"}).machine["GPU"])


def test_the_environment_chooses_and_each_way_has_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu(monkeypatch, 15)
    assert lesson(runs=tmp_path).folder.path == tmp_path / "lesson-gpu"
    monkeypatch.setenv("EMOLIB_WAY", "embedded")
    chosen = lesson(steps=8, runs=tmp_path)
    assert chosen.folder.path == tmp_path / "lesson-embedded"
    assert chosen.recipe.settings.max_steps == 8
    assert "The embedded way (chosen)" in capsys.readouterr().out
    with pytest.raises(UsageError, match="auto, embedded or gpu, not 'colab'"):
        lesson("colab")


def test_the_recipes_are_what_they_say() -> None:
    assert embedded().settings.start_from == "carer"
    assert embedded().settings.base_model == "smollm2-135m"
    settings = paper().settings
    assert (settings.base_model, settings.load_in_4bit, settings.max_steps) == ("qwen2.5-7b", True, 60)
    assert settings.engine == "unsloth"


def test_other_settings_are_trained_beside_the_lesson(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[Path, bool]] = []

    def train(data: object, out: Path, settings: object, *, validation: object, resume: bool) -> str:
        asked.append((out, resume))
        return "run"

    monkeypatch.setattr("emolib.finetune.trainer.train", train)
    monkeypatch.setattr("emolib.finetune.train", train, raising=False)
    course = lesson("embedded", steps=8, runs=tmp_path)
    changed = course.recipe.settings.replace(learning_rate=1e-5)
    assert course.train(changed, name="slow") == "run"
    out = tmp_path / "lesson-embedded" / "tries" / "slow"
    assert asked == [(out, True)]
    out.mkdir(parents=True)
    config = {"base_model": {}, "settings": changed.as_dict(), "data": {"sha256": "x"}}
    (out / "config.json").write_text(json.dumps(config))
    course.train(changed, name="slow")
    course.train(changed.replace(seed=1), name="slow")
    assert [resume for _, resume in asked] == [True, True, False]
    assert "Clean the corpus" in capsys.readouterr().out


def test_the_environment_may_shorten_the_lesson(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMOLIB_STEPS", "40")
    assert lesson("embedded", steps=60, runs=tmp_path).recipe.settings.max_steps == 40
    monkeypatch.setenv("EMOLIB_STEPS", "many")
    with pytest.raises(UsageError, match="EMOLIB_STEPS is a number from 1 on"):
        lesson("embedded", runs=tmp_path)


def test_carer_without_the_hub_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr("emolib.data.hub.hub_is_offline", lambda: False)
    monkeypatch.setattr("emolib.data.hub.hub_problem", lambda: "the hub does not answer")
    assert lesson("embedded", runs=tmp_path).clean_carer() is None
    assert "CARER is not cleaned here: dair-ai/emotion cannot be downloaded" in capsys.readouterr().out


def test_errors_that_a_reader_meets_are_sentences() -> None:
    assert advice(InputError("there is no corpus")) == "there is no corpus"
    assert "the kernel was restarted" in advice(NameError("name 'course' is not defined", name="course"))
    assert "The disk is full" in advice(OSError(errno.ENOSPC, "No space left on device"))
    assert advice(OSError(errno.ENOENT, "no such file")) is None


def test_a_cell_out_of_order_ends_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shell.set_custom_exc((EmolibError, NameError, OSError), _show)
    result = shell.run_cell("course.train()")
    assert isinstance(result.error_in_exec, NameError)
    shown = capsys.readouterr().out
    assert "'course' is not known yet" in shown
    assert "Traceback" not in shown
    shell.run_cell("open('/nowhere/at/all')")
    assert "FileNotFoundError" in capsys.readouterr().out


def test_the_rows_of_the_test_can_be_fewer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gpu(monkeypatch, None)
    monkeypatch.setenv("EMOLIB_ROWS", "60")
    part = Path(lesson(runs=tmp_path).recipe.sources[1])
    lines = part.read_text(encoding="utf-8").splitlines()
    assert (part.name, len(lines)) == ("test.tsv", 61)
    assert len({line.rpartition("\t")[2] for line in lines[1:]}) == 6
