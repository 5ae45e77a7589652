"""`emolib talk`: a recording in, a spoken answer out, on the embedded models."""

import json
from importlib import import_module

import numpy as np
import psutil
import pytest
import soundfile
from dialogue_stages import QUESTION, Replies, ScriptedClassifier, ScriptedRecognizer, scores
from speech_server import ToneEngine, speech_server
from voices import spoken

from emolib.audio import AudioClip, read_audio, write_wav
from emolib.cli import main
from emolib.dialogue import stages as stages_module
from emolib.dialogue import talk
from emolib.errors import InputError, ModelError, ServiceError

SENTENCE = "My sister moved away and the house is very quiet."


@pytest.fixture
def instant_emotion(monkeypatch):
    """The real classifier takes seconds to load; where it is not the subject it is left out."""
    monkeypatch.setattr(stages_module, "_load_classifier", lambda model: ScriptedClassifier(scores("sadness")))


def test_the_command_answers_a_stereo_mp3_with_a_wav_and_prints_the_turn_as_json(tmp_path, capsys):
    question, answer = tmp_path / "question.mp3", tmp_path / "out" / "answer.wav"
    channel = spoken(SENTENCE).resample(44_100).samples
    soundfile.write(question, np.stack([channel, channel], axis=1), 44_100)
    assert main(["talk", "--in", str(question), "--out", str(answer), "--json"]) == 0
    turn = json.loads(capsys.readouterr().out)
    assert "sister moved away" in turn["transcript"]
    assert sum(turn["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert turn["emotion"] in turn["probabilities"]
    assert turn["reply"].strip()
    assert turn["reply_from"].endswith("on llama.cpp")
    assert {"load", "recognise", "classify", "reply", "speak", "total"} <= set(turn["latency_ms"])
    sound = read_audio(answer)
    assert sound.seconds > 0.5
    assert np.abs(sound.samples).max() > 0.05
    assert not psutil.Process().children()


def test_silence_is_answered_with_a_message_and_an_answer_that_exists_is_kept(tmp_path, instant_emotion):
    question, answer = tmp_path / "silence.wav", tmp_path / "answer.wav"
    write_wav(question, AudioClip(np.zeros(32_000, np.float32), 16_000))
    answer.write_bytes(b"an earlier answer")
    with pytest.raises(InputError, match="no speech was heard in"):
        talk(question, answer)
    assert answer.read_bytes() == b"an earlier answer"
    assert not psutil.Process().children()


def test_a_speech_service_that_is_not_there_is_an_error_and_an_answer_that_exists_is_kept(
    tmp_path, instant_emotion, monkeypatch
):
    monkeypatch.setattr(stages_module, "_load_recognizer", ScriptedRecognizer)
    question, answer = tmp_path / "question.wav", tmp_path / "answer.wav"
    write_wav(question, QUESTION)
    answer.write_bytes(b"an earlier answer")
    with pytest.raises(ServiceError, match="speech service"):
        talk(question, answer, reply_model=Replies("Yes, of course."), tts_url="http://127.0.0.1:9")
    assert answer.read_bytes() == b"an earlier answer"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answer.wav", "question.wav"]


def test_an_engine_that_cannot_be_loaded_leaves_nothing_running(tmp_path, monkeypatch):
    def fail(model):
        raise ModelError("no such adapter")

    monkeypatch.setattr(stages_module, "_load_classifier", fail)
    monkeypatch.setattr(stages_module, "_load_recognizer", ScriptedRecognizer)
    question = tmp_path / "question.wav"
    write_wav(question, QUESTION)
    with pytest.raises(ModelError, match="no such adapter"):
        talk(question, tmp_path / "answer.wav", reply_model=Replies("Yes."))
    assert not psutil.Process().children()


def test_a_voice_that_nobody_knows_is_bad_use_before_anything_is_answered(
    tmp_path, instant_emotion, monkeypatch, capsys
):
    monkeypatch.setattr(stages_module, "_load_recognizer", ScriptedRecognizer)
    monkeypatch.setattr(stages_module, "default_reply_model", lambda *_: Replies("Yes."))
    monkeypatch.setattr(import_module("emolib.dialogue"), "default_reply_model", lambda *_: Replies("Yes."))
    question = tmp_path / "question.wav"
    write_wav(question, QUESTION)
    with speech_server(ToneEngine(), tmp_path / "references") as url:
        arguments = ["--in", str(question), "--out", str(tmp_path / "answer.wav"), "--tts-url", url]
        assert main(["talk", *arguments, "--voice", "nobody"]) == 2
    assert "unknown voice 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("question_name", "answer_name", "exit_code", "message"),
    [
        ("missing.wav", "answer.wav", 1, "missing.wav is no file"),
        ("question.txt", "answer.wav", 1, "cannot be read as sound"),
        ("question.wav", "answer.mp3", 2, "must end in .wav"),
        ("same.wav", "same.wav", 2, "would overwrite the question"),
        ("question.wav", "question.txt/answer.wav", 1, "cannot write"),
        ("question.wav", "folder.wav", 1, "is a folder"),
    ],
)
def test_bad_paths_are_told_before_anything_is_loaded(
    question_name, answer_name, exit_code, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(import_module("emolib.dialogue.talk"), "open_stages", None)
    (tmp_path / "question.txt").write_text("not a sound")
    (tmp_path / "folder.wav").mkdir()
    for name in ("same.wav", "question.wav"):
        write_wav(tmp_path / name, AudioClip(np.zeros(1600, np.float32), 16_000))
    code = main(["talk", "--in", str(tmp_path / question_name), "--out", str(tmp_path / answer_name)])
    assert (code, message in capsys.readouterr().err) == (exit_code, True)
