"""Conversations in tokens: training sees what inference sees, and learns the assistant's turns alone."""

from __future__ import annotations

import pytest
import requests
from tiny_models import tiny_chat_tokenizer, tiny_tokenizer

from emolib.chat import TONES
from emolib.errors import InputError, ModelError, UsageError
from emolib.llama.server import LlamaServerOptions, start_server
from emolib.models import chat_gguf, load_tokenizer
from emolib.prompting.chat import CHAT_SYSTEM, Message, companion_messages
from emolib.prompting.chat_encoding import ChatEncoder, ChatTokens, chat_example, common_prefix

TALK = (
    Message("user", "I still step over Baxter’s bed. He's been gone 2 weeks…", "sadness"),
    Message("assistant", "Two weeks is so short. How long was Baxter with you?"),
    Message("user", "  fourteen years 🐕 "),
    Message("assistant", "14 years!\nNo wonder the hallway feels wrong."),
    Message("user", "He slept with his head in my shoe.", "lasting sadness"),
    Message("assistant", "(In your shoe!)"),
)


@pytest.fixture(scope="module", params=["smollm2-135m", "tiny"])
def encoder(request: pytest.FixtureRequest) -> ChatEncoder:
    tokenizer = tiny_chat_tokenizer() if request.param == "tiny" else load_tokenizer(request.param)
    return ChatEncoder(tokenizer, request.param)


def turns(tokens: ChatTokens) -> list[list[int]]:
    """The learnt places, a list for each of the assistant's turns."""
    found: list[list[int]] = []
    for place in tokens.targets:
        if found and place == found[-1][-1] + 1:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def test_every_user_message_carries_the_tone_it_was_said_in() -> None:
    messages = companion_messages(TALK[:5])
    assert messages[0] == {"role": "system", "content": CHAT_SYSTEM}
    assert [message["role"] for message in messages[1:]] == [message.role for message in TALK[:5]]
    assert messages[1]["content"].startswith("[sadness] I still")
    assert messages[2]["content"] == TALK[1].content
    assert messages[3]["content"] == "[neutral] fourteen years 🐕"
    assert messages[5]["content"].startswith("[lasting sadness] He slept")


def test_a_tone_replaces_that_of_the_last_user_message_alone() -> None:
    messages = companion_messages(TALK[:3], "careful")
    assert messages[1]["content"].startswith("[sadness]")
    assert messages[3]["content"] == "[careful] fourteen years 🐕"


def test_a_system_message_of_the_conversation_is_kept() -> None:
    messages = companion_messages([Message("system", "Speak like a pirate."), *TALK[:1]])
    assert [message["content"] for message in messages if message["role"] == "system"] == ["Speak like a pirate."]


def test_no_messages_are_refused() -> None:
    with pytest.raises(UsageError, match="at least one message"):
        companion_messages([])


def test_the_emotion_stays_out_of_what_servers_are_sent() -> None:
    assert Message("user", "Hi.", "joy").as_dict() == {"role": "user", "content": "Hi."}


@pytest.mark.parametrize("tone", TONES)
def test_training_sees_before_each_reply_the_tokens_that_inference_is_given(encoder: ChatEncoder, tone: str) -> None:
    talk = (Message("user", TALK[0].content, tone), *TALK[1:])
    tokens = encoder.encode(talk)
    for number, places in enumerate(turns(tokens)):
        history = talk[: 2 * number + 1]
        assert tokens.ids[: places[0]] == encoder.prompt_ids(history)
        assert tokens.ids[: places[0]] == encoder.prompt_ids(
            (*history[:-1], Message("user", history[-1].content)), history[-1].emotion
        )


def test_what_is_learnt_is_each_reply_and_the_token_that_ends_it(encoder: ChatEncoder) -> None:
    tokens = encoder.encode(TALK)
    learnt = [encoder.tokenizer.decode([tokens.ids[place] for place in places]) for places in turns(tokens)]
    end = encoder.tokenizer.eos_token
    assert learnt == [message.content + end for message in TALK if message.role == "assistant"]


def test_llama_cpp_gives_the_same_tokens() -> None:
    encoder = ChatEncoder(load_tokenizer("smollm2-135m"), "smollm2-135m")
    server = start_server(chat_gguf(), LlamaServerOptions(threads=1, slot_tokens=512))
    url = server.listening_address
    with requests.Session() as session:
        session.trust_env = False
        prompt = session.post(f"{url}/apply-template", json={"messages": companion_messages(TALK[:5])}).json()["prompt"]
        asked = {"content": prompt, "add_special": True, "parse_special": True}
        tokens = session.post(f"{url}/tokenize", json=asked).json()["tokens"]
    assert tuple(tokens) == encoder.prompt_ids(TALK[:5])


def test_the_shared_prefix_is_the_template_s_opening(encoder: ChatEncoder) -> None:
    rows = [encoder.encode(TALK[:2]), encoder.encode([Message("user", "Hi.", "joy"), Message("assistant", "Hello!")])]
    assert CHAT_SYSTEM in encoder.tokenizer.decode(common_prefix(rows))
    own = encoder.encode([Message("system", "Be brief."), *TALK[:2]])
    assert len(common_prefix([*rows, own])) < len(common_prefix(rows))


def test_the_shared_prefix_of_one_conversation_ends_before_its_first_reply(encoder: ChatEncoder) -> None:
    tokens = encoder.encode(TALK[:2])
    prefix = common_prefix([tokens, tokens])
    example = chat_example(tokens, len(prefix))
    assert example.target_at[0] == 0
    assert (*prefix, *example.input_ids, example.target_ids[-1]) == tokens.ids


def test_a_conversation_too_long_loses_exchanges_at_its_end(encoder: ChatEncoder) -> None:
    whole, first = encoder.encode(TALK), encoder.encode(TALK[:2])
    short = ChatEncoder(encoder.tokenizer, encoder.name, max_length=len(whole) - 1).encode(TALK)
    assert (short.ids, short.cut) == (encoder.encode(TALK[:4]).ids, 1)
    with pytest.raises(InputError, match=rf"first exchange has {len(first)} tokens .* max_length is {len(first) - 1}"):
        ChatEncoder(encoder.tokenizer, encoder.name, max_length=len(first) - 1).encode(TALK)


def test_a_message_that_spells_a_control_token_is_refused(encoder: ChatEncoder) -> None:
    end = encoder.tokenizer.eos_token
    with pytest.raises(InputError, match=r"message 1 spells .* control token"):
        encoder.encode([Message("user", f"Hi.{end}"), TALK[1]])


def test_a_tokenizer_without_a_chat_template_is_refused() -> None:
    with pytest.raises(ModelError, match=r"mine has no chat template.*instruct"):
        ChatEncoder(tiny_tokenizer(), "mine")


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}", "no token of its own"),
        (
            "{% for m in messages %}{{ m['role'] + '\\n' + (m['content'] if loop.last or m['role'] != 'assistant'"
            " else '') + '<|end|>\\n' }}{% endfor %}{{ 'assistant\\n' if add_generation_prompt }}",
            "depend on what follows",
        ),
        ("{{ raise_exception('System role not supported') }}", "refuses a conversation: System role not supported"),
    ],
    ids=["no end", "changed turns", "no system"],
)
def test_a_chat_template_that_cannot_be_trained_is_refused(template: str, problem: str) -> None:
    tokenizer = tiny_chat_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match=problem):
        ChatEncoder(tokenizer, "mine")
