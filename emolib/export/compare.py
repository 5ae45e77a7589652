"""The files of an export side by side, and the run on torch: how large, how right, how fast."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emolib.classify import EmotionClassifier
from emolib.classify.packed_linear import pack_linears
from emolib.data import Corpus, load_split, sample_corpus
from emolib.errors import DeviceError
from emolib.export.loading import classifier_of, load_run, load_where_it_fits, weights_of
from emolib.export.manifest import ExportedFile, Manifest
from emolib.llama.server import thread_budget
from emolib.tables import Table

__all__ = ["FileComparison", "FileRow", "compare_files"]


@dataclass(frozen=True)
class FileRow:
    """One way to run the model: megabytes, bits a weight, shares of texts in [0, 1], and texts a second."""

    name: str
    megabytes: float
    bits: float
    accuracy: float
    same_label: float
    texts_per_second: float


@dataclass(frozen=True)
class FileComparison:
    """The ways to run a model on the same `texts` texts, the first of them the reference."""

    rows: tuple[FileRow, ...]
    texts: int

    def table(self) -> Table:
        """Return the rows as a table for people."""
        header = ["runs as", "MB", "bits a weight", "right", f"same label as {self.rows[0].name}", "texts a second"]
        return Table(header, [self._cells(row) for row in self.rows])

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return the rows for a chart."""
        return [asdict(row) for row in self.rows]

    def _cells(self, row: FileRow) -> list[str]:
        right, same = (f"{round(share * self.texts)} of {self.texts}" for share in (row.accuracy, row.same_label))
        return [row.name, f"{row.megabytes:.0f}", f"{row.bits:.1f}", right, same, f"{row.texts_per_second:.0f}"]


def compare_files(
    run: str | Path, out: str | Path, data: str | Path | Corpus | None = None, *, texts: int = 120
) -> FileComparison:
    """Classify the first `texts` texts of `data` (default: the sample corpus) with each file of the export in `out`.

    The reference is `run` on torch, or the first file where no memory here holds the run. Speed is that of this
    machine at this moment, after a warm-up; torch gets as many threads as llama.cpp.
    """
    corpus = sample_corpus("test") if data is None else load_split(data, "test", labels=load_run(run).source.labels)
    rows, gold = list(corpus.texts[:texts]), list(corpus.labels[:texts])
    loaded = load_run(run)
    weights = weights_of(loaded)
    measured: list[tuple[str, float, list[str], float]] = []
    try:
        on_torch = load_where_it_fits(loaded.source, weights)
        form = "float32" if on_torch.model.device.type == "cpu" else "4 bits" if loaded.source.in_4_bits else "float16"
        size = on_torch.model.get_memory_footprint()
        merged = on_torch.merged()
        pack_linears(merged.model)
        with _threads(thread_budget()):
            measured.append((f"torch, {form}", size, *_timed(classifier_of(merged), rows)))
        del on_torch, merged
    except DeviceError:
        pass
    for entry in _models(Manifest.read(Path(out)).files):
        found = _timed(EmotionClassifier.load(Path(out) / entry.file), rows)
        measured.append((f"GGUF {entry.type}", entry.bytes, *found))
    reference = measured[0][2]
    return FileComparison(
        tuple(
            FileRow(name, size / 1e6, 8 * size / weights, _share(found, gold), _share(found, reference), speed)
            for name, size, found, speed in measured
        ),
        len(rows),
    )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Give torch `count` threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _models(files: Sequence[ExportedFile]) -> list[ExportedFile]:
    """The files that are a whole model, the largest first."""
    return sorted((entry for entry in files if entry.kind == "merged"), key=lambda entry: -entry.bytes)


def _timed(classifier: EmotionClassifier, texts: list[str]) -> tuple[list[str], float]:
    """The labels of `texts`, and texts a second."""
    classifier.classify(texts[:8])
    started = time.perf_counter()
    found = [scores.label for scores in classifier.classify(texts)]
    return found, len(texts) / (time.perf_counter() - started)


def _share(found: Sequence[str], wanted: Sequence[str]) -> float:
    return float(np.mean([one == other for one, other in zip(found, wanted, strict=True)]))
