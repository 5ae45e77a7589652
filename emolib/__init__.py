"""emolib: teach a language model to hear emotion in words, measure it honestly, and talk to it.

The names below are loaded when they are first used, so that `import emolib` costs no torch:

    from emolib import EmotionClassifier
    EmotionClassifier.load("runs/demo/run").classify(["what a day"])[0].label
"""

from __future__ import annotations

from emolib.lazy import lazy_names

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "EMOTIONS": "emolib.emotions",
        "AudioClip": "emolib.audio",
        "EmolibError": "emolib.errors",
        "EmotionClassifier": "emolib.classify",
        "EmotionScores": "emolib.labels",
        "LabelSet": "emolib.labels",
        "RunFolder": "emolib.finetune",
        "SpeechRequest": "emolib.tts",
        "SpeechSynthesizer": "emolib.tts",
        "Stack": "emolib.stack",
        "Transcript": "emolib.speech",
        "TrainSettings": "emolib.finetune",
        "WhisperRecognizer": "emolib.speech",
        "clean_corpus": "emolib.data",
        "evaluate_run": "emolib.evaluate",
        "export_gguf": "emolib.export",
        "lesson": "emolib.demo",
        "open_stack": "emolib.stack",
        "plot_run": "emolib.plots",
        "read_audio": "emolib.audio",
        "sample_corpus": "emolib.data",
        "running_service": "emolib.tts",
        "talk": "emolib.dialogue",
        "train": "emolib.finetune",
        "write_wav": "emolib.audio",
    },
)
__all__ = [*__all__, "__version__"]
