"""Emotion of texts: one face over the adapter on torch, GGUF files on llama.cpp, and servers.

The names below are loaded when they are first used; importing this package costs no numpy.
"""

from __future__ import annotations

from emolib.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "BulkSummary": "emolib.classify.bulk",
        "EmotionClassifier": "emolib.classify.classifier",
        "classify_dataset": "emolib.classify.scale",
        "classify_file": "emolib.classify.bulk",
        "prediction": "emolib.classify.bulk",
    },
)
