"""A live conversation on recordings in real time: real endpoints and a real player, engines that answer at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dialogue_stages import Felt, Heard, Replies, Spoken, scores
from voices import silence, spoken

from emolib.cli import main
from emolib.dialogue import Stages
from emolib.dialogue.live import Recordings, converse, latency_table, write_trace
from emolib.dialogue.talk import run_sync
from emolib.speech import AudioClip, NullSink, write_wav


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "question.wav"
    clip = spoken()
    write_wav(path, AudioClip(np.concatenate([silence(0.3), clip.samples]), clip.sample_rate))
    return path


def test_two_recordings_are_two_turns_and_the_trace_tells_their_stages(recording: Path, tmp_path: Path):
    source = Recordings([recording, recording], patience_s=10)
    stages = Stages(Heard(), Felt(scores("joy")), Replies("All is well. Good."), Spoken(), "a test")
    with NullSink() as sink:
        turns = run_sync(converse(stages, source, sink, on_turn=lambda turn: source.answered()))
    assert [turn.reply for turn in turns] == ["All is well. Good."] * 2
    assert not any(turn.problems or turn.interrupted for turn in turns)
    write_trace(turns, tmp_path / "trace.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()]
    assert [row["turn"] for row in rows] == [1, 2]
    assert {"endpoint", "recognise", "classify", "reply", "speak", "play"} == {
        span["stage"] for span in rows[0]["spans"]
    }
    assert "first_sound" in latency_table(turns)


def test_a_recording_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert (
        main(["talk", "--in", str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), "--out", str(tmp_path / "c.wav")]) != 0
    )
    assert "a.wav" in capsys.readouterr().err
