"""Classes of layers."""


class Linear4bit:
    """Weights in 4 bits."""


class Linear8bitLt:
    """Weights in 8 bits."""
