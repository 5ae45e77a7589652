"""The live panel: sound from the page is heard, felt and answered with sound to the page, and nothing blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from dialogue_stages import Felt, Heard, Replies, Spoken, scores
from voices import silence, spoken

from emolib.dialogue import Stages
from emolib.speech import AudioClip, write_wav
from emolib.widgets.live import LivePanel
from emolib.widgets.speaker import BrowserSink


@contextmanager
def engines() -> Iterator[Stages]:
    yield Stages(Heard(), Felt(scores("joy")), Replies("All is well. Good."), Spoken(), "a test")


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[LivePanel]:
    panel = LivePanel(engines=engines, save_to=tmp_path / "turns.jsonl")
    panel.sent = []
    panel.widget.send = lambda content, buffers=None: panel.sent.append((content["kind"], buffers))
    yield panel
    panel.close()


def tell(panel: LivePanel, kind: str, *buffers: bytes) -> None:
    panel._on_message(panel.widget, {"kind": kind}, list(buffers))


def pcm(samples: np.ndarray) -> list[bytes]:
    data = (samples * 32767).astype("<i2")
    return [data[start : start + 512].tobytes() for start in range(0, len(data), 512)]


def eventually(holds: Callable[[], object], seconds: float = 20.0) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.02)
    return bool(holds())


def question() -> np.ndarray:
    clip = spoken().resample(16_000)
    return np.concatenate([silence(0.3), clip.samples, silence(1.5)])


def test_what_is_said_into_the_page_is_answered_in_the_page(panel: LivePanel):
    tell(panel, "talk")
    assert eventually(lambda: panel.widget.status.startswith("Listening"))
    for block in pcm(question()):
        tell(panel, "sound", block)
    assert eventually(lambda: panel.turns)
    assert panel.widget.history[0]["reply"] == "All is well. Good."
    assert panel.widget.emotions["joy"] == pytest.approx(0.9)
    assert "First sound after" in panel.widget.latency
    assert any(kind == "sound" for kind, _ in panel.sent)
    tell(panel, "save")
    assert panel.save_to.read_text().count("\n") == 1
    tell(panel, "clear")
    assert panel.widget.history == []


def test_an_uploaded_recording_is_answered(panel: LivePanel, tmp_path: Path):
    write_wav(tmp_path / "question.wav", AudioClip(question(), 16_000))
    tell(panel, "upload", (tmp_path / "question.wav").read_bytes())
    assert eventually(lambda: panel.turns)


def test_an_upload_that_is_no_recording_is_one_sentence(panel: LivePanel):
    tell(panel, "upload", b"this is no sound")
    assert "recording.wav" in panel.widget.status
    assert panel._thread is None


def test_calibration_measures_the_room(panel: LivePanel):
    tell(panel, "calibrate")
    noise = np.random.default_rng(0).normal(0, 0.01, 2 * 16_000 + 512).astype(np.float32)
    for block in pcm(noise):
        tell(panel, "sound", block)
    assert panel.widget.floor_dbfs == pytest.approx(-40, abs=1)
    assert "Press Talk" in panel.widget.status


def test_a_second_conversation_and_a_lost_microphone_are_told(panel: LivePanel):
    tell(panel, "talk")
    tell(panel, "talk")
    assert "press Stop first" in panel.widget.status
    assert eventually(lambda: panel._agent)
    tell(panel, "lost")
    assert eventually(lambda: not panel._thread.is_alive())


def test_a_page_that_was_reloaded_takes_the_conversation_over(panel: LivePanel):
    def say(kind: str, page: float) -> None:
        panel._on_message(panel.widget, {"kind": kind, "number": 0, "page": page}, [bytes(1024)])

    say("talk", 0.25)
    say("sound", 0.25)
    assert eventually(lambda: panel._agent)
    first = panel._thread
    say("talk", 0.75)
    say("sound", 0.75)
    say("sound", 0.25)  # two pages at once: the one where Talk was pressed last is heard
    assert panel._page == 0.75
    assert eventually(lambda: panel.widget.status.startswith("Listening"))
    assert panel._thread is not first
    assert not first.is_alive()


def test_talk_after_stop_waits_for_the_end_of_the_first_conversation(panel: LivePanel):
    tell(panel, "talk")
    assert eventually(lambda: panel._agent)
    tell(panel, "stop")
    tell(panel, "talk")
    assert "press Stop first" not in panel.widget.status
    assert eventually(lambda: panel.widget.status.startswith("Listening"))


def test_the_speaker_keeps_less_than_a_tenth_of_a_second_ahead_and_loses_no_sample():
    sent: list[int] = []
    left = [22_050]

    def pull(count: int) -> np.ndarray:
        count = min(count, left[0])
        left[0] -= count
        return np.zeros(count, np.float32)

    sink = BrowserSink(lambda data: sent.append(len(data) // 2))
    sink.start(pull)
    time.sleep(0.3)
    assert 0.25 * 22_050 < sum(sent) < 0.55 * 22_050
    assert eventually(lambda: sum(sent) == 22_050, 3)
    sink.close()


def test_a_silenced_speaker_sends_nothing_more_until_the_next_player():
    sent: list[int] = []
    sink = BrowserSink(lambda data: sent.append(len(data) // 2))
    sink.start(lambda count: np.zeros(count, np.float32))
    assert eventually(lambda: sent)
    sink.silence()
    before = len(sent)
    time.sleep(0.2)
    assert len(sent) == before
    sink.start(lambda count: np.zeros(count, np.float32))
    assert eventually(lambda: len(sent) > before)
    sink.close()
