"""Which engines a turn gets where nothing was said about it."""

import pytest

from emolib.chat import LlamaReplyModel, OpenAIReplyModel
from emolib.dialogue import default_reply_model
from emolib.errors import UsageError


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)


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
