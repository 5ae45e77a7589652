"""The live panel for notebooks."""

from __future__ import annotations

from emolib.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "LivePanel": "emolib.widgets.live",
    },
)
