"""A live conversation on recordings in real time: real endpoints and a real player, engines that answer at once."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from dialogue_stages import Replies, ScriptedClassifier, ScriptedRecognizer, Spoken, scores
from voices import silence, spoken

from emolib.audio import AudioClip, read_audio, write_wav
from emolib.cli import main
from emolib.dialogue import AgentTurn, Distress, History, Stages, Trace, Voice
from emolib.dialogue.live import latency_table


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "question.wav"
    clip = spoken()
    write_wav(path, AudioClip(np.concatenate([silence(0.3), clip.samples]), clip.sample_rate))
    return path


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """`emolib talk` on engines that answer at once."""
    stages = Stages(
        ScriptedRecognizer(), ScriptedClassifier(scores("joy")), Replies("All is well. Good."), Spoken(), "a test"
    )
    monkeypatch.setattr("emolib.dialogue.live.open_stages", lambda *_: contextlib.nullcontext(stages))


def test_two_recordings_are_two_turns_with_their_trace_history_and_sound(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], instant: None
):
    answer, trace, history = (tmp_path / name for name in ("answer.wav", "trace.jsonl", "history.jsonl"))
    said = ["--in", str(recording), str(recording), "--out", str(answer)]
    assert main(["talk", *said, "--trace", str(trace), "--history", str(history)]) == 0
    rows = [json.loads(line) for line in trace.read_text().splitlines()]
    assert [(row["turn"], row["reply"]) for row in rows] == [(1, "All is well. Good."), (2, "All is well. Good.")]
    assert not any(row["problems"] or row["interrupted"] for row in rows)
    assert len(History.load(history).messages) == 4
    assert read_audio(answer).seconds == pytest.approx(0.8, abs=0.1)
    assert {"endpoint", "recognise", "classify", "reply", "speak", "play"} == {
        span["stage"] for span in rows[0]["spans"]
    }
    assert "first_sound" in capsys.readouterr().err


def test_the_latency_of_a_session_is_told_by_its_median_and_its_95th_percentile():
    def turn(first_sound: float) -> AgentTurn:
        trace = Trace(iter([0.0, first_sound]).__next__)
        trace.mark("first_sound")
        voice = Voice(None, 0.0)
        return AgentTurn(1, "", scores("joy"), "", voice, Distress.NONE, "", "", False, False, (), trace)

    table = latency_table([turn(0.1 * number) for number in range(1, 21)])
    assert table.split() == ["first_sound", "p50", "1050", "ms", "p95", "1900", "ms"]


def test_half_duplex_is_handed_on(monkeypatch: pytest.MonkeyPatch):
    asked = {}
    monkeypatch.setattr("emolib.dialogue.live.talk_live", lambda *_, **options: asked.update(options) or [])
    assert main(["talk", "--half-duplex"]) == 0
    assert asked["half_duplex"] is True


def test_a_recording_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert (
        main(["talk", "--in", str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), "--out", str(tmp_path / "c.wav")]) != 0
    )
    assert "a.wav" in capsys.readouterr().err
