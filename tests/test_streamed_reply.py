"""A reply in a notebook cell: its tokens are shown while they come."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from dialogue_stages import Replies, ScriptedClassifier, scores

from emolib.dialogue import FALLBACK, TextSession
from emolib.widgets import show_reply

CELL = """
from dialogue_stages import ScriptedClassifier, scores
from emolib.chat import LlamaReplyModel
from emolib.dialogue import TextSession
from emolib.widgets import show_reply
session = TextSession(ScriptedClassifier(scores("joy", 0.8)), LlamaReplyModel())
answer = await show_reply(session, "We won the final!")
await session.model.aclose()
"""


def test_emotion_reply_and_speed_are_printed(capsys: pytest.CaptureFixture[str]):
    session = TextSession(ScriptedClassifier(scores("joy", 0.8)), Replies("How lovely!"))
    answer = asyncio.run(show_reply(session, "We won!"))
    head, reply, speed = capsys.readouterr().out.splitlines()
    assert (head, reply, answer.text) == ("[joy 80%] We won!", "How lovely!", "How lovely!")
    assert "first token after" in speed
    assert "tokens/s" in speed


def test_a_reply_that_fails_is_said_so_and_the_session_goes_on(capsys: pytest.CaptureFixture[str]):
    session = TextSession(ScriptedClassifier(scores("fear")), Replies("", failure="the server is down"))
    for _ in range(2):
        assert asyncio.run(show_reply(session, "Hello?")).problem == "the server is down"
    shown = capsys.readouterr().out
    assert shown.count("(the server is down)") == shown.count(FALLBACK) == 2


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator:
    """A client of a fresh notebook kernel that finds what the tests import."""
    from jupyter_client.manager import start_new_kernel

    monkeypatch.setenv("PYTHONPATH", f"{request.config.rootpath}:{request.config.rootpath / 'tests'}")
    manager, client = start_new_kernel(kernel_name="python3")
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_the_tokens_of_the_embedded_model_reach_a_cell_one_by_one(kernel):
    arrived: list[str] = []
    failed: list[str] = []

    def watch(message: dict) -> None:
        content = message["content"]
        if message["msg_type"] == "stream" and content["name"] == "stdout":
            arrived.append(content["text"])
        if message["msg_type"] == "error":
            failed.append(content["evalue"])

    kernel.execute_interactive(CELL, output_hook=watch, timeout=120)
    assert failed == []
    assert arrived[0].startswith("[joy 80%] We won the final!")
    assert "tokens/s" in arrived[-1]
    assert len(arrived) >= 5, f"the reply came in one piece: {arrived}"
