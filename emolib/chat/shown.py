"""The written exchanges that an adapter for replies is shown."""

from __future__ import annotations

from pathlib import Path

from emolib.emotion_model import find_adapter, read_adapter_notes
from emolib.errors import ModelError
from emolib.reply_examples import BUNDLED, ReplyExamples

__all__ = ["examples_shown_to"]


def examples_shown_to(adapter: str | Path) -> ReplyExamples | None:
    """The exchanges that an adapter was trained with, by `examples` in its emolib.json; None without.

    The file lies beside the adapter, or is one that emolib brings. ModelError if it is missing.
    """
    if str(adapter).lower().endswith(".gguf"):
        return None
    folder = find_adapter(adapter, task="chat").adapter
    name = read_adapter_notes(folder).get("examples") if folder else None
    if not folder or not name:
        return None
    file = next((place / name for place in (folder, BUNDLED) if (place / name).is_file()), None)
    if file is None:
        raise ModelError(f"the adapter {adapter} was trained with the examples {name}, which lie nowhere near it")
    return ReplyExamples.read(file)
