"""Chat servers as people run them: every quirk is talked to, or the message says what to change."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from scripted_server import ScriptedServer, Status, Stream, chunk, no_choices, reply, scripted_server

from emolib.chat import Message, OpenAIReplyModel
from emolib.errors import ServiceError, UsageError
from emolib.stack import Stack, open_reply_model

HISTORY = [Message("user", "My dog died.")]
ANSWER = "I am so sorry to hear that. What happened?"
THOUGHTS = "Okay, the user feels sad about the dog. I should be kind and short. " * 12
PAGE = "<!DOCTYPE html><html><head><title>nginx</title></head><body><h1>{}</h1></body></html>"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)


def ask(model: OpenAIReplyModel, *histories: list[Message]) -> str:
    """The reply to the last of `histories`, asked one after the other."""

    async def collected() -> str:
        try:
            for history in histories or (HISTORY,):
                pieces = [piece async for piece in model.stream(history, None)]
            return "".join(pieces)
        finally:
            await model.aclose()

    return asyncio.run(collected())


def reply_of(server: ScriptedServer, **options: Any) -> str:
    return ask(OpenAIReplyModel(base_url=server.url, **options))


def whole(text: str, **message: Any) -> Status:
    """An answer in one piece to a request for a stream."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text, **message}}
    return Status(200, body={"id": "1", "object": "chat.completion", "choices": [choice]})


def thoughts(name: str, text: str) -> dict[str, Any]:
    event = chunk(None)
    event["choices"][0]["delta"] = {name: text, "content": None}
    return event


# --- addresses --------------------------------------------------------------------------------------------------------

LM_STUDIO = Status(200, body={"error": "Unexpected endpoint or method. (POST /chat/completions)"})
FASTAPI = Status(404, body={"detail": "Not Found"})


@pytest.mark.parametrize("elsewhere", [None, LM_STUDIO, FASTAPI, Status(200, body=PAGE.format("Open WebUI"))])
@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/", "/v1/chat/completions", "/api/chat"])
def test_an_address_is_understood_as_it_is_copied(tail: str, elsewhere: Status | None) -> None:
    with scripted_server(reply(ANSWER), elsewhere=elsewhere) as server:
        assert ask(OpenAIReplyModel(base_url=f"{server.origin}{tail}")) == ANSWER


@pytest.mark.parametrize("elsewhere", [None, LM_STUDIO, FASTAPI, Status(405, body=PAGE.format("405"))])
def test_an_api_that_is_elsewhere_than_under_v1_is_found_once(elsewhere: Status | None) -> None:
    """GitHub Models and Gemini have no version at the end of their address, Open WebUI has /api."""
    with scripted_server(reply(ANSWER), reply("And then?"), root="/inference", elsewhere=elsewhere) as server:
        assert ask(OpenAIReplyModel(base_url=server.url), HISTORY, HISTORY) == "And then?"
    wrong, *right = server.paths
    assert wrong == "/inference/v1/chat/completions"
    assert right == ["/inference/chat/completions"] * 2


@pytest.mark.parametrize("elsewhere", [None, LM_STUDIO, Status(200, body=PAGE.format("It works!"))])
def test_an_address_without_an_api_says_what_to_change(elsewhere: Status | None) -> None:
    with (
        scripted_server(root="/nowhere", elsewhere=elsewhere) as server,
        pytest.raises(ServiceError, match=r"is not the address of this API.*ends with /v1") as caught,
    ):
        ask(OpenAIReplyModel(base_url=f"{server.origin}/v1"))
    assert "<" not in str(caught.value)


def test_a_query_of_the_address_goes_with_every_request() -> None:
    """Azure's older addresses have the version of the API in it."""
    with scripted_server(reply(ANSWER), root="/openai/deployments/gpt") as server:
        assert ask(OpenAIReplyModel(base_url=f"{server.url}?api-version=2024-10-21")) == ANSWER
    assert server.paths[-1] == "/openai/deployments/gpt/chat/completions?api-version=2024-10-21"


def test_azure_gets_the_key_in_its_own_header_too() -> None:
    from emolib.openai_client import OpenAIServer

    azure = OpenAIServer("https://mine.openai.azure.com/openai/v1", "secret").client()
    assert azure.default_headers["api-key"] == "secret"
    assert "api-key" not in OpenAIServer("https://example.com/v1", "secret").client().default_headers


# --- models -----------------------------------------------------------------------------------------------------------


def test_the_one_model_of_a_server_is_taken_when_none_is_named() -> None:
    with scripted_server(reply(ANSWER), models=["text-embedding-nomic", "qwen3:8b"]) as server:
        model = OpenAIReplyModel(base_url=server.origin)
        model.start()
        assert model.name == f"qwen3:8b at {server.origin}"
        assert ask(model) == ANSWER
    assert server.requests[0]["model"] == "qwen3:8b"


def test_of_several_models_one_has_to_be_named() -> None:
    with scripted_server(models=["qwen3:8b", "gemma3:4b"]) as server:
        model = OpenAIReplyModel(base_url=server.url)
        with pytest.raises(UsageError, match=rf"has the models qwen3:8b, gemma3:4b; name one.*{server.url}#qwen3:8b"):
            model.start()


def test_a_server_that_lists_no_models_is_asked_all_the_same() -> None:
    with scripted_server(reply(ANSWER)) as server:
        assert reply_of(server) == ANSWER


@pytest.mark.parametrize(
    "refusal",
    [
        Status(404, 'model "tiny" not found, try pulling it first'),
        Status(404, body={"object": "error", "message": "The model `tiny` does not exist."}),
        Status(400, "tiny is not a valid model ID"),
        Status(400, "Model Not Exist"),
        Status(404, body={"error": {"code": "DeploymentNotFound", "message": "The deployment does not exist."}}),
        Status(404, "No models loaded. Please load a model in the developer page"),
    ],
)
def test_a_wrong_name_brings_the_models_that_there_are(refusal: Status) -> None:
    with (
        scripted_server(refusal, models=["qwen3:8b"]) as server,
        pytest.raises(ServiceError, match=r"it has the model qwen3:8b: name one behind the address.*#qwen3:8b"),
    ):
        reply_of(server, model="tiny")


# --- loading, limits and errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loading",
    [
        Status(503, body={"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
        Status(503, body={"error": "Model Qwen/Qwen3-8B is currently loading", "estimated_time": 20.0}),
        Stream("event: error", 'data: {"error": {"message": "Model is loading"}}'),
    ],
)
def test_a_model_that_is_loading_is_waited_for_and_that_is_said(
    loading: Status | Stream, caplog: pytest.LogCaptureFixture
) -> None:
    with scripted_server(*[loading] * 2, reply(ANSWER)) as server:
        assert reply_of(server, retries=0) == ANSWER
    assert [record.getMessage() for record in caplog.records if "loading its model" in record.getMessage()] == [
        f"{server.url} is loading its model; waiting up to 120 s (--chat-timeout)"
    ]


def test_a_model_that_loads_for_ever_is_given_up_at_the_time_out() -> None:
    loading = Status(503, "Loading model", Retry_After_Ms="50")
    with scripted_server(*[loading] * 99) as server, pytest.raises(ServiceError, match="HTTP 503: Loading model"):
        reply_of(server, timeout=0.4)
    assert 2 < len(server.requests) < 20


def test_a_server_that_says_nothing_yet_is_named_after_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("emolib.chat.server._NOTICE_S", 0.1)
    stalls = [Stream(then="stall")] * 2
    with scripted_server(*stalls) as server, pytest.raises(ServiceError, match="allow it more time"):
        reply_of(server, timeout=0.5)
    assert "has not answered yet; waiting up to 0.5 s (--chat-timeout)" in caplog.text


def test_the_first_word_may_take_longer_than_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emolib.chat.server._FIRST_S", 5.0)
    monkeypatch.setattr("emolib.chat.server._BETWEEN_S", 0.2)
    with scripted_server(Stream(chunk("I am"), then="stall")) as server:
        with pytest.raises(ServiceError, match=r"silent for 0\.2 s"):
            reply_of(server)
        assert OpenAIReplyModel(base_url=server.url).patience_s == 10.0


def test_the_time_out_is_an_option_and_a_part_of_a_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    from emolib.cli import find_command

    command = find_command("chat")
    *_, parts = command.read(command.parser("chat", ""), ["--chat-timeout", "300"])
    assert Stack().with_changes(**parts).chat_timeout == 300.0
    assert open_reply_model("http://127.0.0.1:9/v1", 300.0).patience_s == 600.0
    with pytest.raises(UsageError, match="chat_timeout"):
        Stack(chat_timeout=0.0)


def test_a_stack_file_may_give_the_time_out_as_a_whole_number(tmp_path: Any) -> None:
    (tmp_path / "mine.toml").write_text("chat_timeout = 60\n", encoding="utf-8")
    assert Stack.load(tmp_path / "mine.toml").chat_timeout == 60
    (tmp_path / "mine.toml").write_text('chat_timeout = "long"\n', encoding="utf-8")
    with pytest.raises(UsageError, match="chat_timeout is a float"):
        Stack.load(tmp_path / "mine.toml")


def test_a_rate_limit_that_ends_soon_is_waited_for() -> None:
    with scripted_server(Status(429, "slow down", Retry_After_Ms="", Retry_After="0.1"), reply(ANSWER)) as server:
        assert reply_of(server) == ANSWER


@pytest.mark.parametrize("late", ["900", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_a_rate_limit_that_lasts_is_told_with_its_end(late: str) -> None:
    limited = Status(429, "slow down", Retry_After_Ms="", Retry_After=late)
    with (
        scripted_server(limited, reply(ANSWER)) as server,
        pytest.raises(ServiceError, match=r"again in \d{3,} s.*slow"),
    ):
        reply_of(server)
    assert len(server.requests) == 1


def test_a_quota_that_is_used_up_is_not_asked_for_again() -> None:
    empty = Status(429, body={"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}})
    with scripted_server(empty, reply(ANSWER)) as server, pytest.raises(ServiceError, match="exceeded your current"):
        reply_of(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [401, 403, 500, 502])
def test_a_page_in_html_is_told_in_words(code: int) -> None:
    page = Status(code, body=PAGE.format(f"{code} Bad &amp; Gateway"))
    with scripted_server(page) as server, pytest.raises(ServiceError, match=rf"HTTP {code}\b.*Bad & Gateway") as caught:
        reply_of(server, retries=0)
    assert "<" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": "does not support chat"}, "does not support chat"),
        ({"detail": "no chat template"}, "no chat template"),
        ({"detail": [{"loc": ["body", "messages"], "msg": "Field required"}]}, "body.messages: Field required"),
        ({"object": "error", "message": "bad input"}, "bad input"),
    ],
)
def test_the_words_of_an_error_are_found_in_any_form(body: dict[str, Any], said: str) -> None:
    with scripted_server(Status(400, body=body)) as server, pytest.raises(ServiceError, match=f"HTTP 400: {said}$"):
        reply_of(server)


# --- fields and roles -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "refusal"),
    [
        ("seed", Status(422, body={"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra"}]})),
        ("seed", Status(400, "property 'seed' is unsupported")),
        ("temperature", Status(400, "Unsupported value: 'temperature' does not support 0.2 with this model.")),
        ("reasoning_effort", Status(500, "Unexpected reasoning effort none. Supported types are low, medium")),
        ("reasoning_effort", Status(400, "Kwargs ['reasoning_effort'] are not supported by `MistralCommonTokenizer`")),
        ("chat_template_kwargs", Status(400, "Unrecognized request argument supplied: chat_template_kwargs")),
        ("stream", Status(400, "stream is not supported")),
    ],
)
def test_a_field_that_is_refused_is_left_out_from_then_on(field: str, refusal: Status) -> None:
    answers = (whole(ANSWER), whole("And then?")) if field == "stream" else (reply(ANSWER), reply("And then?"))
    with scripted_server(refusal, *answers) as server:
        model = OpenAIReplyModel(base_url=server.url, temperature=0.2, retries=0)
        assert ask(model, HISTORY, HISTORY) == "And then?"
    first, *later = server.requests
    assert field in first
    assert len(later) == 2
    assert not any(field in request for request in later)


def test_a_token_limit_of_the_other_name_is_tried() -> None:
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    with scripted_server(Status(400, words), reply(ANSWER)) as server:
        assert reply_of(server) == ANSWER
    assert "max_tokens" not in server.requests[1]
    assert server.requests[1]["max_completion_tokens"] == server.requests[0]["max_tokens"]


def test_a_prompt_that_is_too_long_is_no_reason_to_leave_a_field_out() -> None:
    words = "This model's maximum context length is 512 tokens. Please reduce the messages or max_tokens."
    with scripted_server(Status(400, words)) as server, pytest.raises(ServiceError, match="maximum context length"):
        reply_of(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        Status(400, "System role not supported"),
        Status(500, "Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/..."),
        Status(400, "Only user, assistant and tool roles are supported, got system."),
        Status(400, "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
        Stream("event: error", 'data: {"error": {"message": "Error rendering prompt: System role not supported"}}'),
    ],
)
def test_a_model_without_system_messages_gets_turns_of_two(refusal: Status | Stream) -> None:
    history = [Message("user", "Hello."), Message("user", "My dog died.")]
    with scripted_server(refusal, reply(ANSWER), reply("And then?")) as server:
        assert ask(OpenAIReplyModel(base_url=server.url, retries=0), history, history) == "And then?"
    assert [message["role"] for message in server.requests[0]["messages"]] == ["system", "user", "user"]
    for request in server.requests[1:]:
        (only,) = request["messages"]
        assert only["role"] == "user"
        assert only["content"].startswith("You are a kind companion")
        assert only["content"].endswith("Hello.\n\nMy dog died.")


# --- thoughts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "eaten",
    [
        Stream(thoughts("reasoning_content", THOUGHTS), chunk(None, "length")),
        Stream(thoughts("reasoning", THOUGHTS), chunk(None, "length")),
        Stream(chunk(f"<think>{THOUGHTS}"), chunk(None, "length")),
        Stream(chunk(None, "length")),
    ],
)
def test_a_budget_that_thoughts_have_eaten_is_made_larger(eaten: Stream) -> None:
    with scripted_server(eaten, reply(ANSWER)) as server:
        assert reply_of(server) == ANSWER
    assert server.requests[1]["max_tokens"] > server.requests[0]["max_tokens"] + 1000


def test_thinking_is_switched_off_wherever_a_server_takes_that() -> None:
    with scripted_server(reply(ANSWER)) as server:
        assert reply_of(server) == ANSWER
    assert server.requests[0]["reasoning_effort"] == "none"
    assert server.requests[0]["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize("tag", ["think", "thinking", "thought", "reasoning"])
def test_thoughts_between_tags_are_not_said(tag: str) -> None:
    with scripted_server(reply(f"<{tag}>\n{THOUGHTS}\n</{tag}>\n\n{ANSWER}")) as server:
        assert reply_of(server) == ANSWER


def test_thoughts_of_which_only_the_end_is_marked_are_not_said() -> None:
    """The prompt of such a model ends with the first tag."""
    with scripted_server(reply(f"{THOUGHTS}</think> {ANSWER}"), reply(ANSWER)) as server:
        model = OpenAIReplyModel(base_url=server.url, model="deepseek-r1:7b")
        assert ask(model, HISTORY, HISTORY) == ANSWER


def test_a_model_that_only_thinks_says_what_to_change() -> None:
    open_thoughts = Stream(chunk(f"<think>{THOUGHTS}"), chunk(None, "stop"))
    with scripted_server(*[open_thoughts] * 2) as server, pytest.raises(ServiceError, match="switch its thinking off"):
        reply_of(server)


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stream",
    [
        Stream(chunk(ANSWER)),
        Stream(chunk(ANSWER, ""), chunk(None, "")),
        Stream(chunk(ANSWER), chunk(None, "stop"), then="cut"),
        Stream(chunk(ANSWER), then="end"),
        Stream(": keep-alive", no_choices(), ": OPENROUTER PROCESSING", chunk(ANSWER), chunk(None, "stop")),
        Stream("id: 1\nevent: message\nretry: 10", "data:" + json.dumps(chunk(ANSWER, "stop"))),
        Stream(chunk(None) | {"choices": None}, chunk(ANSWER, "stop")),
        whole(ANSWER),
        whole(ANSWER, reasoning_content=THOUGHTS),
    ],
)
def test_a_reply_is_whole_however_it_is_streamed(stream: Stream | Status) -> None:
    with scripted_server(stream) as server:
        assert reply_of(server) == ANSWER
    assert len(server.requests) == 1


def test_a_content_in_parts_is_read() -> None:
    event = chunk(None, "stop")
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": ANSWER}]
    event["choices"][0]["delta"] = {"content": parts}
    with scripted_server(Stream(event)) as server:
        assert reply_of(server) == ANSWER


def test_a_server_that_only_says_that_it_is_there_is_given_up() -> None:
    stalls = [Stream(": keep-alive", then="stall")] * 2
    with scripted_server(*stalls) as server, pytest.raises(ServiceError, match=r"silent for 0\.3 s"):
        reply_of(server, timeout=0.3)


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "out of memory"}},
        {"error": "out of memory"},
        'error: {"code": 500, "message": "out of memory", "error": "out of memory"}',
        'event: error\ndata: {"error": {"message": "out of memory"}}',
        {"object": "error", "message": "out of memory"},
    ],
)
@pytest.mark.parametrize("said", [(), (chunk("I am"),)])
def test_an_error_in_the_stream_is_told(error: dict[str, Any] | str, said: tuple[dict[str, Any], ...]) -> None:
    stream = Stream(*said, error)
    with scripted_server(stream, stream) as server, pytest.raises(ServiceError, match="out of memory"):
        reply_of(server)


def test_a_content_filter_is_named() -> None:
    filtered = Stream(chunk(None, "content_filter"))
    with scripted_server(filtered) as server, pytest.raises(ServiceError, match="content filter"):
        reply_of(server)
