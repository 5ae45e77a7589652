"""A Modelfile for Ollama: by itself it would put the chat template around a text, and the answer is no label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emolib.export.manifest import ExportedFile
from emolib.files import write_text

if TYPE_CHECKING:
    from emolib.emotion_model import EmotionModel

__all__ = ["write_modelfiles"]

#: The longest label is one to three tokens.
_LABEL_TOKENS = 8


def write_modelfiles(files: Sequence[ExportedFile], folder: Path, loaded: EmotionModel) -> list[Path]:
    """Write NAME.Modelfile beside each model file in `folder`, and return their paths."""
    adapter = next((entry.file for entry in files if entry.kind == "adapter"), None)
    written = []
    for entry in files:
        if entry.kind == "adapter":
            continue
        stem = Path(entry.file).stem
        path = folder / f"{stem}.Modelfile"
        name = stem if entry.kind == "merged" else f"{stem}-emotion"
        write_text(path, _modelfile(name, path.name, entry.file, adapter if entry.kind == "base" else None, loaded))
        written.append(path)
    return written


def _modelfile(name: str, file: str, model: str, adapter: str | None, loaded: EmotionModel) -> str:
    prompt = loaded.source.prompt
    end = loaded.tokenizer.convert_ids_to_tokens(loaded.encoder.end_id)
    lines = [
        f"# ollama create {name} -f {file}",
        f'# ollama run {name} "nobody came to the station"',
        f"FROM ./{model}",
        *([f"ADAPTER ./{adapter}"] if adapter else []),
        f'TEMPLATE """{_go(prompt.prefix)}{{{{ .Prompt }}}}{_go(prompt.bridge)}"""',
        "PARAMETER temperature 0",
        f"PARAMETER num_predict {_LABEL_TOKENS}",
        f"PARAMETER num_ctx {loaded.encoder.max_length}",
        f'PARAMETER stop "{end}"',
        r'PARAMETER stop "\n"',
    ]
    return "\n".join(lines) + "\n"


def _go(text: str) -> str:
    """Return `text` so that Go's templates write it as it is."""
    return text.replace("{{", '{{ "{{" }}').replace('"""', '{{ "\\"\\"\\"" }}')
