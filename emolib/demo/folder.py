"""Where the demo keeps what it makes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["DemoFolder"]


@dataclass(frozen=True)
class DemoFolder:
    """Where each step of the demo leaves its result."""

    path: Path

    @property
    def corpus(self) -> Path:
        return self.path / "corpus"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def metrics(self) -> Path:
        return self.run / "metrics.json"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def gguf(self) -> Path:
        return self.path / "gguf"

    @property
    def question(self) -> Path:
        return self.path / "question.wav"

    @property
    def answer(self) -> Path:
        return self.path / "answer.wav"

    def tone(self, emotion: str) -> Path:
        """The answer to a line that was taken for `emotion`."""
        return self.path / f"answer_{emotion}.wav"

    @property
    def ready_made(self) -> Path:
        return self.path / "ready_made.json"

    @property
    def comparison(self) -> Path:
        return self.path / "comparison.json"

    @property
    def times(self) -> Path:
        return self.path / "times.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def read(self, path: Path) -> Any:
        """The content of one of the JSON files."""
        return json.loads(path.read_text(encoding="utf-8"))

    def seconds(self) -> dict[str, float]:
        """How long each finished step took, by its name."""
        return self.read(self.times) if self.times.exists() else {}
