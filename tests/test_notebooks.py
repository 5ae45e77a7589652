"""The notebooks as they are committed: what each must have, and what must not be in it."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from runs import random_adapter
from tiny_models import tiny_model

ROOT = Path(__file__).parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("0*.ipynb"))
EVERY = sorted((ROOT / "notebooks").glob("*.ipynb"))
API_KEY = re.compile(r"\bsk-[\w-]{16}")
#: The one class that a notebook defines, because reading its code is the lesson.
THE_LESSON = {"02_fine_tuning": "LoRALinear"}
#: Notebooks whose outputs are held against their text, and have no raw values in them.
HELD = LESSONS[:5]
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


def test_there_are_eight_lessons_and_their_solutions():
    assert [path.name[:2] for path in LESSONS] == ["01", "02", "03", "04", "05", "06", "07", "08"]
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
    assert len(install["source"].splitlines()) <= 9
    assert settings["source"].startswith("QUICK = True")
    imported, colab = tree(install).body
    assert ast.unparse(imported) == "import sys"
    assert isinstance(colab, ast.If)
    assert ast.unparse(colab.test) == "'google.colab' in sys.modules"
    assert not colab.orelse


def test_the_install_cell_is_the_same_everywhere_and_what_colab_asks_for_is_there():
    done = subprocess.run([sys.executable, ROOT / "tools" / "install_cell.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_what_the_cells_call_exists_and_takes_the_arguments(path: Path):
    known: dict[str, Any] = {}
    for cell in cells(path, "code"):
        for node in ast.walk(tree(cell)):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "emolib":
                module = importlib.import_module(node.module)
                known |= {alias.asname or alias.name: getattr(module, alias.name) for alias in node.names}
        for node in ast.walk(tree(cell)):
            if isinstance(node, ast.Call) and (called := of_emolib(node.func, known)):
                named = {keyword.arg: None for keyword in node.keywords if keyword.arg}
                starred = any(isinstance(argument, ast.Starred) for argument in node.args)
                given = [] if starred else node.args
                assert inspect.signature(called).bind_partial(*given, **named), ast.unparse(node)
    assert known


def of_emolib(function: ast.expr, known: dict[str, Any]) -> Any:
    """What `function` names, where that is a name of ours or an attribute of one; else None."""
    if isinstance(function, ast.Name):
        return known.get(function.id)
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id in known:
        found = getattr(known[function.value.id], function.attr)
        # A constant of ours has methods that are Python's.
        return None if inspect.isbuiltin(found) else found
    return None


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_a_notebook_is_thin(path: Path):
    for cell in cells(path, "code"):
        module = tree(cell)
        lesson = [node for node in module.body if getattr(node, "name", None) == THE_LESSON.get(path.stem, "")]
        inside = {id(node) for body in lesson for node in ast.walk(body)}
        for node in ast.walk(module):
            if id(node) not in inside:
                assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef), cell["source"]
            if isinstance(node, ast.For | ast.AsyncFor | ast.While):
                assert node.end_lineno - node.lineno < 3, cell["source"]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_has_exercises_and_leads_on(path: Path):
    text = "\n".join(cell["source"] for cell in cells(path, "markdown"))
    assert len(re.findall(r"^\d\. ", text.partition("## Exercises")[2], re.MULTILINE)) >= 3
    assert re.search(r"\*\*(What y|Y)ou should see:\*\*", text)
    assert re.search(rf"^## {int(path.stem[:2])}\.1 ", text, re.MULTILINE), "numbered sections"
    after = LESSONS[LESSONS.index(path) + 1].name if path != LESSONS[-1] else "solutions.ipynb"
    assert f"]({after})" in text
    assert "](solutions.ipynb)" in text
    for name in re.findall(r"\]\((\w+\.ipynb)\)", text):
        assert (path.parent / name).is_file(), name
    for name in re.findall(r"!\[[^]]*\]\(https://raw\.githubusercontent\.com/[\w.-]+/[\w.-]+/main/([^)]+)\)", text):
        assert (ROOT / name).is_file(), name
    assert not re.search(r"!\[[^]]*\]\(\.", text), "a copy of the notebook in Drive does not find the picture"


@pytest.mark.parametrize("number", range(1, 9))
def test_every_exercise_has_a_solution(number: int):
    lesson = "\n".join(cell["source"] for cell in cells(LESSONS[number - 1], "markdown"))
    solutions = "\n".join(cell["source"] for cell in cells(ROOT / "notebooks" / "solutions.ipynb", "markdown"))
    asked = re.findall(r"^(\d)\. ", lesson.partition("## Exercises")[2], re.MULTILINE)
    own = solutions.partition(f"## {number} · ")[2].partition("\n## ")[0]
    assert re.findall(r"^\*\*(\d)\.\*\*", own, re.MULTILINE) == asked


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_the_outputs_of_a_real_run_are_there_and_small(path: Path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < 1_500_000
    assert not MACHINE_PATH.search(text), MACHINE_PATH.search(text)
    assert not API_KEY.search(text)
    done = [cell for cell in cells(path, "code") if cell["execution_count"]]
    assert len(done) == len(cells(path, "code"))
    assert any(cell["outputs"] for cell in done)
    assert not any(output["output_type"] == "error" for cell in done for output in cell["outputs"])


@pytest.mark.parametrize("path", LESSONS[5:8], ids=lambda path: path.stem)
def test_what_the_text_promises_is_what_the_cells_print(path: Path):
    printed = ""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            printed += printed_by(cell).replace(" ", "")
        elif text.startswith("**You should see:**"):
            promise = text.partition("\n\n")[0]
            for number in re.findall(r"\d[\d.]* %|\d+\.\d\d+|\d+(?:,\d{3})+|\d{3,}", promise):
                assert number.replace(" ", "") in printed, f"{number} is not printed before: {promise}"


def printed_by(cell: dict[str, Any]) -> str:
    """The text that a cell has put out."""
    found = []
    for output in cell["outputs"]:
        data = output.get("data", {})
        found.append(output.get("text") or data.get("text/markdown") or data.get("text/plain") or "")
    return "\n".join("".join(text) for text in found)


def address(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, root / "tools" / "address.py", *arguments], capture_output=True, text=True)


def test_badges_and_install_cells_name_the_address_of_the_project():
    assert address(ROOT).returncode == 0, address(ROOT).stdout


def test_a_new_address_is_stamped_everywhere(tmp_path: Path):
    for name in ("notebooks", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("pyproject.toml", "README.md", "README.zh-CN.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    assert address(tmp_path, "somebody/else.where").returncode == 0
    for path in (tmp_path / "notebooks").glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert "github/somebody/else.where/blob" in text
        assert 'github.com/somebody/else.where\\"' in text
    (tmp_path / "notebooks" / "01_data_cleaning.ipynb").write_text("colab.research.google.com/github/a/b/blob/main")
    assert address(tmp_path).stdout.strip() == "notebooks/01_data_cleaning.ipynb names a/b"
    assert "OWNER/NAME" in address(tmp_path, "no address").stderr


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_no_notebook_promises_that_nothing_leaves_a_machine_that_may_be_colab(path: Path) -> None:
    assert not any("leaves the machine" in "".join(cell["source"]) for cell in cells(path, "markdown"))


def text_outputs(cell: dict[str, Any]) -> list[str]:
    """What a cell prints or shows, as text: of a table or figure its text form."""
    shown = (output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", ()))
    return ["".join(text) for text in shown]


@pytest.mark.parametrize("path", HELD, ids=lambda path: path.stem)
def test_the_numbers_that_a_notebook_promises_are_those_it_prints(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    printed, promised = "", 0
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        printed += "\n".join(text_outputs(cell)) if cell["cell_type"] == "code" else ""
        if not source.startswith("**You should see:**"):
            continue
        for number in re.findall(r"`(\d[\d,.]*(?: ?%)?)`", source.partition("\n## ")[0]):
            found = re.search(rf"(?<![\d.,]){re.escape(number)}(?!\d)", printed)
            assert found, f"{number} is promised: {source[:80]}"
            promised += 1
    assert promised >= 3


@pytest.mark.parametrize("path", HELD, ids=lambda path: path.stem)
def test_outputs_are_made_for_readers(path: Path) -> None:
    for cell in cells(path, "code"):
        for output in text_outputs(cell):
            assert "<Figure" not in output
            assert "object at 0x" not in output
            assert "PosixPath" not in output
            assert not re.match(r"[\[{(].*[\]})]$", output.strip(), re.DOTALL), f"a raw value: {output[:80]}"
            assert "it/s]" not in output, "a progress bar's leavings"
            assert "\x1b[" not in output


@pytest.mark.parametrize("path", LESSONS[:5], ids=lambda path: path.stem)
def test_a_question_stands_over_each_section_and_what_to_see_below(path: Path) -> None:
    text = "\n".join(cell["source"] for cell in cells(path, "markdown"))
    found = re.findall(r"^## (\d\.\d+) (.*)$", text, re.MULTILINE)
    number = int(path.stem[:2])
    assert [place for place, _ in found] == [f"{number}.{place}" for place in range(1, len(found) + 1)]
    assert all("?" in title for _, title in found[:-1]), "a question stands over what the cells answer"
    assert text.count("**You should see:**") >= len(found), "what to see stands under every section"


def test_the_first_four_lessons_explain_in_words() -> None:
    words = sum(len(cell["source"].split()) for path in LESSONS[:4] for cell in cells(path, "markdown"))
    assert words >= 2_400


def test_the_layer_of_lesson_2_computes_what_peft_computes() -> None:
    torch = pytest.importorskip("torch")
    (cell,) = [cell for cell in cells(LESSONS[1], "code") if "class LoRALinear" in cell["source"]]
    (layer,) = [node for node in tree(cell).body if isinstance(node, ast.ClassDef)]
    names: dict[str, Any] = {"torch": torch}
    exec(compile(ast.Module([layer], []), "lesson", "exec"), names)  # our own cell
    theirs = random_adapter(tiny_model(), 0.3, lora_alpha=12).get_base_model().model.layers[0].mlp.down_proj
    ours = names["LoRALinear"](theirs.base_layer, rank=4, alpha=12)
    x = torch.randn(3, theirs.in_features)
    assert torch.equal(ours(x), theirs.base_layer(x)), "B is zero at the start"
    ours.A.data, ours.B.data = theirs.lora_A["default"].weight.data, theirs.lora_B["default"].weight.data
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)
    trained = sum(weight.numel() for weight in ours.parameters() if weight.requires_grad)
    assert trained == 4 * (theirs.in_features + theirs.out_features)
    assert len(ast.unparse(layer).splitlines()) <= 15, "fifteen lines, as the text says"
