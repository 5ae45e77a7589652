"""Sentence encoders: a vector per text, from a frozen model, for the baselines of an evaluation.

The names below are loaded when they are first used; importing this package costs no torch.
"""

from __future__ import annotations

from emolib.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "DEFAULT_ENCODER": "emolib.encoder.transformers_encoder",
        "SentenceEncoder": "emolib.encoder.transformers_encoder",
        "TransformersEncoder": "emolib.encoder.transformers_encoder",
        "load_encoder": "emolib.encoder.transformers_encoder",
    },
)
