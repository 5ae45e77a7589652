"""What kernel and page of the live panel have in common: the traits that both see, and the files of the page."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from emolib.emotions import EMOTIONS
from emolib.errors import MissingDependency

__all__ = ["new_view"]

#: A notebook server closes connections whose messages pass 10 MiB.
_UPLOAD_LIMIT = 8_000_000


def new_view() -> Any:
    """The anywidget of a panel. MissingDependency if anywidget is not installed."""
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise MissingDependency("anywidget", extra="notebooks") from error

    class LiveView(anywidget.AnyWidget):
        _esm = Path(__file__).with_name("live.js")
        _css = Path(__file__).with_name("live.css")
        #: Tells panels apart, those of other kernels too.
        panel = traitlets.Unicode().tag(sync=True)
        status = traitlets.Unicode("Press Calibrate, then Talk.").tag(sync=True)
        talking = traitlets.Bool(False).tag(sync=True)
        partial = traitlets.Unicode().tag(sync=True)
        reply = traitlets.Unicode().tag(sync=True)
        spoken = traitlets.Unicode().tag(sync=True)
        latency = traitlets.Unicode().tag(sync=True)
        waterfall = traitlets.List().tag(sync=True)
        first_sound_ms = traitlets.Int(0).tag(sync=True)
        delays = traitlets.Dict().tag(sync=True)
        emotions = traitlets.Dict(dict.fromkeys(EMOTIONS, 0.0)).tag(sync=True)
        felt = traitlets.Unicode().tag(sync=True)
        history = traitlets.List().tag(sync=True)
        floor_dbfs = traitlets.Float(-60.0).tag(sync=True)
        level_dbfs = traitlets.Float(-100.0).tag(sync=True)
        sample_rate = traitlets.Int(22_050).tag(sync=True)
        upload_limit = traitlets.Int(_UPLOAD_LIMIT).tag(sync=True)
        options = traitlets.Dict().tag(sync=True)
        chosen = traitlets.Dict().tag(sync=True)

        def __repr__(self) -> str:
            # What a notebook keeps for a reader without widgets.
            return "LivePanel"

    return LiveView(panel=uuid.uuid4().hex)
