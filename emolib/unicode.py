"""Text that comes from files and pipes: its encoding, byte-order marks, and characters that were cut in half."""

from __future__ import annotations

import codecs

__all__ = ["BYTE_ORDER_MARK", "detect_encoding", "without_half_characters"]

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
    if odd > _MOSTLY * len(start) / 2 and not even:
        return "utf-16-le", 0
    if even > _MOSTLY * len(start) / 2 and not odd:
        return "utf-16-be", 0
    return "utf-8", 0


def without_half_characters(text: str) -> str:
    """Return `text` as valid Unicode: surrogate pairs are joined, and a lone surrogate (half an emoji) is removed."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return text
