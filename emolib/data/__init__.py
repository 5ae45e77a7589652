"""The data room: reading, cleaning and splitting corpora, and the sample corpus."""

from __future__ import annotations

from emolib.data.clean import CleanReport, CleanSettings, clean_corpus
from emolib.data.corpus import Corpus, load_split
from emolib.data.sample import neutral_sentences, sample_corpus, sample_path

__all__ = [
    "CleanReport",
    "CleanSettings",
    "Corpus",
    "clean_corpus",
    "load_split",
    "neutral_sentences",
    "sample_corpus",
    "sample_path",
]
