"""Whole spoken turns through parts that were chosen: FunASR, transcription servers, and the system of the paper."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
import tiny_funasr
from scripted_engines import ScriptedClassifier, scores
from scripted_server import Status, reply, scripted_server
from speech_server import ToneEngine, speech_server
from voices import spoken

from emolib import stack as stack_module
from emolib.audio import read_audio, write_wav
from emolib.cli import main
from emolib.doctor import examine_stack
from emolib.stack import Stack
from emolib.tts import VoiceLibrary

sys.path.insert(0, str(Path(__file__).parent / "conformance"))

needs_funasr = pytest.mark.skipif(importlib.util.find_spec("funasr") is None, reason="FunASR is not installed")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key and no voice of the user's; the real classifier takes seconds to load, and is not the subject here."""
    monkeypatch.setenv("EMOLIB_VOICES", str(tmp_path / "voices"))
    monkeypatch.setattr(stack_module, "_open_classifier", lambda model: ScriptedClassifier(scores("joy")))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def question(tmp_path: Path) -> Path:
    path = tmp_path / "question.wav"
    write_wav(path, spoken())
    return path


@pytest.fixture
def services(tmp_path: Path):
    """A speech service and a chat server over HTTP."""
    chat = scripted_server(*[reply("That is good news. Tell me more.")] * 3)
    with speech_server(ToneEngine(), tmp_path / "references") as speech, chat as server:
        yield ["--speech", speech, "--reply", f"{server.url}#scripted"]


def turns(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    decoder, text, found = json.JSONDecoder(), capsys.readouterr().out, []
    while text := text[text.find("{") :] if "{" in text else "":
        row, end = decoder.raw_decode(text)
        found.append(row)
        text = text[end:]
    return found


@needs_funasr
@pytest.mark.parametrize("kind", ["paraformer", "streaming_paraformer", "sensevoice"])
@pytest.mark.parametrize("pace", [[], ["--paced"]], ids=["whole", "paced"])
def test_funasr_drives_a_spoken_turn(kind, pace, question, tmp_path, services, capsys):
    folder = getattr(tiny_funasr, kind)(tmp_path / kind)
    answer = tmp_path / "answer.wav"
    said = ["--in", str(question), "--out", str(answer), "--recognizer", f"funasr:{folder}", "--json"]
    assert main(["talk", *said, *services, *pace]) == 0
    (turn,) = turns(capsys)
    assert turn["transcript"]
    assert turn["reply"] == "That is good news. Tell me more."
    assert turn["stack"]["recognizer"] == f"funasr:{folder}"
    assert turn["problems"] == []
    assert read_audio(answer).seconds > 2
    if pace:
        assert "endpoint" in turn["latency_ms"]


@needs_funasr
def test_the_emotion_that_sensevoice_hears_is_in_the_turn(question, tmp_path, services, capsys):
    folder = tiny_funasr.sensevoice(tmp_path / "sensevoice")
    said = ["--in", str(question), "--out", str(tmp_path / "a.wav"), "--recognizer", f"funasr:{folder}", "--json"]
    assert main(["talk", *said, *services]) == 0
    (turn,) = turns(capsys)
    assert turn["words"]["emotion"] == "joy"
    assert turn["voice_emotion"] is None or sum(turn["voice_emotion"].values()) == pytest.approx(1)


def test_a_transcription_server_drives_a_spoken_turn(question, tmp_path, services, capsys):
    answer = Status(200)
    answer.body = {"text": "I passed my driving test.", "language": "en", "segments": []}
    with scripted_server(answer) as ears:
        said = ["--in", str(question), "--out", str(tmp_path / "a.wav"), "--recognizer", f"{ears.url}#tiny", "--json"]
        assert main(["talk", *said, *services]) == 0
        assert ears.fields["model"] == "tiny"
    (turn,) = turns(capsys)
    assert turn["transcript"] == "I passed my driving test."


def test_a_recogniser_whose_weights_are_missing_is_one_sentence(question, tmp_path, services, capsys):
    said = ["--in", str(question), "--out", str(tmp_path / "a.wav"), "--recognizer", "funasr:/nowhere/model"]
    assert main(["talk", *said, *services]) == 1
    assert "/nowhere/model is not a folder" in capsys.readouterr().err
    assert not (tmp_path / "a.wav").exists()


@needs_funasr
def test_the_stack_of_the_paper_runs_end_to_end(question, tmp_path, monkeypatch, capsys):
    """FunASR with VAD and punctuation, understanding and reply by a scripted GPT, Fish-Speech's HTTP layer."""
    models = [getattr(tiny_funasr, kind)(tmp_path / kind) for kind in ("paraformer", "fsmn_vad", "punctuation")]
    VoiceLibrary().add("speaker", spoken(), "I passed my driving test.")
    understood = Status(200)
    found = {"topic": "a test that was passed", "need": "somebody who is glad", "cause": "the test", "tone": "cheerful"}
    message = {"role": "assistant", "content": json.dumps(found)}
    understood.body = {
        "id": "1", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
    }  # fmt: skip
    with fish(tmp_path) as (speech, key), scripted_server(understood, reply("Congratulations!")) as gpt:
        monkeypatch.setenv("EMOLIB_FISH_URL", speech)
        monkeypatch.setenv("EMOLIB_FISH_API_KEY", key)
        said = ["--in", str(question), "--out", str(tmp_path / "answer.wav"), "--stack", "paper", "--json"]
        chosen = ["--recognizer", "funasr:" + "+".join(map(str, models)), "--reply", f"{gpt.url}#gpt-4o"]
        assert main(["talk", *said, *chosen, "--emotion", "everyday"]) == 0
        asked = gpt.requests
    (turn,) = turns(capsys)
    assert turn["transcript"]
    assert turn["understanding"]["topic"] == "a test that was passed"
    assert "a test that was passed" in asked[1]["messages"][0]["content"], "what was understood shapes the reply"
    assert turn["reply"] == "Congratulations!"
    assert read_audio(tmp_path / "answer.wav").seconds >= 0.5


def fish(folder: Path):
    """Fish-Speech's real HTTP layer where its environment is there, else our service in its protocol."""
    from contextlib import contextmanager

    @contextmanager
    def opened():
        if os.environ.get("EMOLIB_FISH_PYTHON"):
            from test_fish_speech import KEY, fish_speech

            with fish_speech() as url:
                yield url, KEY
        else:
            with speech_server(ToneEngine(), folder / "references", api_key="right") as url:
                yield url, "right"

    return opened()


def test_doctor_says_part_by_part_what_the_paper_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMOLIB_FISH_URL", "http://127.0.0.1:9")
    parts = {part.name: part for part in examine_stack(Stack.load("paper")).parts}
    assert not any(parts[name].ready for name in ("emotion", "reply", "speech", "voice"))
    assert "emolib train --preset paper" in parts["emotion"].detail
    assert "OPENAI_API_KEY" in parts["reply"].detail
    assert "start Fish-Speech" in parts["speech"].detail
    assert "emolib voice add speaker" in parts["voice"].detail


def test_doctor_finds_the_embedded_stack_ready(capsys: pytest.CaptureFixture[str]):
    assert main(["doctor", "--stack", "embedded", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ready"] is True


def test_a_reply_server_that_is_down_is_answered_for(question, tmp_path, services, capsys):
    said = ["--in", str(question), "--out", str(tmp_path / "a.wav"), "--json"]
    with scripted_server(*[Status(500)] * 8) as broken:
        assert main(["talk", *said, *services[:2], "--reply", broken.url]) == 0
    (turn,) = turns(capsys)
    assert "failed with HTTP 500" in turn["problems"][0]
