"""A stand-in for Unsloth 2026.10.9, with the signatures of the real one, on transformers and PEFT."""

import os
import sys

if "transformers" in sys.modules and not os.environ.get("UNSLOTH_STAND_IN_ANY_ORDER"):
    raise ImportError("transformers was imported before unsloth, which then cannot change it")

from unsloth.loader import FastLanguageModel

__all__ = ["FastLanguageModel"]
