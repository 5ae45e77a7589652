"""A hub is asked the way its downloads go: through the proxies of the environment, and for at most five seconds."""

from __future__ import annotations

import http.server
import importlib.util
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from emolib.hub import HubName, hub_problem, hub_state

ENDPOINTS = {"hf": "HF_ENDPOINT", "ms": "MODELSCOPE_ENDPOINT"}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in {*ENDPOINTS.values(), "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}:
            monkeypatch.delenv(name)


@contextmanager
def web_server(status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """The URL of a server, or a proxy for plain HTTP, that answers `status`; and what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_CONNECT(self) -> None:
            asked.append(f"CONNECT {self.path}")
            self.send_error(status if status >= 400 else 502)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


both = pytest.mark.parametrize("hub", ["hf", "ms"])


@both
@pytest.mark.parametrize("status", [200, 302, 401, 404])
def test_a_hub_that_answers_is_there(hub: HubName, status: int) -> None:
    with web_server(status) as (url, asked):
        assert hub_problem(hub, {ENDPOINTS[hub]: url}) is None
    assert asked == ["/"]


@both
def test_a_broken_gateway_is_named(hub: HubName) -> None:
    with web_server(503) as (url, _):
        assert hub_problem(hub, {ENDPOINTS[hub]: url}) == f"{url} does not answer: HTTP 503"


@both
def test_a_refused_connection_is_named_without_the_password_of_the_address(hub: HubName) -> None:
    problem = hub_problem(hub, {ENDPOINTS[hub]: "http://user:secret@127.0.0.1:9/mirror"})
    assert problem.startswith("http://127.0.0.1:9/mirror does not answer: ")
    assert "refused" in problem
    assert "secret" not in problem


@both
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_the_question_goes_through_the_proxy(hub: HubName, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server() as (proxy, asked):
        monkeypatch.setenv(variable, proxy)
        assert hub_problem(hub, {ENDPOINTS[hub]: "http://hub.invalid"}) is None
    assert asked == ["http://hub.invalid/"]


@both
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "all_proxy"])
def test_https_asks_the_proxy_for_a_tunnel(hub: HubName, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server(407) as (proxy, asked):
        monkeypatch.setenv(variable, proxy.replace("http://", "http://user:secret@"))
        problem = hub_problem(hub, {})
    assert set(asked) == {"CONNECT huggingface.co:443" if hub == "hf" else "CONNECT modelscope.cn:443"}
    assert "407" in problem
    assert "secret" not in problem


@both
def test_what_no_proxy_names_is_asked_directly(hub: HubName, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server() as (url, asked), web_server() as (proxy, asked_proxy):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert hub_problem(hub, {ENDPOINTS[hub]: url}) is None
    assert (asked, asked_proxy) == (["/"], [])


@both
@pytest.mark.parametrize(
    ("proxy", "advice"), [("socks5://user:secret@127.0.0.1:9", "pip install"), ("socks://127.0.0.1:9", "socks5://")]
)
def test_a_socks_proxy_without_its_package_is_a_sentence(
    hub: HubName, proxy: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("socksio") or importlib.util.find_spec("socks"):
        pytest.skip("the packages for SOCKS are installed")
    monkeypatch.setenv("ALL_PROXY", proxy)
    problem = hub_problem(hub, {})
    assert "socks" in problem
    assert advice in problem
    assert "secret" not in problem


@both
def test_a_name_that_is_looked_up_for_ever_costs_at_most_five_seconds(
    hub: HubName, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(30))
    started = time.monotonic()
    assert "no answer within" in hub_problem(hub, {})
    assert time.monotonic() - started < 5
    released.set()


def test_a_server_that_accepts_and_says_nothing_costs_at_most_five_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        assert "timed out" in hub_problem("hf", {"HF_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"})
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_a_hub_that_is_switched_off_is_not_asked(variable: str) -> None:
    with web_server() as (url, asked):
        environ = {variable: "1", "HF_ENDPOINT": url}
        assert hub_problem("hf", environ) == "HF_HUB_OFFLINE is set"
        assert hub_state(environ) == "switched off by HF_HUB_OFFLINE"
    assert asked == []


def test_the_state_for_the_doctor_is_the_problem_or_answers() -> None:
    with web_server() as (url, _):
        assert hub_state({"HF_ENDPOINT": url}) == "answers"
    assert "does not answer" in hub_state({"HF_ENDPOINT": "http://127.0.0.1:9"})
