"""Errors of a notebook's cells as one sentence that says what to do."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from emolib.errors import EmolibError

__all__ = ["explain_errors"]


def explain_errors() -> None:
    """Make the notebook show our errors, and names that no cell has set yet, as a sentence without a traceback.

    Outside of IPython it does nothing. The cell still counts as failed, so that "Run all" stops there.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        shell.set_custom_exc((EmolibError, NameError, ModuleNotFoundError), _explained)


def _explained(_: Any, kind: type[BaseException], error: BaseException, __: TracebackType, **___: Any) -> list[str]:
    if isinstance(error, EmolibError):
        text = str(error)
    elif isinstance(error, ModuleNotFoundError):
        text = f"The package {error.name} is not installed. Run the first cell of this notebook, then this one again."
    else:
        text = (
            f"{error}: a cell above this one has not run since the kernel started."
            " Choose Run > Run All Above Selected Cell (in Colab: Runtime > Run before), then run this one again."
        )
    print(text, file=sys.stderr)
    return [text]
