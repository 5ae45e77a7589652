"""A conversation in text on the turn engine: emotion beside each line, history, safety, and failures."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_engines import Replies, ScriptedClassifier, scores

from emolib.chat import Message
from emolib.cli import main
from emolib.dialogue import FALLBACK, HELP_MESSAGE, Distress, History, TextChat, Turn
from emolib.errors import InputError
from emolib.stack import Engines, Stack

CELL = """
from scripted_engines import ScriptedClassifier, scores
from emolib.chat import LlamaReplyModel
from emolib.dialogue import TextChat
from emolib.stack import Engines
chat = TextChat(Engines(None, ScriptedClassifier(scores("joy", 0.8)), LlamaReplyModel(), None), stats=True)
turn = await chat.ask("We won the final!")
await chat.aclose()
"""


def chat(text: str, replies: Replies, label: str = "joy", **options: Any) -> tuple[str, list[Turn]]:
    """What is shown, and the turns."""
    shown = io.StringIO()
    engines = Engines(None, ScriptedClassifier(scores(label, 0.8)), replies, None)
    turns = TextChat(engines, write=shown.write, **options).run(io.StringIO(text))
    return shown.getvalue(), turns


def test_the_emotion_stands_beside_each_line_and_the_answer_under_it():
    shown, _ = chat("We won!\n", Replies("How lovely!"))
    assert shown == "[joy 80%] We won!\nHow lovely!\n"


def test_the_second_question_is_asked_with_the_first_exchange():
    replies = Replies("How lovely!")
    chat("We won!\n\nAgain!", replies)
    assert [message.content for message in replies.asked[1][0]] == ["We won!", "How lovely!", "Again!"]


def test_a_reply_that_fails_is_answered_for_and_the_conversation_goes_on():
    shown, turns = chat("One\nTwo\n", Replies("", failure="the server is down"))
    assert shown.count(FALLBACK) == 2
    assert shown.count("(the reply failed: the server is down)") == 2
    assert [turn.reply for turn in turns] == [FALLBACK, FALLBACK]


def test_of_a_reply_that_breaks_off_what_was_shown_stays_in_the_history():
    replies = Replies("How love", failure="cut")
    _, turns = chat("One\nTwo\n", replies)
    assert turns[0].reply == "How love"
    assert replies.asked[1][0][1].content == "How love"


def test_time_to_first_token_and_tokens_per_second_are_shown_on_request():
    shown, _ = chat("We won!\n", Replies("How lovely!"), stats=True)
    assert "first token after" in shown
    assert "tokens/s" in shown


def test_text_follows_the_policy_of_speech():
    replies = Replies("Oh.")
    chat("One\nTwo\n", replies, label="sadness")
    assert replies.tones == ["sadness", "lasting sadness"]


def test_sustained_distress_is_reached_in_text():
    shown, turns = chat("One\nTwo\nThree\n", Replies("Oh."), label="sadness", history_file=None)
    assert [turn.distress for turn in turns] == [Distress.NONE, Distress.NONE, Distress.SUSTAINED]
    assert turns[2].reply == f"Oh. {HELP_MESSAGE}"
    assert HELP_MESSAGE in shown


def test_words_of_self_harm_are_answered_by_no_model():
    replies = Replies("Cheer up!")
    shown, (turn,) = chat("I want to kill myself.\n", replies)
    assert (turn.distress, turn.reply, replies.asked) == (Distress.URGENT, HELP_MESSAGE, [])
    assert "Cheer up" not in shown


def test_a_turn_in_text_has_the_schema_of_a_spoken_one():
    _, (turn,) = chat("We won!\n", Replies("How lovely!"))
    row = turn.as_dict()
    assert row["schema"] == "emolib.turn/1"
    assert (row["transcript"], row["emotion"], row["reply"]) == ("We won!", "joy", "How lovely!")
    assert row["words"]["emotion"] == "joy"
    assert row["stack"] == Stack().as_dict()
    assert {"first_token", "last_token"} <= row["marks_ms"].keys()


def test_a_conversation_is_saved_and_goes_on_from_its_file(tmp_path: Path):
    path = tmp_path / "history.jsonl"
    chat("We won!\n", Replies("How lovely!"), history_file=path)
    replies = Replies("Good.")
    chat("Again!\n", replies, history_file=path)
    assert [message.content for message in replies.asked[0][0]] == ["We won!", "How lovely!", "Again!"]
    assert len(path.read_text().splitlines()) == 4


def test_a_history_file_keeps_the_emotion_and_a_system_message(tmp_path: Path):
    history = History([Message("system", "Be brief.")])
    history.add("We won!", "How lovely!", "joy")
    history.add("Bye.", "Goodbye!")
    history.save(tmp_path / "history.jsonl")
    assert '"emotion": "joy"' in (tmp_path / "history.jsonl").read_text()
    assert History.load(tmp_path / "history.jsonl").messages == history.messages


def test_a_line_of_the_history_that_is_none_is_named(tmp_path: Path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"role": "user", "content": "a"}\nnot json\n')
    with pytest.raises(InputError, match=r"history\.jsonl, line 2"):
        History.load(path)


def test_a_chat_model_without_a_key_is_bad_use(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert main(["chat", "--reply", "gpt:gpt-9"]) == 2
    assert "needs a key" in capsys.readouterr().err


def test_in_a_cell_lines_are_asked_one_by_one_and_the_feeling_is_remembered(capsys: pytest.CaptureFixture[str]):
    async def ask() -> list[Turn]:
        talk = TextChat(Engines(None, ScriptedClassifier(scores("sadness")), Replies("Oh."), None))
        return [await talk.ask(line) for line in ("One", "Two", "Three")]

    turns = asyncio.run(ask())
    assert [turn.number for turn in turns] == [1, 2, 3]
    assert turns[2].distress is Distress.SUSTAINED
    assert "[sadness 90%] One\nOh.\n" in capsys.readouterr().out


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
    assert "tokens/s" in "".join(arrived[-2:])
    assert len(arrived) >= 5, f"the reply came in one piece: {arrived}"


@given(st.lists(st.text(alphabet="ab ", max_size=60), max_size=12), st.integers(0, 120))
def test_the_recent_history_is_the_end_of_what_has_words_within_its_tokens_and_begins_with_the_user(texts, limit):
    history = History(max_tokens=limit)
    for number, text in enumerate(texts):
        # Answers that differ: one that repeats an earlier one is left out with its question.
        history.add(text, f"answer {number} " * 8 if text.strip() else text)
    recent = history.recent()
    with_words = [message for message in history.messages if message.content.strip()]
    assert recent == with_words[len(with_words) - len(recent) :]
    assert not recent or recent[0].role == "user"
    assert len(recent) * 6 <= limit


def test_the_oldest_turns_are_dropped_by_tokens_and_stay_in_the_file(tmp_path: Path):
    history = History(max_tokens=120)
    for number in range(20):
        history.add(f"question {number} " + "word " * 8, f"answer {number}")
    assert [message.content.split()[1] for message in history.recent()] == "16 16 17 17 18 18 19 19".split()
    history.save(tmp_path / "history.jsonl")
    assert len(History.load(tmp_path / "history.jsonl").messages) == 40


def test_saving_and_loading_keeps_every_message(tmp_path: Path):
    history = History([Message("user", '你好\n\u2028 "q"'), Message("assistant", "Hello")])
    history.save(tmp_path / "h.jsonl")
    assert History.load(tmp_path / "h.jsonl").messages == history.messages
    assert json.loads((tmp_path / "h.jsonl").read_text(encoding="utf-8").split("\n")[0])["role"] == "user"
