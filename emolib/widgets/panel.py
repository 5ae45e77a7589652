"""A panel that takes a recording and plays the answer, beside what was heard and felt."""

from __future__ import annotations

import html
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.emotions import DEFAULT_EMOTION_MODEL, EMOTIONS
from emolib.errors import EmolibError, InputError, MissingDependency

if TYPE_CHECKING:
    from emolib.dialogue import Turn

__all__ = ["TalkPanel", "emotion_bars"]

_MAX_UPLOAD_BYTES = 50_000_000


class TalkPanel:
    """Upload a recording, press the button, hear the answer; the last line of a cell shows the panel.

    `emotion_model` is what `emolib talk --model` takes: a run folder, an adapter, or a bundled one.
    The work runs in a thread of its own, so that other cells can be run meanwhile; `wait()` waits for it.
    """

    def __init__(self, emotion_model: Path | str = DEFAULT_EMOTION_MODEL) -> None:
        widgets = _ipywidgets()
        self.emotion_model = emotion_model
        self.turn: Turn | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="emolib-panel-")
        self._thread: threading.Thread | None = None
        self._upload = widgets.FileUpload(accept=".wav,.flac,.mp3,.ogg", multiple=False, description="Recording")
        self._button = widgets.Button(description="Answer", button_style="primary", icon="comment")
        self._status = widgets.HTML("Choose a recording of a spoken sentence.")
        self._bars = widgets.HTML()
        self._words = widgets.HTML()
        self._sound = widgets.VBox()
        self._button.on_click(lambda _: self._answer_upload())
        controls = widgets.HBox([self._upload, self._button])
        self.widget = widgets.VBox([controls, self._status, self._words, self._bars, self._sound])

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)

    @property
    def status(self) -> str:
        """The line under the buttons, as HTML."""
        return self._status.value

    def answer(self, recording: Path | str) -> None:
        """Start answering a recording on disk, as if it had been uploaded."""
        if self._thread is not None and self._thread.is_alive():
            self._status.value = "Still answering the previous recording."
            return
        self._button.disabled = True
        self._status.value = "Listening, understanding, speaking …"
        self._thread = threading.Thread(target=self._work, args=(Path(recording),), daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> Turn | None:
        """Wait for the answer under way; its turn, or None where it failed (`status` says why)."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self.turn

    def _answer_upload(self) -> None:
        try:
            self.answer(self._save_upload())
        except EmolibError as error:
            self._status.value = html.escape(str(error))

    def _save_upload(self) -> Path:
        if not self._upload.value:
            raise InputError("choose a recording first: WAV, FLAC, MP3 or OGG")
        upload: Mapping[str, Any] = self._upload.value[0]
        if upload["size"] > _MAX_UPLOAD_BYTES:
            raise InputError(f"{upload['name']} has {upload['size'] / 1e6:.0f} MB; a recording may have 50 MB")
        path = Path(self._folder.name) / ("question" + Path(upload["name"]).suffix)
        path.write_bytes(bytes(upload["content"]))
        return path

    def _work(self, recording: Path) -> None:
        from emolib.dialogue import talk

        self.turn = None
        answer = Path(self._folder.name) / "answer.wav"
        try:
            turn = talk(recording, answer, emotion_model=self.emotion_model)
            self._show(turn.as_dict(), answer)
            self.turn = turn
        except EmolibError as error:
            self._status.value = html.escape(str(error))
        except Exception as error:
            # A thread has no caller to raise to: what is unexpected must still be seen.
            self._status.value = f"unexpected: {html.escape(repr(error))}"
            raise
        finally:
            self._button.disabled = False

    def _show(self, turn: Mapping[str, Any], answer: Path) -> None:
        heard, reply = html.escape(turn["transcript"]), html.escape(turn["reply"])
        self._words.value = f"<p><b>Transcribed:</b> {heard}</p><p><b>Reply:</b> {reply}</p>"
        self._bars.value = emotion_bars(turn["probabilities"])
        self._sound.children = [_ipywidgets().Audio.from_file(str(answer), autoplay=False, loop=False)]
        self._status.value = f"Felt: <b>{turn['emotion']}</b>"


def emotion_bars(probabilities: Mapping[str, float]) -> str:
    """The six probabilities as an HTML table of bars, readable without colour."""
    rows = "".join(
        f"<tr><td>{label}</td><td style='width:14em'><div style='background:#0072b2;height:.7em;"
        f"width:{probabilities[label]:.1%}'></div></td><td>{probabilities[label]:.0%}</td></tr>"
        for label in EMOTIONS
    )
    return f"<table>{rows}</table>"


def _ipywidgets() -> Any:
    try:
        import ipywidgets
    except ImportError as error:
        raise MissingDependency("ipywidgets", extra="notebooks") from error
    return ipywidgets
