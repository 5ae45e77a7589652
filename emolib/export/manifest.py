"""What an export folder holds and how it was made: manifest.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emolib.errors import InputError
from emolib.files import sha256, write_json
from emolib.llama.gguf import read_header
from emolib.tables import Table, percent

__all__ = ["ExportedFile", "Manifest"]


@dataclass(frozen=True)
class ExportedFile:
    """One GGUF file: `kind` is merged, base or adapter; `type` the quantisation that was asked for.

    `tensor_types` counts the tensors of each real type: rows that a k-quant does not fit fall back to others.
    `verified` is what a comparison with torch found, where one was made (`emolib.export.verify`).
    """

    file: str
    kind: str
    type: str
    tensor_types: Mapping[str, int]
    bytes: int
    sha256: str
    verified: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, path: Path, kind: str, quantisation: str) -> ExportedFile:
        """The entry of the file `path`."""
        types = dict(read_header(path).tensor_types)
        return cls(path.name, kind, quantisation, types, path.stat().st_size, sha256(path))

    def as_dict(self) -> dict[str, Any]:
        """For manifest.json."""
        entry = {
            "file": self.file,
            "kind": self.kind,
            "type": self.type,
            "tensor_types": dict(self.tensor_types),
            "bytes": self.bytes,
            "sha256": self.sha256,
        }
        return entry if self.verified is None else {**entry, "verified": dict(self.verified)}


@dataclass(frozen=True)
class Manifest:
    """The files of an export, and the model that they hold.

    `model` has the base model, prompt, template, chat template, end token, labels, temperature and what the files
    were made with.
    """

    files: tuple[ExportedFile, ...]
    model: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of the export in `folder`."""
        path = folder / "manifest.json"
        if not path.is_file():
            raise InputError(f"{folder} has no manifest.json; make one with: emolib export RUN --out {folder}")
        content = json.loads(path.read_text(encoding="utf-8"))
        files = tuple(ExportedFile(**entry) for entry in content.pop("files"))
        return cls(files, content)

    def as_dict(self) -> dict[str, Any]:
        """For manifest.json."""
        return {"files": [entry.as_dict() for entry in self.files], **self.model}

    def write(self, folder: Path) -> None:
        """Write manifest.json into `folder`."""
        write_json(folder / "manifest.json", self.as_dict())

    def joined(self, older: Manifest) -> Manifest:
        """This manifest with those files of an `older` one that it does not replace, where the model is the same."""
        if older.model.get("adapter_sha256") != self.model.get("adapter_sha256"):
            return self
        names = {entry.file for entry in self.files}
        return replace(self, files=(*(entry for entry in older.files if entry.file not in names), *self.files))

    def table(self) -> str:
        """The files as a Markdown table, with what the verification found."""
        return repr(self.as_table())

    def as_table(self) -> Table:
        """The same as a table that a notebook renders."""
        header = ["file", "kind", "type", "MB", "tensor types"]
        checked = any(entry.verified for entry in self.files)
        rows = [[*self._cells(entry), *(self._found(entry) if checked else [])] for entry in self.files]
        return Table([*header, *(["same label", "max difference"] if checked else [])], rows)

    @staticmethod
    def _cells(entry: ExportedFile) -> list[str]:
        mix = ", ".join(f"{count} {name}" for name, count in entry.tensor_types.items())
        return [entry.file, entry.kind, entry.type, f"{entry.bytes / 1e6:.1f}", mix]

    @staticmethod
    def _found(entry: ExportedFile) -> list[str]:
        if not entry.verified:
            return ["", ""]
        return [percent(entry.verified["agreement"]), f"{entry.verified['largest_difference']:.3f} nats"]
