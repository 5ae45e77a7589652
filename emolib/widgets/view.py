"""What kernel and page of the live panel have in common: the traits that both see, and what is said in the page."""

from __future__ import annotations

import uuid
from typing import Any

from emolib.emotions import EMOTIONS
from emolib.errors import MissingDependency
from emolib.widgets.page import LANGUAGES, page_module, page_style, text

__all__ = ["new_view"]

#: A notebook server closes connections whose messages pass 10 MiB.
_UPLOAD_LIMIT = 8_000_000
#: What the face shows beside a status; any other leaves it as it is.
_PHASES = {
    "loading": "loading", "listening": "listening", "hearing": "hearing", "thinking": "thinking",
    "speaking": "speaking", "ended": "idle", "taken": "idle", "microphone_lost": "idle", "unexpected": "idle",
}  # fmt: skip


def new_view() -> Any:
    """The anywidget of a panel. MissingDependency if anywidget is not installed."""
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise MissingDependency("anywidget", extra="notebooks") from error

    class LiveView(anywidget.AnyWidget):
        _esm = page_module()
        _css = page_style()
        #: Tells panels apart, those of other kernels too.
        panel = traitlets.Unicode().tag(sync=True)
        #: The page's, in which `status` is written.
        language = traitlets.Enum(LANGUAGES, "en").tag(sync=True)
        status = traitlets.Unicode(text("ready", "en")).tag(sync=True)
        trouble = traitlets.Bool(False).tag(sync=True)
        phase = traitlets.Unicode("idle").tag(sync=True)
        talking = traitlets.Bool(False).tag(sync=True)
        partial = traitlets.Unicode().tag(sync=True)
        reply = traitlets.Unicode().tag(sync=True)
        spoken = traitlets.Unicode().tag(sync=True)
        waterfall = traitlets.List().tag(sync=True)
        first_sound_ms = traitlets.Int(0).tag(sync=True)
        delays = traitlets.Dict().tag(sync=True)
        emotions = traitlets.Dict(dict.fromkeys(EMOTIONS, 0.0)).tag(sync=True)
        felt = traitlets.Dict().tag(sync=True)
        history = traitlets.List().tag(sync=True)
        floor_dbfs = traitlets.Float(-60.0).tag(sync=True)
        level_dbfs = traitlets.Float(-100.0).tag(sync=True)
        sample_rate = traitlets.Int(22_050).tag(sync=True)
        upload_limit = traitlets.Int(_UPLOAD_LIMIT).tag(sync=True)
        options = traitlets.Dict().tag(sync=True)
        chosen = traitlets.Dict().tag(sync=True)
        _said: tuple[str, dict[str, Any]] | None = ("ready", {})

        def say(self, key: str, *, trouble: bool = False, **values: Any) -> None:
            """Show a text of the table, in the page's language, and the phase that it stands for."""
            self._said = (key, values)
            with self.hold_sync():
                self.status, self.trouble = text(key, self.language, **values), trouble
                self.phase = _PHASES.get(key, self.phase)

        def complain(self, error: Exception) -> None:
            """Show what went wrong, as the error says it."""
            self._said = None
            with self.hold_sync():
                self.status, self.trouble = f"{error}", True

        @traitlets.observe("language")
        def _say_again(self, _change: Any) -> None:
            if self._said:
                key, values = self._said
                self.say(key, trouble=self.trouble, **values)

        def __repr__(self) -> str:
            # What a notebook keeps for a reader without widgets.
            return "LivePanel"

    return LiveView(panel=uuid.uuid4().hex)
