"""Text that comes from files and pipes: its encoding, byte-order marks, and characters that were cut in half."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator
from typing import IO

__all__ = [
    "BYTE_ORDER_MARK",
    "decoded_lines",
    "detect_encoding",
    "text_lines",
    "without_half_characters",
]

BYTE_ORDER_MARK = "\ufeff"

#: UTF-32 before UTF-16: the mark of UTF-32-LE begins with that of UTF-16-LE.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: In Latin text at least so many of UTF-16's high bytes are zero.
_MOSTLY = 0.4


def detect_encoding(start: bytes) -> tuple[str, int]:
    """Return the Unicode encoding of a file that begins with `start`, and how many bytes its byte-order mark takes.

    UTF-16 without a mark is found by the zero bytes of its Latin letters. Everything else counts as UTF-8.
    """
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding, len(mark)
    even, odd = start[0::2].count(0), start[1::2].count(0)
    if odd > _MOSTLY * len(start) / 2 and not even and _is_text(start, "utf-16-le"):
        return "utf-16-le", 0
    if even > _MOSTLY * len(start) / 2 and not odd and _is_text(start, "utf-16-be"):
        return "utf-16-be", 0
    return "utf-8", 0


def _is_text(start: bytes, encoding: str) -> bool:
    """Whether no control character is in `start`: small numbers in a binary file have zero bytes too."""
    return not any(letter < " " and letter not in "\t\r\n" for letter in start.decode(encoding, "replace"))


def without_half_characters(text: str) -> str:
    """Return `text` as valid Unicode: surrogate pairs are joined, and a lone surrogate (half an emoji) is removed."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return text


def decoded_lines(file: IO[bytes]) -> Iterator[str | bytes]:
    """Yield the lines of a file in UTF-8 or UTF-16, each as soon as it is there.

    They have no byte-order mark and no line break. A line that is not UTF-8 is yielded as the bytes that it is.
    """
    file = file if hasattr(file, "peek") else io.BufferedReader(file)
    encoding, mark = detect_encoding(file.peek(4)[:4096])
    file.read(mark)
    if encoding != "utf-8":
        for line in io.TextIOWrapper(file, encoding=encoding, errors="replace", newline="\n"):
            yield line.rstrip("\r\n")
        return
    for raw in file:
        try:
            yield raw.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            yield raw.rstrip(b"\r\n")


def text_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield `lines` without line breaks and byte-order mark.

    Of a text stream over bytes, such as `sys.stdin`, the bytes are read as UTF-8 or UTF-16, whatever the code page of
    the console is; a line that is neither is decoded by that code page.
    """
    file = getattr(lines, "buffer", None)
    if file is None:
        for number, line in enumerate(lines):
            yield (line if number else line.removeprefix(BYTE_ORDER_MARK)).rstrip("\r\n")
        return
    encoding = getattr(lines, "encoding", None) or "utf-8"
    for line in decoded_lines(file):
        yield line if isinstance(line, str) else line.decode(encoding, "replace")
