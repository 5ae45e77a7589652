"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emolib.errors import InputError, StorageError

__all__ = [
    "atomic_path",
    "expand_user",
    "file_stem",
    "home_folder",
    "is_reserved_name",
    "looks_like_path",
    "refuse_workbook",
    "sha256",
    "storage_errors",
    "write_json",
    "write_text",
]

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
#: EINVAL is what Windows answers to a name that it does not allow.
_NO_PLACE = {
    errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL
}  # fmt: skip
_WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods", ".numbers")
#: A zip archive, as new workbooks are, and Microsoft's older container.
_WORKBOOK_STARTS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def home_folder() -> Path:
    """Return the home of the user, or if they have none (a container with any user id) a folder for temporary files."""
    try:
        home = Path.home()
    except RuntimeError:
        home = None
    if home is not None and os.access(home, os.W_OK):
        return home
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"emolib-home-{user}"


def expand_user(path: str | Path) -> Path:
    """Return `path` with the home folder for a leading ~; as it is if no such user is known."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def looks_like_path(name: str) -> bool:
    """Return whether `name` can only be a path, of this system or of Windows, and no name of a model hub."""
    return bool(re.match(r"[.~/\\]|[A-Za-z]:[/\\]", name)) or "\\" in name


def file_stem(name: str) -> str:
    """Return the last part of a path or hub id as a name for files on any system: `qwen3:8b` becomes `qwen3-8b`."""
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    return re.sub(r'[<>:"|?*]', "-", last)


def refuse_workbook(path: Path) -> None:
    """Raise InputError if `path` is a workbook of a spreadsheet, whatever its name says."""
    with path.open("rb") as file:
        start = file.read(8)
    if path.suffix.lower() in _WORKBOOKS or start in _WORKBOOK_STARTS or start[:4] in _WORKBOOK_STARTS:
        raise InputError(
            f"{path} is a workbook; save its sheet as CSV (in Excel: File, Save As, CSV UTF-8) and give that file, or"
            " give pandas.read_excel(…) to clean_corpus in Python"
        )


def is_reserved_name(name: str) -> bool:
    """Return whether Windows keeps the file name `name` for a device, such as `con` or `nul.txt`."""
    return bool(_RESERVED.fullmatch(name))


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn "no space" and "not writable" into a StorageError that names `path`."""
    try:
        yield
    except OSError as error:
        # polars raises OSError without a number, with the system's words alone.
        if error.errno in _NO_SPACE or (error.errno is None and "os error 28" in str(error)):
            raise StorageError(
                f"no space left on the disk that holds {path}; free some and run the same command again:"
                " what was finished before is kept"
            ) from error
        if error.errno in _NO_PLACE:
            raise _no_place(path, error) from error
        raise


def _no_place(path: Path, error: OSError) -> StorageError:
    # On Windows nobody replaces a file that a program such as Excel has open.
    held = "close the program that has it open, or " if sys.platform == "win32" and path.exists() else ""
    return StorageError(f"cannot write {path}: {error.strerror}; {held}choose another folder")


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it on success and removed on failure."""
    path = Path(path)
    with storage_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:
            # A file system that makes no folders, such as /proc.
            raise _no_place(path, error) from error
        temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 through a temporary name."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON through a temporary name."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
