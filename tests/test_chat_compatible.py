"""Replies from an OpenAI-compatible server: what is sent, and what happens when the server misbehaves."""

import asyncio
import io
import logging
import traceback

import pytest
from scripted_server import Status, Stream, chunk, no_choices, reply, scripted_server

from emolib.chat import Message, OpenAIReplyModel
from emolib.emotions import EMOTIONS
from emolib.errors import ServiceError, UsageError
from emolib.labels import EmotionScores

KEY = "sk-never-to-be-seen-1234567890"
SAD = EmotionScores({label: 0.9 if label == "sadness" else 0.02 for label in EMOTIONS})
HISTORY = [Message("user", "My train left without me.")]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)


async def _collect(model, history=HISTORY, emotion=None):
    pieces = []
    try:
        async for piece in model.stream(history, emotion):
            pieces.append(piece)
    finally:
        await model.aclose()
    return pieces


def ask(server, history=HISTORY, emotion=None, **options):
    return "".join(asyncio.run(_collect(OpenAIReplyModel(base_url=server.url, **options), history, emotion)))


def test_the_reply_comes_in_the_pieces_of_the_stream():
    with scripted_server(reply("That is a pity. Is there another?")) as server:
        pieces = asyncio.run(_collect(OpenAIReplyModel(base_url=server.url)))
    assert "".join(pieces) == "That is a pity. Is there another?"
    assert len(pieces) > 3


def test_tone_and_probabilities_stand_in_the_system_prompt_and_the_history_follows():
    with scripted_server(reply("Oh no.")) as server:
        ask(server, emotion=SAD)
    system, user = server.requests[0]["messages"]
    assert "be gentle and comforting" in system["content"]
    assert "Emotion heard in the last message: sadness 0.90" in system["content"]
    assert user == {"role": "user", "content": "My train left without me."}


def test_an_unclear_emotion_asks_for_the_neutral_tone():
    with scripted_server(reply("Oh no.")) as server:
        ask(server, emotion=EmotionScores.from_sequence([1 / 6] * 6))
    assert "Emotion heard in the last message: not clear" in server.requests[0]["messages"][0]["content"]


def test_a_history_with_its_own_system_prompt_keeps_it():
    own = [Message("system", "Speak like a pirate."), *HISTORY]
    with scripted_server(reply("Arr.")) as server:
        ask(server, own, SAD)
    assert [message["content"] for message in server.requests[0]["messages"]] == [m.content for m in own]


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_passing_failure_is_retried(code):
    with scripted_server(Status(code), Status(code), reply("Here again.")) as server:
        assert ask(server) == "Here again."


def test_retries_have_a_limit_and_the_message_says_what_to_do():
    with scripted_server(*[Status(429)] * 9) as server, pytest.raises(ServiceError, match=r"429.*check the quota"):
        ask(server, retries=2)
    assert len(server.requests) == 3


def test_a_lasting_server_error_is_named_with_the_url():
    with scripted_server(*[Status(500, "out of order")] * 9) as server:
        with pytest.raises(ServiceError, match=r"HTTP 500: .*out of order") as caught:
            ask(server, retries=1)
        assert server.url in str(caught.value)


def test_a_refused_key_is_not_retried():
    script = [Status(401, f"bad key {KEY}"), reply("no")]
    with scripted_server(*script) as server, pytest.raises(ServiceError, match="refused the API key"):
        ask(server, api_key=KEY)
    assert len(server.requests) == 1


def test_an_unknown_model_is_named():
    with scripted_server(Status(404, "no such model")) as server, pytest.raises(ServiceError, match="no model 'tiny'"):
        ask(server, model="tiny")


def test_a_stream_that_stalls_before_its_first_word_is_asked_for_again():
    with scripted_server(Stream(then="stall"), reply("Sorry, here I am.")) as server:
        assert ask(server, timeout=0.3) == "Sorry, here I am."


def test_a_stream_that_stalls_in_the_middle_ends_in_an_error_after_the_time_out():
    script = [Stream(chunk("I was about"), then="stall")]
    with scripted_server(*script) as server, pytest.raises(ServiceError, match=r"silent for 0\.3 s"):
        ask(server, timeout=0.3)


def test_a_stream_cut_in_half_is_not_taken_for_a_whole_reply():
    script = [Stream(chunk("I was about to"), then="cut"), reply("no")]
    with scripted_server(*script) as server, pytest.raises(ServiceError, match="broke off"):
        ask(server)
    assert len(server.requests) == 1


def test_a_stream_cut_before_its_first_word_is_asked_for_again():
    with scripted_server(Stream(then="cut"), reply("Whole this time.")) as server:
        assert ask(server) == "Whole this time."


def test_chunks_without_choices_are_passed_over():
    stream = Stream(no_choices(), chunk("Hello"), no_choices(), chunk(" there."), chunk(None, "stop"), no_choices())
    with scripted_server(stream) as server:
        assert ask(server) == "Hello there."


@pytest.mark.parametrize("empty", [Stream(chunk(None, "stop")), Stream(chunk("  \n"), chunk(None, "stop")), reply("…")])
def test_an_empty_reply_is_asked_for_once_more_with_another_seed(empty):
    with scripted_server(empty, reply("Now I know.")) as server:
        assert ask(server) == "Now I know."
    assert server.requests[0]["seed"] != server.requests[1]["seed"]


def test_two_empty_replies_are_an_error():
    with scripted_server(*[Stream(chunk(None, "stop"))] * 2) as server, pytest.raises(ServiceError, match="empty"):
        ask(server)


def test_a_server_that_is_not_there_is_an_error_with_its_address():
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9/v1 cannot be reached"):
        asyncio.run(_collect(OpenAIReplyModel(base_url="http://127.0.0.1:9/v1", retries=0)))


def test_gpt_without_a_key_is_bad_use():
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        OpenAIReplyModel()


def test_a_url_without_a_scheme_is_bad_use():
    with pytest.raises(UsageError, match="must start with http"):
        OpenAIReplyModel(base_url="localhost:8080/v1")


@pytest.mark.parametrize(
    "answer", [Status(401, f"wrong {KEY}"), Status(400, f"wrong {KEY}"), Stream({"error": {"message": f"bad {KEY}"}})]
)
def test_the_key_is_sent_and_is_in_no_log_error_or_representation(answer, caplog):
    shown = io.StringIO()
    caplog.set_level(logging.DEBUG)
    with scripted_server(answer, answer) as server:
        model = OpenAIReplyModel(base_url=server.url, api_key=KEY, retries=0)
        try:
            asyncio.run(_collect(model))
        except ServiceError:
            traceback.print_exc(file=shown)
    assert server.keys[0] == f"Bearer {KEY}"
    assert "ServiceError" in shown.getvalue() or "BrokenReply" in shown.getvalue()
    assert KEY not in shown.getvalue() + caplog.text + repr(model) + model.name


def test_the_key_is_in_no_saved_notebook(tmp_path, monkeypatch):
    """A notebook that shows the model and fails at a reply, saved with its outputs."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with scripted_server(Status(400, f"wrong {KEY}")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        cells = [
            "from emolib.chat import Message, OpenAIReplyModel",
            f"model = OpenAIReplyModel(base_url={server.url!r}, retries=0)\nmodel",
            "[piece async for piece in model.stream([Message('user', 'Hello.')], None)]",
        ]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        NotebookClient(notebook, allow_errors=True, timeout=60).execute()
    nbformat.write(notebook, tmp_path / "saved.ipynb")
    saved = (tmp_path / "saved.ipynb").read_text(encoding="utf-8")
    assert server.keys == [f"Bearer {KEY}"]
    assert "OpenAIReplyModel(model=" in saved
    assert "failed with HTTP 400" in saved
    assert KEY not in saved


def test_the_key_of_openai_goes_to_no_other_server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with scripted_server(reply("Hello."), Status(401)) as server:
        assert ask(server) == "Hello."
        with pytest.raises(ServiceError, match=r"without a key \(OPENAI_API_KEY goes to OpenAI and to OPENAI_BASE_URL"):
            ask(server)
    assert server.keys == ["Bearer none"] * 2


def test_a_password_in_the_url_is_not_shown():
    model = OpenAIReplyModel(base_url="https://user:secret@host.example/v1?token=abc")
    assert "secret" not in model.name + repr(model)
    assert "abc" not in model.name + repr(model)
