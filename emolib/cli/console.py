"""What commands write: results on standard output, progress on standard error."""

from __future__ import annotations

import codecs
import io
import json
import sys
from typing import Any, TextIO

__all__ = ["prepare_streams", "print_json", "say"]


def prepare_streams() -> None:
    """Write each line when it is printed, and replace characters that the console's code page lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors=None if _is_utf8(stream) else "replace")


def say(stage: str) -> None:
    """Print progress on standard error, so that standard output holds the result alone."""
    print(f"  {stage} …", file=sys.stderr, flush=True)


def print_json(value: Any, indent: int | None = 2) -> None:
    """Print `value` as JSON, escaped where standard output is not UTF-8, so that no character is lost."""
    print(json.dumps(value, indent=indent, ensure_ascii=not _is_utf8(sys.stdout)))


def _is_utf8(stream: TextIO) -> bool:
    # A stream of a test or a notebook may have no encoding: it takes any character.
    return not stream.encoding or codecs.lookup(stream.encoding).name == "utf-8"
