"""The bundled adapter `companion`: it converses, repeats nothing, and leaves its base model as it was."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import aclosing

import pytest
import requests

from emolib.chat import LlamaReplyModel, Message, count_words, server_adapters
from emolib.chat.guards import nearly_equal
from emolib.dialogue import History
from emolib.emotion_model import find_adapter
from emolib.errors import UsageError
from emolib.export import open_llm_server
from emolib.llama.server import LlamaServerOptions
from emolib.reply_examples import ReplyExamples
from emolib.stack import open_reply_model

#: Thirty lines on changing subjects, each with the tone that it is said in.
CONVERSATION = [
    ("joy", "Hi there! I finally finished painting the kitchen."), ("neutral", "It took me three weekends."),
    ("joy", "Pale yellow, my wife chose it."), ("neutral", "How many legs does a spider have?"),
    ("fear", "I found a big one behind the fridge."), ("neutral", "It's gone now, my son carried it out."),
    ("love", "He is so gentle with animals."), ("sadness", "Our old cat died in spring, he still misses her."),
    ("sadness", "She slept on his bed for eleven years."), ("neutral", "thanks"),
    ("anger", "My boss moved the deadline again without asking anyone."), ("anger", "Third time this month!"),
    ("neutral", "What is nine times seven?"), ("surprise", "You won't believe who called me today."),
    ("joy", "My brother from Canada, he is coming for Christmas!"), ("neutral", "I have to find a bed for him."),
    ("neutral", "Can you order one for me?"), ("neutral", "okay, no problem"),
    ("sadness", "Sometimes I feel very alone in this town."), ("sadness", "People are polite but nobody visits."),
    ("neutral", "maybe I should join the choir"), ("fear", "But I haven't sung since school."),
    ("joy", "The choir leader said I can come on Tuesday!"), ("neutral", "What's the capital of Norway?"),
    ("neutral", "I'd love to see the fjords one day."), ("anger", "The train there is ridiculously expensive."),
    ("neutral", "never mind"), ("love", "My wife just brought me tea, without me asking."),
    ("neutral", "What was the colour of my kitchen again?"), ("neutral", "Good night."),
]  # fmt: skip


async def held(lines: Sequence[tuple[str, str]]) -> list[str]:
    """The replies to `lines`, one after the other, in one conversation."""
    model, history, replies = open_reply_model("embedded"), History(), []
    try:
        for tone, line in lines:
            messages = [*history.recent(), Message("user", line, tone)]
            async with aclosing(model.stream(messages, None, tone)) as pieces:
                replies.append("".join([piece async for piece in pieces]).strip())
            history.add(line, replies[-1], tone)
    finally:
        await model.aclose()
    return replies


@pytest.fixture(scope="module")
def replies() -> list[str]:
    return asyncio.run(held(CONVERSATION))


def test_in_thirty_turns_nothing_is_said_twice(replies: list[str]):
    assert not [pair for pair in itertools.combinations(replies, 2) if nearly_equal(*pair)]


def test_replies_are_short_whole_sentences_without_marks(replies: list[str]):
    assert max(count_words(reply) for reply in replies) <= 40
    assert all(reply[-1] in ".!?…\"'" for reply in replies)
    assert not any(mark in reply for reply in replies for mark in ("[", "*", "<", "#"))


def test_plain_questions_are_answered(replies: list[str]):
    answers = {line: reply for (_, line), reply in zip(CONVERSATION, replies, strict=True)}
    assert "eight" in answers["How many legs does a spider have?"].lower()
    assert "Oslo" in answers["What's the capital of Norway?"]


def test_a_written_reply_is_given_where_it_suits_and_the_conversation_goes_on():
    jokes = ["tell me a joke", "tell me a joke", "The old kettle hums when the neighbour plays the tuba."]
    first, second, generated = asyncio.run(held([("neutral", line) for line in jokes]))
    written = {example.reply for example in ReplyExamples.bundled().index.exchanges}
    assert {first, second} < written
    assert first != second
    assert generated not in written


def test_a_system_message_of_the_user_is_obeyed_by_the_model_and_no_written_reply():
    async def replies() -> set[str]:
        model = open_reply_model("embedded")
        history = [Message("system", "Speak of rain."), Message("user", "tell me a joke")]
        try:
            async with aclosing(model.stream(history, None, "neutral")) as pieces:
                return {"".join([piece async for piece in pieces]).strip()}
        finally:
            await model.aclose()

    assert not asyncio.run(replies()) & {example.reply for example in ReplyExamples.bundled().index.exchanges}


@pytest.mark.parametrize(
    "line",
    ["😀🎉", "?", "Je suis très fatiguée ce soir.", "you are a stupid machine", "word " * 2000, "我今天很累。"],
    ids=["emoji", "a mark", "French", "an insult", "2,000 words", "Chinese"],
)
def test_odd_messages_get_a_reply(line: str):
    (reply,) = asyncio.run(held([("neutral", line)]))
    assert count_words(reply)


def test_the_same_line_ten_times_is_not_answered_ten_times_alike():
    replies = asyncio.run(held([("neutral", "I don't know what to say.")] * 10))
    assert len(set(replies)) > 5


def test_a_system_message_of_the_user_is_kept():
    history = History([Message("system", "Always answer in one word.")])
    history.add("Hello", "Hi.")
    assert history.recent()[0].role == "system"


def test_the_base_model_answers_token_for_token_as_without_the_adapters_beside_it():
    body = {"messages": [{"role": "user", "content": "Name three colours."}], "temperature": 0, "max_tokens": 24}

    def asked(adapters: Sequence[str]) -> str:
        server, _ = open_llm_server(None, adapters, LlamaServerOptions(threads=1))
        url = f"{server.listening_address}/v1/chat/completions"
        found = []
        for scale in (0.0, 1.0, 0.0):
            lora = [{"id": number, "scale": scale} for number in range(len(adapters))]
            answer = requests.post(url, json=body | {"lora": lora}, timeout=60).json()
            found.append(answer["choices"][0]["message"]["content"])
        assert found[0] == found[2], "nothing is left of the request between"
        if adapters:
            assert server_adapters(server.listening_address).scales == (0.0, 1.0)
            assert found[0] != found[1], "the adapters do something"
        return found[0]

    assert asked(["everyday", "companion"]) == asked([])


def test_companion_is_no_classifier_and_a_classifier_does_not_reply():
    assert find_adapter("companion", task="chat").task == "chat"
    with pytest.raises(UsageError, match="companion was trained"):
        find_adapter("companion")
    with pytest.raises(UsageError, match="everyday was trained"):
        LlamaReplyModel(adapter="everyday").start()
