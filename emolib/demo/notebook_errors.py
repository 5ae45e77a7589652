"""Errors in a notebook as a sentence that says what to do."""

from __future__ import annotations

import errno
import sys
from types import TracebackType
from typing import Any

from emolib.errors import EmolibError

__all__ = ["advice", "say_what_to_do"]

_AGAIN = "Run the cells from the top (Run > Run All Above Selected Cell); what has finished is not run again."


def say_what_to_do() -> None:
    """Have IPython show the errors that a reader can meet as one sentence; outside of a notebook do nothing."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        shell.set_custom_exc((EmolibError, NameError, OSError), _show)


def advice(error: BaseException) -> str | None:
    """Return the sentence for `error`, or None if its traceback says more."""
    if isinstance(error, EmolibError):
        return str(error)
    if isinstance(error, NameError) and error.name:
        return f"{error.name!r} is not known yet: a cell above was not run, or the kernel was restarted. {_AGAIN}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full. Delete what is not needed (old folders in ../runs, for instance). {_AGAIN}"
    return None


def _show(
    shell: Any, kind: type[BaseException], error: BaseException, trace: TracebackType, tb_offset: int | None = None
) -> list[str] | None:
    sentence = advice(error)
    if sentence is None:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
        return None
    # The shell's own way of showing: the cell still counts as failed, and "run all" stops here.
    shell._showtraceback(kind, error, [f"{kind.__name__}: {sentence}"])
    return None
