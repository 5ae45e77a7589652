"""What a conversation runs on: names, files and the command line through one parser, and the engines they open."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_funasr
from funasr_server import funasr_server
from voices import spoken

from emolib.chat import LlamaReplyModel, OpenAIReplyModel
from emolib.cli import main
from emolib.errors import EmolibError, UsageError
from emolib.speech import FunASRRecognizer, FunASRServer, ParaformerStreaming, TranscriptionServer
from emolib.stack import NAMED_STACKS, Stack, _open_recognizer, hears_voice, open_reply_model, open_stack


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)


def test_the_default_is_the_stack_called_embedded():
    assert Stack.load("embedded") == Stack()
    assert Stack().recognizer == "whisper"


def test_the_voice_is_heard_by_the_encoder_of_the_bundled_whisper_alone():
    assert Stack().voice_emotion == "encoder"
    assert hears_voice(Stack())
    assert not hears_voice(Stack(voice_emotion="off"))
    assert not hears_voice(Stack(recognizer="whisper:folder"))
    assert not hears_voice(Stack(recognizer="funasr:iic/SenseVoiceSmall"))


@pytest.mark.parametrize("choice", ["encoder", "off"])
def test_the_emotion_of_the_voice_is_chosen_by_the_stack(choice: str):
    transcript = _open_recognizer(Stack(voice_emotion=choice)).transcribe(spoken())
    assert (transcript.voice_emotion is not None) == (choice == "encoder")


def test_the_stack_of_the_paper_has_its_systems():
    paper = NAMED_STACKS["paper"]
    assert paper.recognizer == "funasr:paraformer-zh+fsmn-vad+ct-punc"
    assert (paper.reply, paper.speech, paper.understanding) == ("gpt", "fish", True)
    assert paper.voice


def test_a_file_names_what_differs_from_the_default(tmp_path: Path):
    file = tmp_path / "emolib.toml"
    file.write_text('recognizer = "funasr:iic/SenseVoiceSmall"\nunderstanding = true\n', encoding="utf-8")
    assert Stack.load(file) == Stack(recognizer="funasr:iic/SenseVoiceSmall", understanding=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('recogniser = "whisper"', "the key 'recogniser', which a stack does not know; did you mean 'recognizer'?"),
        ("understanding = 1", "understanding is a bool, not 1"),
        ("voice = 3", "voice is a str, not 3"),
        ('reply = "gpt-4o"', "unknown reply 'gpt-4o'; use auto, embedded (the adapter companion on SmolLM2)"),
        ("reply =", "not a stack file in TOML"),
    ],
)
def test_a_file_that_makes_no_sense_is_one_sentence(text: str, message: str, tmp_path: Path):
    file = tmp_path / "emolib.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        Stack.load(file)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "known"),
    [
        ("recognizer", "parakeet", "whisper .*, whisper:base, whisper:small, whisper:FOLDER-or-hub-id, funasr:MODEL"),
        ("recognizer", "funasr:", "funasr:MODEL"),
        ("voice_emotion", "loud", "encoder .*, recognizer .*, emotion2vec"),
        ("reply", "claude", "auto, embedded"),
        ("speech", "polly", "own, fish"),
        ("language", "tlh", "en, zh, auto"),
        ("emotion", "", "name a model"),
    ],
)
def test_an_unknown_name_is_refused_and_the_known_ones_are_listed(field: str, value: str, known: str):
    with pytest.raises(UsageError, match=known):
        Stack(**{field: value})


def test_a_stack_that_is_neither_a_name_nor_a_file_is_bad_use(capsys: pytest.CaptureFixture[str]):
    assert main(["talk", "--stack", "nosuch"]) == 2
    assert "neither a stack with a name (embedded, paper) nor a file" in capsys.readouterr().err


def test_an_unknown_recogniser_on_the_command_line_is_bad_use(capsys: pytest.CaptureFixture[str]):
    assert main(["talk", "--recognizer", "parakeet"]) == 2
    assert "unknown recognizer 'parakeet'" in capsys.readouterr().err


def test_a_trace_keeps_no_password():
    assert Stack(reply="http://me:secret@host/v1").as_dict()["reply"] == "http://host/v1"


def test_funasr_is_opened_streaming_when_the_model_streams(tmp_path: Path):
    whole = tiny_funasr.paraformer(tmp_path / "whole")
    stream = tiny_funasr.streaming_paraformer(tmp_path / "stream")
    assert isinstance(_open_recognizer(Stack(recognizer=f"funasr:{whole}")), FunASRRecognizer)
    assert isinstance(_open_recognizer(Stack(recognizer=f"funasr:{stream}")), ParaformerStreaming)


def test_servers_are_opened_by_their_address():
    with funasr_server(segments=[]) as server:
        assert isinstance(_open_recognizer(Stack(recognizer=server.url)), FunASRServer)
    assert isinstance(_open_recognizer(Stack(recognizer="http://127.0.0.1:1/v1#tiny")), TranscriptionServer)


@pytest.mark.parametrize(
    ("recognizer", "message"),
    [("funasr:/nowhere/model", "is not a folder"), ("whisper:/nowhere/model", "cannot be loaded")],
)
def test_weights_that_are_missing_are_said_and_nothing_is_left_running(recognizer: str, message: str):
    with pytest.raises(EmolibError, match=message), open_stack(Stack(recognizer=recognizer)):
        pass


def test_without_a_key_or_a_url_nothing_leaves_the_machine():
    assert isinstance(open_reply_model(), LlamaReplyModel)


def test_a_key_means_gpt_and_a_url_its_server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert open_reply_model().base_url == "https://api.openai.com/v1"
    assert open_reply_model("gpt:gpt-5").model == "gpt-5"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("OPENAI_MODEL", "tiny")
    model = open_reply_model()
    assert (model.base_url, model.model) == ("http://127.0.0.1:1/v1", "tiny")
    assert open_reply_model("http://127.0.0.1:2/v1#other").model == "other"


def test_a_gguf_file_is_answered_with_on_this_machine_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert isinstance(open_reply_model("chat.GGUF"), LlamaReplyModel)


def test_gpt_without_a_key_is_bad_use():
    with pytest.raises(UsageError, match="needs a key"):
        open_reply_model("gpt")


def test_a_server_without_a_key_is_asked_without_one():
    assert isinstance(open_reply_model("http://127.0.0.1:2/v1"), OpenAIReplyModel)
