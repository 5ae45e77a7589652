"""Which columns of a table hold the texts and the labels: by their names, or by what they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emolib.data.labels import is_label, is_numeric_label
from emolib.errors import InputError, UsageError
from emolib.labels import MOST_LABELS

__all__ = [
    "Columns",
    "find_columns",
    "find_columns_by_content",
    "find_label_columns",
    "find_text_column",
    "is_header",
    "is_switch",
    "switched_on",
]

_TEXT_NAMES = ("text", "sentence", "content", "utterance", "tweet", "comment", "document", "input")
_LABEL_NAMES = ("label", "emotion", "labels", "emotions", "class", "target", "category", "sentiment")
#: What numbers the rows, and is never taken for the label beside a text.
_INDEX_NAMES = ("", "id", "ids", "idx", "index", "line", "number", "no", "nr", "row", "unnamed: 0", "__index_level_0__")
#: What says that a text has a label or not, in a table with one column per label.
_SWITCHES = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
#: The share of labels that a column without a name needs to be the column of the labels.
_MOST = 0.8


@dataclass(frozen=True)
class Columns:
    """Which columns hold text and label; None finds them by their names."""

    text: str | None = None
    label: str | None = None


def is_header(names: Sequence[str], columns: Columns) -> bool:
    """Whether both a text column and a label column stand among `names`."""
    found = {name.strip().lower() for name in names}

    def named(wanted: str | None, known: Sequence[str]) -> bool:
        return not found.isdisjoint(known) if wanted is None else wanted.strip().lower() in found

    return named(columns.text, _TEXT_NAMES) and named(columns.label, _LABEL_NAMES)


def find_text_column(path: Path | str, header: Sequence[str], columns: Columns) -> int:
    """Return the place of the text under `header`; InputError if several could be meant or none."""
    names = [name.strip().lower() for name in header]
    found = _find_column(path, names, columns.text, _TEXT_NAMES, "--text-column")
    if found is None:
        raise InputError(f"{path} has no column for the text among {', '.join(header)}; name it with --text-column")
    return found


def find_columns(path: Path | str, header: Sequence[str], columns: Columns) -> tuple[int, int] | None:
    """Return the places of text and label under `header`, or None if it is no header but a row.

    InputError if one of them is missing or several could be meant, UsageError if a column of `columns` is absent.
    """
    names = [name.strip().lower() for name in header]
    text = _find_column(path, names, columns.text, _TEXT_NAMES, "--text-column")
    label = _find_column(path, names, columns.label, _LABEL_NAMES, "--label-column")
    if text is None and label is None:
        return None
    if text is None or label is None:
        what, option = ("text", "--text-column") if text is None else ("label", "--label-column")
        if len(names) == 2 and not set(names) & set(_INDEX_NAMES):
            return (1 - label, label) if text is None else (text, 1 - text)
        raise InputError(f"{path} has no column for the {what} among {', '.join(header)}; name it with {option}")
    return text, label


def find_label_columns(header: Sequence[str], rows: Sequence[Sequence[object]], columns: Columns) -> dict[int, str]:
    """Return the places and names of columns that are one label each: 1 if the text has it, else 0.

    There are none if a column is named as that of the labels, if no column is named as that of the texts, or if fewer
    than two columns hold nothing but 0 and 1.
    """
    names = [name.strip().lower() for name in header]
    text = columns.text.strip().lower() if columns.text else None
    texts = [name for name in names if (name == text if text else name in _TEXT_NAMES)]
    if columns.label is not None or not texts or not rows or set(names) & set(_LABEL_NAMES):
        return {}
    found = {
        place: header[place].strip()
        for place, name in enumerate(names)
        if name not in (*_INDEX_NAMES, *texts) and all(is_switch(row[place]) for row in rows if place < len(row))
    }
    return found if len(found) > 1 else {}


def is_switch(value: object) -> bool:
    """Return whether `value` is a 0 or a 1, as a number, a truth value or text."""
    return str(value).strip().lower() in _SWITCHES


def switched_on(row: Sequence[object], labels: Mapping[int, str]) -> str:
    """Return the labels of a row whose columns are 1, joined with commas."""
    return ",".join(name for place, name in labels.items() if _SWITCHES.get(str(row[place]).strip().lower()))


def find_columns_by_content(path: Path | str, rows: Sequence[Sequence[str]]) -> tuple[int, int]:
    """Return the places of text and label in `rows` without a header; the first two if the labels are unknown ones.

    The label column holds known labels, few different ones; an index is a column of many different numbers. The text
    column is the longest of the others. InputError if there is one column only.
    """
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    if width < 2:
        raise InputError(f"{path} has one column; a corpus has a text and a label in each row")
    columns = list(zip(*(row for row in rows if len(row) == width), strict=True))
    candidates = [place for place, column in enumerate(columns) if _share(is_label, column) >= _MOST]
    if not candidates:
        candidates = [place for place, column in enumerate(columns) if _repeats(column)]
    if not candidates or len(candidates) == width:
        return 0, 1
    label = min(candidates, key=lambda place: (_share(is_numeric_label, columns[place]), len(set(columns[place]))))
    others = [place for place in range(width) if place != label]
    return max(others, key=lambda place: sum(map(len, columns[place]))), label


def _repeats(column: Sequence[str]) -> bool:
    """Return whether a column holds few short values, again and again, as labels that nobody knows do."""
    values = set(column)
    return 2 * len(values) <= len(column) and len(values) <= MOST_LABELS and max(map(len, values)) <= 40


def _share(holds: object, column: Sequence[str]) -> float:
    return sum(map(holds, column)) / len(column)


def _find_column(
    path: Path | str, names: list[str], wanted: str | None, known: Sequence[str], option: str
) -> int | None:
    if wanted is not None:
        if wanted.strip().lower() not in names:
            raise UsageError(f"{path} has no column {wanted!r}; its columns are {', '.join(names)}")
        return names.index(wanted.strip().lower())
    found = [index for index, name in enumerate(names) if name in known]
    if len(found) > 1:
        options = " and ".join(names[index] for index in found)
        raise InputError(f"{path} has several columns that could be meant, {options}; choose one with {option}")
    return found[0] if found else None
