"""A live panel on instant engines: what the page does is the same, and a kernel needs no weights for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from scripted_engines import Replies, ScriptedClassifier, ScriptedRecognizer, scores

from emolib.audio import AudioClip
from emolib.stack import Engines, Stack
from emolib.tts import SpeechRequest
from emolib.widgets import LivePanel

#: The cell that shows one.
INSTANT = "from instant_panel import instant_panel\n\npanel = instant_panel()\npanel"


class Hums:
    """Speaks a text as a tone of 0.3 s a word."""

    def synthesize(self, request: SpeechRequest) -> AudioClip:
        time_s = np.arange(round(0.3 * 22_050 * len(request.text.split()))) / 22_050
        return AudioClip((0.3 * np.sin(2 * np.pi * 220 * time_s)).astype(np.float32), 22_050)


def instant_panel(answer: str = "That is good news, and I am glad with you. " * 3) -> LivePanel:
    @contextmanager
    def engines(_stack: Stack) -> Iterator[Engines]:
        yield Engines(
            ScriptedRecognizer("I am so happy today."), ScriptedClassifier(scores("joy")), Replies(answer), Hums()
        )

    return LivePanel(engines=engines)
