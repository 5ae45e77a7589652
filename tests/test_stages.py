"""Which engines a turn gets where nothing was said about it."""

import json
import os

import pytest

from emolib.chat import LlamaReplyModel, OpenAIReplyModel
from emolib.dialogue import choose_emotion_model, default_reply_model
from emolib.dialogue import stages as stages_module
from emolib.errors import UsageError
from emolib.models import DEFAULT_BASE


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_ready_made_adapter(monkeypatch, tmp_path):
    monkeypatch.setattr(stages_module, "_EVERYDAY", tmp_path / "none")


def make_run(path, seconds):
    (path / "adapter").mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"base_model": {"name": DEFAULT_BASE}}))
    config = path / "adapter" / "adapter_config.json"
    config.write_text("{}")
    os.utime(config, (seconds, seconds))


def test_the_emotion_model_that_was_named_is_taken(tmp_path):
    assert choose_emotion_model("somewhere", tmp_path) == ("somewhere", "somewhere")


def test_the_ready_made_adapter_comes_before_any_run(tmp_path, monkeypatch):
    make_run(tmp_path / "runs" / "a", 100)
    ready = tmp_path / "everyday"
    ready.mkdir()
    (ready / "adapter_config.json").write_text("{}")
    monkeypatch.setattr(stages_module, "_EVERYDAY", ready)
    assert choose_emotion_model(None, tmp_path / "runs")[0] == ready


def test_the_newest_whole_run_is_taken(tmp_path, no_ready_made_adapter):
    make_run(tmp_path / "old", 100)
    make_run(tmp_path / "demo" / "run", 200)
    make_run(tmp_path / "broken", 300)
    (tmp_path / "broken" / "config.json").unlink()
    chosen, description = choose_emotion_model(None, tmp_path)
    assert chosen == tmp_path / "demo" / "run"
    assert "newest run" in description


def test_with_nothing_trained_the_base_model_judges_and_says_that_it_is_not_fine_tuned(tmp_path, no_ready_made_adapter):
    chosen, description = choose_emotion_model(None, tmp_path)
    assert chosen == DEFAULT_BASE
    assert "not fine-tuned" in description


def test_without_a_key_or_a_url_nothing_leaves_the_machine():
    assert isinstance(default_reply_model(), LlamaReplyModel)


def test_a_key_means_gpt_and_a_url_its_server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert default_reply_model().base_url == "https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("OPENAI_MODEL", "tiny")
    model = default_reply_model()
    assert (model.base_url, model.model) == ("http://127.0.0.1:1/v1", "tiny")
    assert default_reply_model("http://127.0.0.1:2/v1", "other").model == "other"


def test_a_gguf_file_is_answered_with_on_this_machine_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert isinstance(default_reply_model(model="chat.gguf"), LlamaReplyModel)


def test_a_model_name_without_a_server_is_bad_use():
    with pytest.raises(UsageError, match="needs a server"):
        default_reply_model(model="gpt-4o-mini")


def test_a_server_without_a_key_is_asked_without_one():
    assert isinstance(default_reply_model("http://127.0.0.1:2/v1"), OpenAIReplyModel)
