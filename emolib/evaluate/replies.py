"""Measures of a reply model: does it repeat itself, does it answer the message, does it know a good reply.

Over replies to the user's turns of conversations with known answers (those written for this project are in
`emolib/data/sample/replies_heldout.jsonl`):

    repeated_share   share of replies that nearly equal a reply to another message
    takes_up_word    share of replies with a content word of the message
    words            mean length of a reply
    too_long_share   share of replies over 25 words
    questions_share  share of replies that ask something
    hits_at_1        share of messages whose own reply is the likeliest of twenty, by the model
    perplexity       of the known replies, per token
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.chat.bounds import count_words
from emolib.chat.guards import nearly_equal
from emolib.errors import InputError
from emolib.prompting.chat import Message

if TYPE_CHECKING:
    from emolib.chat import ReplyModel

__all__ = [
    "Exchange",
    "LikelihoodScores",
    "ReplyScores",
    "draw_replies",
    "held_out_exchanges",
    "likelihoods",
    "reply_scores",
]

_FILE = Path(__file__).parent.parent / "data" / "sample" / "replies_heldout.jsonl"
_LONGEST_WORDS = 25
_CANDIDATES = 20
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_STOP_WORDS = frozenset(
    "a about after again all also am an and any are as at be because been before being but by can could"
    " did do does doing don't down even every for from get go going got had has have having he her here"
    " hers him his how i i'm i've if in into is it it's its just know like make me more most my no not now"
    " of off on one only or our out over really said say see she so some still than that that's the their"
    " them then there these they thing think this those to too up us very was we were what when where"
    " which who why will with would yes you you're your".split()
)


@dataclass(frozen=True)
class Exchange:
    """A message with what was said before it (`history` ends with the message), and its known reply."""

    history: tuple[Message, ...]
    reply: str

    @property
    def message(self) -> str:
        """What is to be answered."""
        return self.history[-1].content


@dataclass(frozen=True)
class ReplyScores:
    """Measures of a model's own replies; see the module."""

    repeated_share: float
    takes_up_word: float
    words: float
    too_long_share: float
    questions_share: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class LikelihoodScores:
    """What a model makes of known replies; see the module."""

    hits_at_1: float
    perplexity: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def held_out_exchanges(path: Path = _FILE, *, limit: int | None = None, seed: int = 3407) -> list[Exchange]:
    """Return the exchanges of a file of conversations, at most `limit` of them, each from another conversation first.

    InputError when the file holds no conversation.
    """
    from emolib.data.conversations import load_conversations

    found: list[list[Exchange]] = []
    for conversation in load_conversations(path).conversations:
        places = [place for place, message in enumerate(conversation) if message.role == "assistant"]
        found.append([Exchange(tuple(conversation[:place]), conversation[place].content) for place in places])
    if not found:
        raise InputError(f"{path} holds no conversation")
    chance = random.Random(seed)
    for exchanges in found:
        chance.shuffle(exchanges)
    chance.shuffle(found)
    longest = max(map(len, found))
    ordered = [exchanges[place] for place in range(longest) for exchanges in found if place < len(exchanges)]
    return ordered[:limit]


async def draw_replies(model: ReplyModel, exchanges: Sequence[Exchange]) -> list[str]:
    """Return the reply of `model` to each message, in the tone that the message is marked with."""
    replies = []
    for exchange in exchanges:
        tone = exchange.history[-1].emotion
        async with aclosing(model.stream(exchange.history, None, tone)) as pieces:
            replies.append("".join([piece async for piece in pieces]).strip())
    return replies


def reply_scores(exchanges: Sequence[Exchange], replies: Sequence[str]) -> ReplyScores:
    """Return the measures of `replies` to `exchanges`; InputError when there are none or not as many."""
    if not replies or len(replies) != len(exchanges):
        raise InputError(f"there are {len(replies)} replies to {len(exchanges)} messages")
    count = len(replies)
    repeated = sum(
        any(nearly_equal(reply, other) for place, other in enumerate(replies) if place != number)
        for number, reply in enumerate(replies)
    )
    with_words = [exchange for exchange in exchanges if _content_words(exchange.message)]
    taken_up = sum(
        bool(_content_words(exchange.message) & _content_words(reply))
        for exchange, reply in zip(exchanges, replies, strict=True)
    )
    lengths = [count_words(reply) for reply in replies]
    return ReplyScores(
        repeated_share=repeated / count,
        takes_up_word=taken_up / max(len(with_words), 1),
        words=sum(lengths) / count,
        too_long_share=sum(length > _LONGEST_WORDS for length in lengths) / count,
        questions_share=sum("?" in reply for reply in replies) / count,
    )


def likelihoods(
    model: str | Path, exchanges: Sequence[Exchange], *, others: Sequence[Exchange] = (), seed: int = 3407
) -> LikelihoodScores:
    """Score the known replies of `exchanges` by the model on torch: a base model, or an adapter for the task chat.

    The nineteen other candidates of a message are replies to messages of other conversations, in `others` or in
    `exchanges`. Of each candidate counts the mean log-probability per token.
    """
    import torch

    from emolib.chat.shown import examples_shown_to
    from emolib.emotion_model import find_adapter, load_emotion_model
    from emolib.prompting.chat_encoding import ChatEncoder

    loaded = load_emotion_model(find_adapter(model, task=None)).merged()
    encoder = ChatEncoder(loaded.tokenizer, loaded.base.name)
    pool = [exchange.reply for exchange in others or exchanges]
    chance = random.Random(seed)
    hits, total, tokens = 0, 0.0, 0
    examples = examples_shown_to(model) if loaded.source.adapter else None
    for exchange in exchanges:
        if examples:
            exchange = replace(exchange, history=tuple(examples.attached(exchange.history)))
        wrong = [reply for reply in chance.sample(pool, min(len(pool), 2 * _CANDIDATES)) if reply != exchange.reply]
        candidates = [exchange.reply, *wrong[: _CANDIDATES - 1]]
        with torch.inference_mode():
            scores = _scores(loaded.model, encoder, exchange, candidates)
        means = [sum(each) / len(each) for each in scores]
        hits += means[0] == max(means)
        total += sum(scores[0])
        tokens += len(scores[0])
    return LikelihoodScores(hits / len(exchanges), math.exp(-total / tokens))


def _scores(model: Any, encoder: Any, exchange: Exchange, replies: Sequence[str]) -> list[list[float]]:
    """Return the log-probabilities of the tokens of each reply, with the token that ends it, after the history."""
    import torch

    from emolib.prompting.encoding import pad_texts
    from emolib.prompting.prefix import head, run_prefix, run_suffixes

    prompt = encoder.prompt_ids(exchange.history)
    prefix = run_prefix(model, prompt)
    ids = []
    for reply in replies:
        whole = encoder.encode([*exchange.history, Message("assistant", reply)])
        ids.append(whole.ids[len(prompt) : whole.targets[-1] + 1])
    inputs, _ = pad_texts(ids, pad_id=0)
    hidden = run_suffixes(model, prefix, inputs)
    found = []
    for row, tokens in enumerate(ids):
        before = torch.cat([prefix.hidden[0, -1:], hidden[row, : len(tokens) - 1]])
        logits = head(model, before).float().log_softmax(-1)
        found.append([float(logits[place, token]) for place, token in enumerate(tokens)])
    return found


def _content_words(text: str) -> set[str]:
    words = _WORD.findall(text.lower().replace("’", "'"))
    # A plural or a past tense takes a word up as well.
    return {word[:6] for word in words if word not in _STOP_WORDS and len(word) > 2}
