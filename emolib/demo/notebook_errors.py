"""Errors in a notebook as a sentence that says what to do."""

from __future__ import annotations

import errno
import sys
from types import TracebackType
from typing import Any

from emolib.errors import EmolibError

__all__ = ["advice", "explain_errors"]

_AGAIN = "Run the cells from the top (Run > Run All Above Selected Cell); what has finished is not run again."


def explain_errors() -> None:
    """Have IPython show the errors that a reader can meet as one sentence; outside of a notebook do nothing.

    The cell still counts as failed, so that "Run all" stops there.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        shell.set_custom_exc((EmolibError, NameError, ModuleNotFoundError, OSError), _show)


def advice(error: BaseException) -> str | None:
    """Return the sentence for `error`, or None if its traceback says more."""
    if isinstance(error, EmolibError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return f"The package {error.name} is not installed. Run the first cell of this notebook, then this one again."
    if isinstance(error, NameError):
        name = repr(error.name) if error.name else "A name"
        return f"{name} is not known yet: a cell above was not run, or the kernel was restarted. {_AGAIN}"
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
    # The shell's own way of showing, which keeps the cell marked as failed.
    shell._showtraceback(kind, error, [f"{kind.__name__}: {sentence}"])
    return None
