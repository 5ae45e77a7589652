"""The panel's page: modules that are joined into one, and their own tests, which run in node."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from emolib.widgets.page import join_modules, page_module, text

NODE = shutil.which("node")
TESTS = Path(__file__).with_name("page")


def test_modules_are_joined_each_once_and_after_those_it_needs(tmp_path: Path):
    modules = {
        "table.json": '{"one": 1}\n',
        "first.js": 'import TABLE from "./table.json" with { type: "json" };\n\nexport const one = TABLE.one;\n',
        "second.js": 'import { one } from "./first.js";\n\nexport function two() { return 2 * one; }\n',
        "entry.js": 'import { one } from "./first.js";\nimport { two } from "./second.js";\nexport default { two };\n',
    }
    for name, source in modules.items():
        (tmp_path / name).write_text(source)
    joined = [line for line in join_modules(tmp_path / "entry.js").splitlines() if line]
    assert joined == [
        'const TABLE = {"one": 1};',
        "const one = TABLE.one;",
        "function two() { return 2 * one; }",
        "export default { two };",
    ]


def test_the_page_is_one_module_that_needs_no_other():
    assert not re.search(r"^import ", page_module(), re.M)
    assert page_module().count("export ") == 1


def test_a_text_has_its_values_in_the_language_asked_for():
    assert text("saved", "en", count=3, file="turns.jsonl") == "3 turns were written to turns.jsonl."
    assert text("saved", "zh", count=3, file="turns.jsonl") == "已将 3 轮对话写入 turns.jsonl。"
    assert text("listening", "en", remark=" ({count})") == "Listening: speak. ({count})", (
        "a value is not filled in again"
    )


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_the_joined_module_is_valid_javascript(tmp_path: Path):
    (tmp_path / "panel.mjs").write_text(page_module(), encoding="utf-8")
    checked = subprocess.run([NODE, "--check", tmp_path / "panel.mjs"], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_the_tests_of_the_modules_pass():
    version = subprocess.run([NODE, "--version"], capture_output=True, text=True, timeout=60).stdout
    if int(version.strip("v\n").split(".")[0]) < 20:
        pytest.skip("node 20 or newer is needed")
    tests = sorted(TESTS.glob("*.test.js"))
    ran = subprocess.run([NODE, "--test", *tests], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert tests
