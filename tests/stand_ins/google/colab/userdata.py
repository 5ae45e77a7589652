"""Colab's secrets: those of the environment variables COLAB_SECRET_NAME."""

import os


class SecretNotFoundError(Exception):
    """There is no secret of that name."""


class NotebookAccessError(Exception):
    """The notebook was not allowed to read the secret."""


def get(key: str) -> str:
    if f"COLAB_SECRET_{key}" not in os.environ:
        raise SecretNotFoundError(f"Secret {key} does not exist.")
    return os.environ[f"COLAB_SECRET_{key}"]
