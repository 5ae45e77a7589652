"""Names that PEFT looks for; no layer is ever one of them, see sitecustomize.py."""

from bitsandbytes import nn

__all__ = ["nn"]
