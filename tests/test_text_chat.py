"""A conversation in text: emotion beside each line, bounded history, and going on after a failure."""

import io
import json

import pytest
from dialogue_stages import Replies, ScriptedClassifier, scores
from hypothesis import given
from hypothesis import strategies as st

from emolib.chat import Message
from emolib.cli import main
from emolib.dialogue import FALLBACK, History
from emolib.dialogue.terminal import TerminalChat
from emolib.errors import InputError


def chat(text, replies, **options):
    sink = io.StringIO()
    TerminalChat(ScriptedClassifier(scores("joy", 0.8)), replies, source=io.StringIO(text), sink=sink, **options).run()
    return sink.getvalue()


def test_the_emotion_stands_beside_each_line_and_the_answer_under_it():
    assert chat("We won!\n", Replies("How lovely!")) == "[joy 80%] We won!\nHow lovely!\n"


def test_the_second_question_is_asked_with_the_first_exchange():
    replies = Replies("How lovely!")
    chat("We won!\n\nAgain!", replies)
    assert [message.content for message in replies.asked[1][0]] == ["We won!", "How lovely!", "Again!"]


def test_a_reply_that_fails_is_answered_for_and_the_conversation_goes_on():
    shown = chat("One\nTwo\n", Replies("", failure="the server is down"))
    assert shown.count(FALLBACK) == 2
    assert shown.count("(the server is down)") == 2


def test_time_to_first_token_and_tokens_per_second_are_shown_on_request():
    shown = chat("We won!\n", Replies("How lovely!"), stats=True)
    assert "first token after" in shown
    assert "tokens/s" in shown


def test_a_conversation_is_saved_and_goes_on_from_its_file(tmp_path):
    path = tmp_path / "history.jsonl"
    chat("We won!\n", Replies("How lovely!"), history_file=path)
    replies = Replies("Good.")
    chat("Again!\n", replies, history_file=path)
    assert [message.content for message in replies.asked[0][0]] == ["We won!", "How lovely!", "Again!"]
    assert len(path.read_text().splitlines()) == 4


def test_a_history_file_keeps_the_emotion_and_a_system_message(tmp_path):
    history = History([Message("system", "Be brief.")])
    history.add("We won!", "How lovely!", "joy")
    history.add("Bye.", "Goodbye!")
    history.save(tmp_path / "history.jsonl")
    assert '"emotion": "joy"' in (tmp_path / "history.jsonl").read_text()
    assert History.load(tmp_path / "history.jsonl").messages == history.messages


def test_a_line_of_the_history_that_is_none_is_named(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"role": "user", "content": "a"}\nnot json\n')
    with pytest.raises(InputError, match=r"history\.jsonl, line 2"):
        History.load(path)


def test_a_chat_model_without_a_server_is_bad_use(monkeypatch, capsys):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert main(["chat", "--chat-model", "gpt-9"]) == 2
    assert "needs a server" in capsys.readouterr().err


@given(st.lists(st.text(alphabet="ab ", max_size=60), max_size=12), st.integers(0, 120))
def test_the_recent_history_is_the_end_of_what_has_words_within_its_tokens_and_begins_with_the_user(texts, limit):
    history = History(max_tokens=limit)
    for text in texts:
        history.add(text, text)
    recent = history.recent()
    with_words = [message for message in history.messages if message.content.strip()]
    assert recent == with_words[len(with_words) - len(recent) :]
    assert not recent or recent[0].role == "user"
    assert len(recent) * 6 <= limit


def test_the_oldest_turns_are_dropped_by_tokens_and_stay_in_the_file(tmp_path):
    history = History(max_tokens=120)
    for number in range(20):
        history.add(f"question {number} " + "word " * 8, f"answer {number}")
    assert [message.content.split()[1] for message in history.recent()] == "16 16 17 17 18 18 19 19".split()
    history.save(tmp_path / "history.jsonl")
    assert len(History.load(tmp_path / "history.jsonl").messages) == 40


def test_saving_and_loading_keeps_every_message(tmp_path):
    history = History([Message("user", '你好\n\u2028 "q"'), Message("assistant", "Hello")])
    history.save(tmp_path / "h.jsonl")
    assert History.load(tmp_path / "h.jsonl").messages == history.messages
    assert json.loads((tmp_path / "h.jsonl").read_text(encoding="utf-8").split("\n")[0])["role"] == "user"
