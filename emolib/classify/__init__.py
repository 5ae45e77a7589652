"""Emotion of texts: one face over the adapter on torch, GGUF files on llama.cpp, and servers."""

from __future__ import annotations

from emolib.classify.bulk import BulkSummary, classify_file, prediction
from emolib.classify.classifier import EmotionClassifier
from emolib.classify.scale import classify_dataset

__all__ = ["BulkSummary", "EmotionClassifier", "classify_dataset", "classify_file", "prediction"]
