"""The sample corpus: sentences written for this project, which ship with it (Apache-2.0)."""

from __future__ import annotations

from pathlib import Path

from emolib.data.corpus import Corpus, load_split
from emolib.errors import UsageError

__all__ = ["neutral_sentences", "sample_corpus", "sample_path"]

_FOLDER = Path(__file__).parent / "sample"


def sample_path(split: str = "train") -> Path:
    """The file of the split "train", "test" or "more": a header, then `text<TAB>label` a line.

    "more" is twice as much of the same kind, for whoever can train for longer than the demo does.
    """
    path = _FOLDER / f"{split}.tsv"
    if not path.is_file():
        raise UsageError(f"the sample corpus has no split {split!r}; it has train, test and more")
    return path


def sample_corpus(split: str = "train") -> Corpus:
    """The split "train", "test" or "more" of the sample corpus."""
    return load_split(sample_path(split))


def neutral_sentences() -> list[str]:
    """Sentences without emotion, for checking that a classifier abstains."""
    return (_FOLDER / "neutral.txt").read_text(encoding="utf-8").splitlines()
