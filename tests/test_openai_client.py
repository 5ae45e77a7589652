"""Which key a server of OpenAI's API gets, and what is said instead of the SDK's errors."""

from __future__ import annotations

import importlib.util

import pytest
from scripted_server import Status, scripted_server

from emolib.errors import ServiceError, UsageError
from emolib.openai_client import OPENAI_URL, OpenAIServer, allowed_key

KEY = {"OPENAI_API_KEY": "sk-environment"}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("url", [OPENAI_URL, "https://eu.api.openai.com/v1", "https://API.openai.com:443/v1"])
def test_openai_gets_the_key_of_the_environment(url: str) -> None:
    assert allowed_key(url, environ=KEY) == "sk-environment"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/v1",
        "https://api.openai.com.example.com/v1",
        "https://notapi.openai.com/v1",
        "https://example.com/api.openai.com",
        "https://api.openai.com@example.com/v1",
        "http://127.0.0.1:8080/v1",
        "http://api.openai.com/v1",
        "nonsense",
        "http://[",
    ],
)
def test_no_other_server_gets_it(url: str) -> None:
    assert allowed_key(url, environ=KEY) is None


@pytest.mark.parametrize(
    ("named", "asked", "key"),
    [
        ("https://example.com/v1", "https://example.com/v1/", "sk-environment"),
        ("https://example.com", "https://example.com:443/v1", "sk-environment"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1", "sk-environment"),
        ("http://localhost:8080/v1", "http://localhost:8080/v1", "sk-environment"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:9090/v1", None),
        ("https://example.com/v1", "https://other.example.com/v1", None),
        ("https://example.com/v1", "http://example.com/v1", None),
        ("http://example.com/v1", "http://example.com/v1", None),
        ("http://192.168.1.5:8080/v1", "http://192.168.1.5:8080/v1", None),
        ("", "https://example.com/v1", None),
    ],
)
def test_the_server_of_openai_base_url_gets_it_unless_it_would_go_unencrypted(
    named: str, asked: str, key: str | None
) -> None:
    assert allowed_key(asked, environ={**KEY, "OPENAI_BASE_URL": named}) == key


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/v1",
        "http://127.0.0.1:1/v1",
        "http://192.168.1.5/v1",
        "http://vllm:8000/v1",
        "http://box.local/v1",
        "http://[fd00::1]:8000/v1",
    ],
)
def test_a_key_that_is_given_goes_where_it_is_told(url: str) -> None:
    assert allowed_key(url, "mine", KEY) == "mine"


@pytest.mark.parametrize("url", ["http://example.com/v1", "http://8.8.8.8/v1", "http://[2001:4860:4860::8888]/v1"])
def test_a_key_that_is_given_crosses_no_public_network_unencrypted(url: str) -> None:
    with pytest.raises(UsageError, match="unencrypted; use https://"):
        OpenAIServer(url, "mine")


def test_openai_over_plain_http_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    with pytest.raises(UsageError, match="https"):
        OpenAIServer("http://api.openai.com/v1")


@pytest.mark.parametrize("url", ["localhost:8080/v1", "ftp://somewhere", "http://", "http://[", ""])
def test_an_address_that_is_none_is_bad_use(url: str) -> None:
    with pytest.raises(UsageError, match="must start with http"):
        OpenAIServer(url)


def test_neither_key_nor_password_is_shown() -> None:
    server = OpenAIServer("https://user:secret@example.com/v1?token=abc", "sk-mine")
    assert server.shown_url == "https://example.com/v1"
    assert not any(word in repr(server) for word in ("secret", "abc", "sk-mine"))


@pytest.mark.parametrize(
    ("status", "key", "sentence"),
    [
        (Status(401), "sk-mine", r"refused the API key \(HTTP 401\); check OPENAI_API_KEY"),
        (Status(403), None, r"refused a request without a key \(HTTP 403\)"),
        (Status(404, "no model sk-mine"), "sk-mine", r"knows no model 'tiny' \(HTTP 404\): no model \*\*\*"),
        (Status(429), None, "limits the rate"),
        (Status(500, "out of sk-mine"), "sk-mine", r"failed with HTTP 500: .*out of \*\*\*"),
    ],
)
def test_an_error_of_the_server_is_one_sentence_without_the_key(status: Status, key: str | None, sentence: str) -> None:
    with scripted_server(status) as scripted:
        server = OpenAIServer(scripted.url, key, retries=0)
        with pytest.raises(ServiceError, match=sentence) as caught, server.errors("tiny"), server.client() as client:
            client.chat.completions.create(model="tiny", messages=[])
    assert scripted.url in str(caught.value)
    assert "sk-mine" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_socks_proxy_without_its_package_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("socksio"):
        pytest.skip("socksio is installed")
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@127.0.0.1:9")
    with pytest.raises(ServiceError, match="pip install socksio") as caught:
        OpenAIServer("https://example.com/v1").async_client()
    assert "secret" not in str(caught.value)
    OpenAIServer("http://127.0.0.1:9/v1").async_client()
