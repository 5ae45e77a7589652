"""The exceptions of emolib.

    EmolibError            exit code 1: the work was asked for correctly and could not be done
    ├── InputError         a file, row, sound or text that cannot be used
    │   └── UsageError     exit code 2: an option, a name or a path that makes no sense
    ├── ModelError         weights, an adapter or a tokenizer that cannot be loaded or do not fit
    ├── MissingDependency  a package or a system library is not installed
    ├── DeviceError        a microphone, a loudspeaker or a GPU is absent or stopped
    ├── ServiceError       a server (speech, replies) did not answer or refused
    └── StorageError       no space left, or a path that cannot be written

A message says what was wrong, where, and what to do next, in one or two sentences: the command
line prints it as it is, with no traceback.
"""

from __future__ import annotations

__all__ = [
    "DeviceError",
    "EmolibError",
    "InputError",
    "MissingDependency",
    "ModelError",
    "ServiceError",
    "StorageError",
    "UsageError",
]


class EmolibError(Exception):
    """Root of every error that emolib raises on purpose."""

    exit_code = 1


class InputError(EmolibError):
    """A file, row, sound or text that cannot be used."""


class UsageError(InputError):
    """An option, a name or a path that makes no sense, before any work was done."""

    exit_code = 2


class ModelError(EmolibError):
    """Weights, an adapter or a tokenizer that cannot be loaded or do not fit each other."""


class DeviceError(EmolibError):
    """A microphone, a loudspeaker or a GPU that is absent or stopped."""


class ServiceError(EmolibError):
    """A server that did not answer, or refused."""


class StorageError(EmolibError):
    """No space left on a disk, or a path that cannot be written."""


class MissingDependency(EmolibError):
    """A package or a system library that is needed here is not installed.

    `extra` is the name of the pip extra that brings the package, `system` the Debian package,
    `command` the exact line that installs it where neither says enough.
    """

    def __init__(
        self, what: str, *, extra: str | None = None, system: str | None = None, command: str | None = None
    ) -> None:
        self.extra = extra
        self.system = system
        if command or system:
            hint = f"install it with: {command or f'apt-get install {system}'}"
        else:
            hint = f"install it with: pip install 'emolib[{extra}]'" if extra else "install it with pip"
        super().__init__(f"{what} is not installed; {hint}")
