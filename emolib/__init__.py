"""emolib: teach a language model to hear emotion in words, measure it honestly, and talk to it.

The names below are loaded when they are first used, so that `import emolib` costs no torch:

    from emolib import EmotionClassifier
    EmotionClassifier.load("runs/demo/run").classify(["what a day"])[0].label
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "EMOTIONS": "emolib.emotions",
    "AudioClip": "emolib.speech",
    "EmolibError": "emolib.errors",
    "EmotionClassifier": "emolib.classify",
    "EmotionScores": "emolib.emotions",
    "RunFolder": "emolib.finetune",
    "SpeechRequest": "emolib.tts",
    "SpeechSynthesizer": "emolib.tts",
    "Transcript": "emolib.speech",
    "TrainSettings": "emolib.finetune",
    "WhisperRecognizer": "emolib.speech",
    "clean_corpus": "emolib.data",
    "evaluate_run": "emolib.evaluate",
    "export_gguf": "emolib.export",
    "plot_run": "emolib.plots",
    "read_audio": "emolib.speech",
    "sample_corpus": "emolib.data",
    "running_service": "emolib.tts",
    "talk": "emolib.dialogue",
    "train": "emolib.finetune",
    "write_wav": "emolib.speech",
}

__all__ = [*sorted(_HOME), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'emolib' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
