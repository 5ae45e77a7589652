"""Written exchanges that a companion model is shown: which are found, what stands in the prompt, and in training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emolib.chat import LlamaReplyModel
from emolib.chat.shown import examples_shown_to
from emolib.emotion_model import find_adapter
from emolib.errors import ModelError
from emolib.prompting.chat import Message, ReplyExample, companion_messages
from emolib.reply_examples import ReplyExamples, WordVectors


def conversation(*texts: str, emotion: str | None = None) -> list[Message]:
    return [Message("assistant", text) if at % 2 else Message("user", text, emotion) for at, text in enumerate(texts)]


TRAIN = ("My train was cancelled again.", "Again! Will another one come soon?")
MOVED = ("My best friend moved to Australia.", "Australia is far away. Do you two talk often?")
JOKES = ("Why did the bicycle fall? It was two-tired.", "What has hands and no arms? A clock.")


@pytest.fixture(scope="module")
def known() -> ReplyExamples:
    texts = (TRAIN, MOVED, ("Tell me a joke.", JOKES[0]), ("tell me a joke", JOKES[1]))
    return ReplyExamples([conversation(*pair) for pair in texts], seed=1)


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("my train got cancelled again!", TRAIN),
        ("my best mate moved to australia", MOVED),
        ("My closest friend has moved to Canada.", MOVED),
        ("The carrots need more salt.", None),
        ("", None),
        ("👍👍", None),
        ("我很难过", None),
    ],
)
def test_an_exchange_is_found_by_the_words_or_by_their_sense(
    known: ReplyExamples, message: str, found: tuple[str, str] | None
) -> None:
    example = known.find(message)
    assert (example and example[:2]) == found


def test_of_those_alike_each_is_drawn_and_none_is_said_twice(known: ReplyExamples) -> None:
    drawn = {known.find("Tell me a joke").reply for _ in range(40)}
    assert drawn == set(JOKES)
    assert {known.find("Tell me a joke", besides={JOKES[0]}).reply for _ in range(10)} == {JOKES[1]}
    assert known.find("Tell me a joke", besides=set(JOKES)) is None


def test_the_tone_decides_between_the_same_words() -> None:
    joy, fear = (
        conversation("I'm leaving my job.", reply, emotion=tone)
        for reply, tone in (("Hooray!", "joy"), ("Oh.", "fear"))
    )
    known = ReplyExamples([joy, fear])
    assert known.find("I'm leaving my job.", "joy").reply == "Hooray!"
    assert known.find("I'm leaving my job.", "fear").reply == "Oh."


def test_a_reply_that_leans_on_earlier_turns_is_no_example() -> None:
    known = ReplyExamples(
        [
            conversation(
                "My dog Biscuit is ill.", "Poor Biscuit.", "thank you", "Good luck with Biscuit.", "bye now", "Goodbye!"
            )
        ]
    )
    assert known.find("thank you") is None
    assert known.find("bye now")[:2] == ("bye now", "Goodbye!")


def test_its_own_conversation_is_not_shown_in_training(known: ReplyExamples) -> None:
    assert known.find(TRAIN[0], outside=0) is None
    assert known.find(TRAIN[0], outside=1)[:2] == TRAIN


def test_the_same_conversation_gets_the_same_examples_as_it_goes_on(known: ReplyExamples) -> None:
    first = [Message("user", "Tell me a joke", "joy")]
    shown = known.attached(first)
    longer = [*first, Message("assistant", "Ha."), Message("user", "My train was cancelled again", "anger")]
    assert all(known.attached(longer)[0] == shown[0] for _ in range(20))
    assert known.attached(longer)[2].example[:2] == TRAIN
    assert longer[2].example is None


def test_a_message_that_leans_on_earlier_ones_gets_no_example() -> None:
    known = ReplyExamples([conversation("yes", "Yes to what?")])
    asked = [Message("user", "Is it late?"), Message("assistant", "Are you tired?"), Message("user", "Yes.")]
    assert known.attached(asked)[2].example is None
    assert known.attached([Message("user", "Yes.")])[0].example is not None
    on = ReplyExamples([conversation("anyway", "Mostly flies and other insects.")])
    assert on.attached([*asked[:2], Message("user", "Anyway.")])[-1].example is None


def test_an_example_stands_before_the_message_and_is_sent_to_no_server() -> None:
    message = Message("user", "My bus was late.", "anger", ReplyExample(*TRAIN))
    assert companion_messages([message])[-1]["content"] == f"({TRAIN[0]} / {TRAIN[1]})\n[anger] My bus was late."
    assert message.as_dict() == {"role": "user", "content": "My bus was late."}


def test_no_exchanges_are_no_examples() -> None:
    assert ReplyExamples([]).find("Hello") is None


def test_the_vectors_of_words_know_what_is_alike() -> None:
    vectors = WordVectors.bundled()
    table = vectors.table
    assert np.allclose(np.linalg.norm(table, axis=1), 1.0, atol=1e-3)
    train, bus, cheese = (table[vectors.rows[word]] for word in ("train", "bus", "cheese"))
    assert train @ bus > train @ cheese + 0.2


def test_an_adapter_names_its_examples(tmp_path: Path) -> None:
    bundled = find_adapter("companion", task="chat").adapter
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).symlink_to(bundled / name)
    notes = {"task": "chat", "examples": "mine.jsonl"}
    (tmp_path / "emolib.json").write_text(json.dumps(notes))
    with pytest.raises(ModelError, match=r"the examples mine\.jsonl"):
        examples_shown_to(tmp_path)
    row = {"messages": [message.as_dict() for message in conversation(*TRAIN)]}
    (tmp_path / "mine.jsonl").write_text(json.dumps(row) + "\n")
    assert examples_shown_to(tmp_path).find("the train was cancelled again")[:2] == TRAIN
    (tmp_path / "emolib.json").write_text(json.dumps({"task": "chat"}))
    assert examples_shown_to(tmp_path) is None


def test_the_bundled_adapter_is_shown_the_corpus() -> None:
    known = examples_shown_to("companion")
    assert known is not None
    assert len(known) > 3_000
    assert known.find("I passed my driving test!", "joy") is not None
    assert isinstance(LlamaReplyModel(adapter="companion", examples=known).name, str)
