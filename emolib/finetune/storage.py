"""A full disk during a training, said in one sentence instead of a traceback."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from emolib.files import storage_errors

__all__ = ["readable_failures"]

#: How torch and safetensors, which raise no OSError, say that a write failed.
_WRITE_FAILURES = ("PytorchStreamWriter", "No space left on device", "unexpected pos", "os error 28")


@contextlib.contextmanager
def readable_failures(folder: Path) -> Iterator[None]:
    """Turn every library's "no space left" into a StorageError that names `folder`."""
    with storage_errors(folder):
        try:
            yield
        except OSError:
            raise
        except Exception as error:
            if not any(sign in str(error) for sign in _WRITE_FAILURES):
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
