"""The repository's address, which stands in pyproject.toml and is stamped from there on whatever names it.

    python tools/address.py                  say which files disagree with pyproject.toml
    python tools/address.py OWNER/NAME       write this address into pyproject.toml, the notebooks and the README

It names the badges that open a notebook in Colab, the line with which a notebook fetches the package there, and the
pictures. `make address` writes the install cell (tools/install_cell.py) as well.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_SLUG = r"[\w.-]+/[\w.-]+"
_IN_PROJECT = re.compile(rf'(Repository = "https://github\.com/)({_SLUG})(?=")')
_STAMPED = re.compile(
    r"(colab\.research\.google\.com/github/|raw\.githubusercontent\.com/|clone[^\n]*?https://github\.com/)"
    rf"({_SLUG})"
)


def address(root: Path = ROOT) -> str:
    """OWNER/NAME as pyproject.toml has it."""
    found = _IN_PROJECT.search((root / "pyproject.toml").read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit('pyproject.toml has no line Repository = "https://github.com/OWNER/NAME" under [project.urls]')
    return found[2]


def disagreements(root: Path = ROOT) -> list[str]:
    """The files that name another address than pyproject.toml, with the address."""
    right = address(root)
    return [
        f"{path.relative_to(root)} names {found}"
        for path in _stamped_files(root)
        for found in sorted({slug for _, slug in _STAMPED.findall(path.read_text(encoding="utf-8"))})
        if found != right
    ]


def stamp(slug: str, root: Path = ROOT) -> None:
    """Write `slug` wherever the address stands."""
    if not re.fullmatch(_SLUG, slug):
        raise SystemExit(f"{slug!r} is no address; write it as OWNER/NAME")
    _rewrite(root / "pyproject.toml", _IN_PROJECT, slug)
    for path in _stamped_files(root):
        _rewrite(path, _STAMPED, slug)


def _stamped_files(root: Path) -> Iterator[Path]:
    yield from sorted(root.glob("README*.md"))
    yield from sorted((root / "notebooks").glob("*.ipynb"))


def _rewrite(path: Path, pattern: re.Pattern[str], slug: str) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(pattern.sub(rf"\g<1>{slug}", text), encoding="utf-8")


def main(arguments: list[str]) -> int:
    if arguments:
        stamp(arguments[0])
    found = disagreements()
    print("\n".join(found) or f"{address()} stands everywhere")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
