"""The documents for developers name files, functions and keys that exist."""

from __future__ import annotations

import asyncio
import importlib
import re
from pathlib import Path

import pytest
from scripted_engines import Replies, Spoken, engines, scores

from emolib.dialogue import TextInput, converse
from emolib.dialogue.turn import SCHEMA
from emolib.speech import NullSink

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COMING_FROM = (ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8")
TURN = (ROOT / "docs" / "turn.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(emolib/[\w./]+)`", GUIDE))))
def test_the_guide_names_files_that_exist(path: str) -> None:
    assert (ROOT / path).exists()


def walked() -> list[tuple[str, str]]:
    """Return each name in a numbered step with the step's files, joined."""
    steps = re.findall(r"^\d+\. (.*?)(?=^\d+\. |^\S)", GUIDE, re.MULTILINE | re.DOTALL)
    return [
        (name, " ".join(re.findall(r"`(emolib/[\w./]+\.py)`", step)))
        for step in steps
        for name in re.findall(r"`([A-Za-z_]+(?:\.[a-z_]+)?)`", step)
        if not name.endswith((".json", ".jsonl"))
    ]


@pytest.mark.parametrize(("name", "files"), walked())
def test_a_step_of_a_walk_names_what_its_files_hold(name: str, files: str) -> None:
    source = "".join((ROOT / file).read_text(encoding="utf-8") for file in files.split())
    for part in name.split("."):
        assert re.search(rf"\b{part}\b", source), f"{part} is not in {files}"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(emolib/[\w./]+)`", COMING_FROM))))
def test_the_page_for_newcomers_names_files_that_exist(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_page_for_newcomers_is_linked_and_its_python_is_of_this_library() -> None:
    assert "(docs/coming-from.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", COMING_FROM, re.DOTALL):
        for module, names in re.findall(r"^from (emolib[\w.]*) import (.*)$", block, re.MULTILINE):
            assert all(hasattr(importlib.import_module(module), name) for name in names.split(", "))


@pytest.mark.parametrize("path", [ROOT / "README.md", *(ROOT / "docs").glob("*.md")], ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def said_by(name: str) -> tuple[set[str], ...]:
    """Return the commands, links and decimal figures of a document."""
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL))
    commands = re.findall(r"^((?:make|emolib|echo) [^#\n]*[^#\s])", blocks, re.MULTILINE)
    links = re.findall(r"\]\((?!README)([^)#]+)\)", text)
    return set(commands), set(links), set(re.findall(r"\b\d+\.\d+\b", text))


def test_the_chinese_readme_says_the_same() -> None:
    assert said_by("README.zh-CN.md") == said_by("README.md")


async def _spoken_turn() -> dict[str, object]:
    async def line():
        yield TextInput("My train left without me.")

    found = engines(Replies("Oh no. I am sorry."), scores("sadness"), Spoken())
    (turn,) = await converse(found, line(), NullSink())
    return turn.as_dict()


def test_the_document_of_a_turn_lists_every_key_and_no_other() -> None:
    turn = asyncio.run(_spoken_turn())
    listed = re.findall(r"^\| `([a-z_]+)` \|", TURN.partition("## Keys")[2].partition("## Times")[0], re.MULTILINE)
    assert listed == list(turn)
    assert f"**`{SCHEMA}`**" in TURN
    stages = re.findall(r"^\| `([a-z_]+)` \|", TURN.partition("## Times")[2], re.MULTILINE)
    assert {span["stage"] for span in turn["spans"]} | turn["marks_ms"].keys() <= set(stages)


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_each_notebook_is_listed(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"(notebooks/{notebook.name})" in text
