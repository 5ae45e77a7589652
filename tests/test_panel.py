"""The panel answers a recording in the background, and says in one line what is wrong with a bad one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from emolib import dialogue
from emolib.audio import AudioClip, write_wav
from emolib.emotions import EMOTIONS
from emolib.errors import InputError
from emolib.widgets import TalkPanel
from emolib.widgets.panel import emotion_bars

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Answered:
    """What `talk` returns, as far as the panel reads it."""

    def as_dict(self) -> dict:
        return {
            "transcript": "is it <safe>?",
            "reply": "it is",
            "emotion": "fear",
            "probabilities": {label: 0.5 if label == "fear" else 0.1 for label in EMOTIONS},
        }


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the panel is tested here; what `talk` does has tests of its own."""
    import numpy as np

    def answer(question: Path, answer: Path, emotion_model: object = None) -> Answered:
        write_wav(answer, AudioClip(np.zeros(1600, dtype=np.float32), 16_000))
        return Answered()

    monkeypatch.setattr(dialogue, "talk", answer)


def test_an_answer_shows_words_bars_and_sound(talk: None, tmp_path: Path) -> None:
    panel = TalkPanel()
    panel.answer(tmp_path / "question.wav")
    assert isinstance(panel.wait(10), Answered)
    assert "fear" in panel.status
    assert "is it &lt;safe&gt;?" in panel._words.value
    assert len(panel._sound.children) == 1
    assert not panel._button.disabled


def test_a_bad_recording_is_one_sentence_and_the_panel_goes_on(tmp_path: Path) -> None:
    panel = TalkPanel()
    panel.answer(tmp_path / "absent.wav")
    assert panel.wait(60) is None
    assert "absent.wav" in panel.status
    assert not panel._button.disabled


def test_the_button_without_a_recording_says_what_to_do() -> None:
    panel = TalkPanel()
    panel._button.click()
    assert "choose a recording first" in panel.status


def test_an_upload_that_is_too_large_is_refused() -> None:
    panel = TalkPanel()
    panel._upload.value = ({"name": "long.wav", "size": 200_000_000, "content": b"", "type": "", "last_modified": NOW},)
    with pytest.raises(InputError, match=r"long\.wav has 200 MB; a recording may have 50 MB"):
        panel._save_upload()


def test_every_emotion_has_a_bar_that_can_be_read_without_colour() -> None:
    bars = emotion_bars(dict.fromkeys(EMOTIONS, 1 / 6))
    assert all(label in bars for label in EMOTIONS)
    assert bars.count("17%") == len(EMOTIONS)
