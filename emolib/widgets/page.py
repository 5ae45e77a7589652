"""The panel's page: its modules joined into the one that a widget takes, its style, and its texts in each language."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

__all__ = ["LANGUAGES", "join_modules", "page_module", "page_style", "text"]

#: In the order of the table's columns.
LANGUAGES = ("en", "zh")

_PAGE = Path(__file__).with_name("page")
_IMPORT = re.compile(
    r'^import (?P<names>\{[^}]*\}|\w+) from "\./(?P<file>[\w.]+)"(?: with \{ type: "json" \})?;\n', re.M
)
_EXPORT = re.compile(r"^export (?=const |function |async |class )", re.M)


@cache
def page_module() -> str:
    """Return the page's JavaScript as one ES module."""
    return join_modules(_PAGE / "panel.js")


@cache
def page_style() -> str:
    """Return the page's CSS."""
    return (_PAGE / "panel.css").read_text(encoding="utf-8")


def join_modules(entry: Path) -> str:
    """Return `entry` and every module that it imports from its folder as one module, each after those it needs.

    All share one scope, so no two may give the same name to something at their top level. A JSON file becomes a
    constant of the name that it is imported under.
    """
    joined: dict[str, str] = {}

    def add(name: str, imported_as: str) -> None:
        if name in joined:
            return
        source = (entry.parent / name).read_text(encoding="utf-8")
        if name.endswith(".json"):
            joined[name] = f"const {imported_as} = {source.strip()};\n"
            return
        for found in _IMPORT.finditer(source):
            add(found["file"], found["names"])
        joined[name] = _EXPORT.sub("", _IMPORT.sub("", source))

    add(entry.name, "")
    return "\n".join(joined.values())


def text(key: str, language: str, **values: object) -> str:
    """Return the text of `key` in `language` (one of LANGUAGES), each {name} in it replaced by that value."""
    found = _table()[key][LANGUAGES.index(language)]
    return re.sub(r"\{(\w+)\}", lambda name: str(values.get(name[1], name[0])), found)


@cache
def _table() -> dict[str, list[str]]:
    return json.loads((_PAGE / "texts.json").read_text(encoding="utf-8"))
