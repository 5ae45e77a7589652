"""Replies from the embedded GGUF through llama.cpp: the real model."""

import asyncio

import pytest
from scripted_engines import scores

from emolib.chat import LlamaReplyModel, Message, bounded, count_words, short_prompt
from emolib.chat.embedded import embedded_chat_gguf
from emolib.errors import ModelError
from emolib.models import chat_gguf


@pytest.fixture(scope="module")
def replies():
    """Two replies to each of two questions, one with an emotion and one without."""

    async def ask():
        model = LlamaReplyModel(max_words=25)
        try:
            return [
                [
                    [piece async for piece in model.stream([Message("user", question)], emotion)]
                    for emotion in (None, scores("joy"))
                ]
                for question in ("What is the capital of France?", "We found our lost cat!", "Hm.")
            ]
        finally:
            await model.aclose()

    return asyncio.run(ask())


def test_a_question_is_answered_and_never_with_nothing(replies):
    assert "Paris" in "".join(replies[0][0])
    assert all(count_words("".join(pieces)) for row in replies for pieces in row)


def test_the_reply_comes_piece_by_piece_and_stays_within_its_length(replies):
    assert all(len(pieces) > 1 for row in replies for pieces in row)
    assert all(count_words("".join(pieces)) <= 25 for row in replies for pieces in row)


def test_the_tone_changes_the_reply(replies):
    assert any("".join(row[0]) != "".join(row[1]) for row in replies)


def test_a_model_that_was_closed_loads_again_and_gives_the_same_reply(replies):
    async def once_more():
        model = LlamaReplyModel(max_words=25)
        history = [Message("user", "What is the capital of France?")]
        async for _ in model.stream(history, None):
            break
        await model.aclose()
        await model.aclose()
        try:
            return [piece async for piece in model.stream(history, None)]
        finally:
            await model.aclose()

    assert asyncio.run(once_more()) == replies[0][0]


@pytest.mark.parametrize("damage", ["missing", "truncated", "junk"])
def test_a_file_that_cannot_be_loaded_is_named(damage, tmp_path):
    path = tmp_path / "model.gguf"
    if damage == "truncated":
        path.write_bytes(chat_gguf().read_bytes()[:3_000_000])
    elif damage == "junk":
        path.write_text("not a model" * 100)
    with pytest.raises(ModelError, match=r"model\.gguf"):
        LlamaReplyModel(path).start()


def test_the_embedded_model_is_made_over_for_cpus_once_and_the_wheels_own_file_stands_in(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOLIB_CACHE", str(tmp_path / "cache"))
    made = embedded_chat_gguf()
    assert made.name == "SmolLM2-135M-Instruct.Q8_0.gguf"
    assert made.stat().st_size > 1.4 * chat_gguf().stat().st_size
    changed = made.stat().st_mtime_ns
    assert embedded_chat_gguf().stat().st_mtime_ns == changed
    assert [path.name for path in made.parent.iterdir()] == [made.name], "nothing half-made is left"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMOLIB_CACHE", str(tmp_path / "file"))
    assert embedded_chat_gguf() == chat_gguf()


def test_what_stands_before_the_history_is_the_same_for_every_emotion():
    history = [Message("user", "Hello."), Message("assistant", "Hi!"), Message("user", "I won.")]
    sent = [short_prompt(history, None, tone) for tone in ("joy", "fear", "lasting sadness")]
    assert sent[0][:-1] == sent[1][:-1] == sent[2][:-1]
    assert [messages[-1].content for messages in sent] == ["[joy] I won.", "[fear] I won.", "[lasting sadness] I won."]
    assert short_prompt(history, None)[-3:] == history, "the neutral tone has no name"


def test_a_sentence_is_known_to_be_over_before_the_next_one_is_written():
    async def pieces():
        for piece in ("One", " two", ".", " Three", " four", "."):
            yield piece

    async def collect():
        return [piece async for piece in bounded(pieces(), 8)]

    assert asyncio.run(collect()) == ["One", " two", ".", " ", "Three", " four", "."]


def bound(text, max_words):
    async def letters():
        for start in range(0, len(text), 3):
            yield text[start : start + 3]

    async def collect():
        return "".join([piece async for piece in bounded(letters(), max_words)])

    return asyncio.run(collect())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("One two three. Four five six. Seven eight nine ten eleven.", "One two three. Four five six."),
        ("One two three. Four", "One two three. Four"),
        (
            "One two three, four five six seven eight nine ten eleven twelve.",
            "One two three, four five six seven eight",
        ),
        ("  \n Yes.", "Yes."),
        (" ... ", ""),
        ("你好。我今天很高兴见到你们大家。", "你好。"),
    ],
)
def test_a_reply_ends_with_a_whole_sentence_within_its_length(text, kept):
    assert bound(text, 8).rstrip("… ") == kept
    assert count_words(bound(text, 8)) <= 8


def test_a_sentence_that_is_too_long_is_closed_with_an_ellipsis():
    assert bound("one two three four five six seven eight nine ten", 8).endswith("…")
