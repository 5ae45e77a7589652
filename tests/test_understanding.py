"""Content understanding: the checked fields, from a server and from the embedded model under a grammar."""

import asyncio
import json

import pytest
from scripted_server import Status, scripted_server

from emolib.chat import LlamaReplyModel, Message, OpenAIReplyModel, Understanding, understand
from emolib.errors import ServiceError, UsageError

HISTORY = [Message("user", "I failed my exam and I am afraid to tell my father.")]
GOOD = {"topic": "a failed exam", "need": "courage to tell", "cause": "fear of the father", "tone": "reassuring"}


class Whole(Status):
    """A whole answer with `text` as its content."""

    def __init__(self, text: str) -> None:
        super().__init__(200)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        self.body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}


def ask(model, history=HISTORY):
    async def once():
        try:
            return await understand(model, history)
        finally:
            await model.aclose()

    return asyncio.run(once())


def test_a_servers_answer_is_checked_field_by_field():
    with scripted_server(Whole(json.dumps(GOOD))) as server:
        found = ask(OpenAIReplyModel(base_url=server.url))
    assert found == Understanding(**GOOD)
    schema = server.requests[0]["response_format"]["json_schema"]["schema"]
    assert set(schema["required"]) == {"topic", "need", "cause", "tone"}


@pytest.mark.parametrize("bad", ["It is about an exam.", json.dumps(GOOD | {"tone": "furious"}), "{}", ""])
def test_an_answer_that_does_not_fit_is_asked_for_once_more(bad):
    with scripted_server(Whole(bad), Whole(json.dumps(GOOD))) as server:
        assert ask(OpenAIReplyModel(base_url=server.url)).tone == "reassuring"


def test_a_server_that_never_fits_is_named_with_the_field():
    bad = Whole(json.dumps(GOOD | {"tone": "furious"}))
    with scripted_server(bad, bad) as server, pytest.raises(ServiceError, match=r"JSON schema \(tone"):
        ask(OpenAIReplyModel(base_url=server.url))


def test_nothing_to_understand_is_bad_use():
    with pytest.raises(UsageError, match="no message"):
        ask(LlamaReplyModel(), [])


def test_the_embedded_model_fits_the_schema_under_its_grammar():
    found = ask(LlamaReplyModel())
    assert found.topic
    assert found.need
