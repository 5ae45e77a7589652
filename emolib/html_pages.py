"""Pages for people: one HTML file each, rendered from a template, with its pictures and sounds inside."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.files import write_text

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Picture", "data_url", "write_page"]


@dataclass(frozen=True)
class Picture:
    """A figure of a page: its title for those who cannot see it, and its PNG as a data URL."""

    title: str
    url: str


def data_url(data: bytes, kind: str) -> str:
    """Return bytes of the media type `kind` as a URL that needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def write_page(template: str, path: Path, **content: Any) -> None:
    """Render a template of `emolib/templates` with `content`, escaped, to `path`."""
    write_text(path, _environment().get_template(template).render(content))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("emolib"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["thousands"] = "{:,}".format
    return environment
