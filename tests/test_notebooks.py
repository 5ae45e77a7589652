"""The notebooks as they are committed: what each must have, and what must not be in it."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("0*.ipynb"))
EVERY = sorted((ROOT / "notebooks").glob("*.ipynb"))
API_KEY = re.compile(r"\bsk-[\w-]{16}")
MACHINE_PATH = re.compile(r"/(?:home|root|tmp|work|Users|content)/\w")


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [{**cell, "source": "".join(cell["source"])} for cell in notebook["cells"] if cell["cell_type"] == kind]


def tree(cell: dict[str, Any]) -> ast.Module:
    """The cell's Python, IPython's own lines left out."""
    lines = ["pass" if line.lstrip()[:1] in "!%" and line.strip() else line for line in cell["source"].splitlines()]
    indented = [re.match(r"\s*", whole)[0] + line.strip() if line == "pass" else line
                for whole, line in zip(cell["source"].splitlines(), lines, strict=True)]  # fmt: skip
    return ast.parse("\n".join(indented))


def test_there_are_six_lessons_and_their_solutions():
    assert [path.name[:2] for path in LESSONS] == ["01", "02", "03", "04", "05", "06"]
    assert {path.name for path in EVERY} - {path.name for path in LESSONS} == {"solutions.ipynb"}


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_a_notebook_says_what_it_is_for_and_opens_in_colab(path: Path):
    title = cells(path, "markdown")[0]["source"]
    assert title.startswith("# ")
    assert f"/blob/main/notebooks/{path.name})" in title
    assert "**You will learn**" in title
    assert "**Time and hardware:**" in title


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_the_first_cells_install_and_set(path: Path):
    install, settings = cells(path, "code")[:2]
    assert "google.colab" in install["source"]
    assert len(install["source"].splitlines()) <= 6
    assert settings["source"].startswith("QUICK = True")


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_a_notebook_is_thin(path: Path):
    for cell in cells(path, "code"):
        for node in ast.walk(tree(cell)):
            assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef), cell["source"]
            if isinstance(node, ast.For | ast.While):
                assert node.end_lineno - node.lineno < 3, cell["source"]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_has_exercises_and_leads_on(path: Path):
    text = "\n".join(cell["source"] for cell in cells(path, "markdown"))
    assert len(re.findall(r"^\d\. ", text.partition("## Exercises")[2], re.MULTILINE)) >= 3
    assert "**What you should see:**" in text
    for name in re.findall(r"\]\((\w+\.ipynb)\)", text):
        assert (path.parent / name).is_file(), name
    for name in re.findall(r"!\[[^]]*\]\((\.\./[^)]+)\)", text):
        assert (path.parent / name).is_file(), name


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_the_outputs_of_a_real_run_are_there_and_small(path: Path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < 1_000_000
    assert not MACHINE_PATH.search(text), MACHINE_PATH.search(text)
    assert not API_KEY.search(text)
    done = [cell for cell in cells(path, "code") if cell["execution_count"]]
    assert len(done) == len(cells(path, "code"))
    assert any(cell["outputs"] for cell in done)
    assert not any(output["output_type"] == "error" for cell in done for output in cell["outputs"])


def address(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, root / "tools" / "address.py", *arguments], capture_output=True, text=True)


def test_badges_and_install_cells_name_the_address_of_the_project():
    assert address(ROOT).returncode == 0, address(ROOT).stdout


def test_a_new_address_is_stamped_everywhere(tmp_path: Path):
    for name in ("notebooks", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    assert address(tmp_path, "somebody/else.where").returncode == 0
    for path in (tmp_path / "notebooks").glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert "github/somebody/else.where/blob" in text
        assert "github.com/somebody/else.where " in text
    (tmp_path / "notebooks" / "01_data_cleaning.ipynb").write_text("colab.research.google.com/github/a/b/blob/main")
    assert address(tmp_path).stdout.strip() == "notebooks/01_data_cleaning.ipynb names a/b"
    assert "OWNER/NAME" in address(tmp_path, "no address").stderr
