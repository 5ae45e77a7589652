"""`emolib mic`: the room is measured, utterances are shown and saved, and what is missing is named."""

from __future__ import annotations

import io

import numpy as np
import pytest
from voices import silence, spoken, white_noise

from emolib.audio import AudioClip, read_audio, write_wav
from emolib.cli import main
from emolib.errors import InputError, UsageError
from emolib.speech import FileSource
from emolib.speech.monitor import meter, monitor, open_source


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def recording(tmp_path):
    samples = np.concatenate([silence(2), spoken().samples, silence(1.5)])
    write_wav(
        tmp_path / "room.wav", AudioClip(samples + white_noise(len(samples) / 16_000, -55)[: len(samples)], 16_000)
    )
    return tmp_path / "room.wav"


def test_an_utterance_is_shown_and_saved(recording, tmp_path):
    out = io.StringIO()
    ambience = monitor(FileSource(recording), out, save_to=tmp_path / "said")
    (saved,) = (tmp_path / "said").iterdir()
    assert str(saved) in out.getvalue()
    assert read_audio(saved).seconds == pytest.approx(spoken().seconds, abs=0.8)
    assert ambience.floor_dbfs == pytest.approx(-55, abs=1)
    assert "quiet enough" in out.getvalue()


def test_a_terminal_shows_the_level(recording):
    out = Terminal()
    monitor(FileSource(recording), out)
    assert out.getvalue().count("dBFS  floor") > 20
    assert "speech\x1b[K" in out.getvalue()


def test_a_room_that_is_too_loud_is_named(tmp_path):
    write_wav(tmp_path / "loud.wav", AudioClip(white_noise(2, -25), 16_000))
    out = io.StringIO()
    monitor(FileSource(tmp_path / "loud.wav"), out)
    assert "too loud" in out.getvalue()


def test_the_meter_has_bar_floor_and_gate():
    line = meter(-40, -60, -50, True)
    assert line.index(".") < line.index("|")
    assert line.count("=") in (18, 19, 20)
    assert line.endswith("speech")
    assert len({len(meter(level, -60, -50, False)) for level in (0, -20, -80, -99)}) == 1


def test_the_command_plays_a_recording_through_the_monitor(tmp_path, capsys):
    write_wav(tmp_path / "short.wav", AudioClip(white_noise(1, -55), 16_000))
    assert main(["mic", "--in", str(tmp_path / "short.wav"), "--calibrate", "0.6"]) == 0
    assert "floor -55 dBFS" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--in", "none.wav"], 1),
        (["--device", "no such microphone"], 1),
        (["--in", "short.wav", "--calibrate", "0"], 1),
    ],
)
def test_what_cannot_work_ends_with_one_sentence(tmp_path, monkeypatch, capsys, arguments, code):
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "short.wav", AudioClip(silence(0.5), 16_000))
    assert main(["mic", *arguments]) == code
    message = capsys.readouterr().err
    assert message.startswith("emolib: ")
    assert "Traceback" not in message


def test_an_empty_source_is_named():
    class Nothing:
        overruns = 0

        def frames(self):
            return iter(())

        def close(self) -> None:
            """Nothing to release."""

    with pytest.raises(InputError, match="no sound has come"):
        monitor(Nothing(), io.StringIO())


def test_pyaudio_does_not_know_names():
    with pytest.raises(UsageError, match="by number"):
        open_source(device="Headset", backend="pyaudio")
