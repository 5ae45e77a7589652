"""The corpus of replies: its size, its style, no near-duplicates, and nothing of the held-out half in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

import emolib
from emolib.data import load_conversations
from emolib.data.near import near_duplicates
from emolib.emotions import EMOTIONS
from emolib.prompting.chat import Message

SAMPLE = Path(emolib.__file__).parent / "data" / "sample"

Conversations = Sequence[Sequence[Message]]


def texts(conversations: Conversations, role: str) -> list[str]:
    return [message.content for conversation in conversations for message in conversation if message.role == role]


def plain(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower().replace("’", "'")))


@pytest.fixture(scope="module")
def corpus() -> Conversations:
    found = load_conversations(SAMPLE / "replies.jsonl")
    assert not found.rejects
    return found.conversations


@pytest.fixture(scope="module")
def held_out() -> Conversations:
    return load_conversations(SAMPLE / "replies_heldout.jsonl").conversations


def test_it_is_as_large_as_promised(corpus: Conversations, held_out: Conversations) -> None:
    assert len(corpus) >= 1_200
    assert len(texts(corpus, "assistant")) >= 4_500
    assert len(held_out) >= 250
    assert max(len(conversation) for conversation in corpus) <= 16


def test_every_emotion_is_said_in_many_ways(corpus: Conversations) -> None:
    tones = Counter(message.emotion for conversation in corpus for message in conversation if message.role == "user")
    assert min(tones[emotion] for emotion in EMOTIONS) >= 300
    assert tones["neutral"] >= 1_000


def test_a_reply_is_short_asks_one_thing_and_is_speakable(corpus: Conversations) -> None:
    for reply in texts(corpus, "assistant"):
        assert len(re.findall(r"[\w'’-]+", reply)) <= 25, reply
        assert reply.count("?") <= 1, reply
        assert not re.search(r"[\U0001F000-\U0001FAFF☀-➿*_#\[\]]", reply), reply


def test_no_reply_nearly_repeats_another(corpus: Conversations) -> None:
    keys = [plain(reply) for reply in texts(corpus, "assistant") if len(reply.split()) >= 6]
    frame = pl.DataFrame({"index": range(len(keys)), "key": keys, "group": [0] * len(keys)})
    assert [keys[place] for place in near_duplicates(frame, 0.7)] == []


def test_no_opening_is_worn(corpus: Conversations) -> None:
    replies = texts(corpus, "assistant")
    openings = Counter(" ".join(plain(reply).split()[:3]) for reply in replies)
    assert openings.most_common(1)[0][1] <= len(replies) / 50


def test_what_is_held_out_is_held_out(corpus: Conversations, held_out: Conversations) -> None:
    known = {plain(message.content) for conversation in corpus for message in conversation}
    said = {plain(message.content) for conversation in held_out for message in conversation}
    assert [text for text in said & known if len(text.split()) > 3] == []
