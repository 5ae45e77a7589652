"""A conversation: what is answered, in which order and voice, and what happens when an engine fails."""

import asyncio
import json
import os
import threading
from dataclasses import replace
from typing import Any

import pytest
from dialogue_stages import QUESTION, Replies, ScriptedRecognizer, Spoken, scores, stages
from scripted_server import Status, scripted_server

from emolib.chat import TONES, Message, OpenAIReplyModel
from emolib.dialogue import (
    FALLBACK,
    HELP_MESSAGE,
    RESPONSE_STYLES,
    Conversation,
    Distress,
    Exchange,
    History,
    ResponseStyle,
    SafetyPolicy,
    Stages,
    Trend,
    Voice,
    choose_style,
)
from emolib.dialogue.policy import trend
from emolib.dialogue.safety import CALM
from emolib.emotions import EMOTIONS, EmotionScores
from emolib.errors import ServiceError

REPLY = "I am so sorry to hear that, truly. Will there be another one? I hope so!"


def answer(engines: Stages, **options: Any) -> Exchange:
    return asyncio.run(Conversation(engines, **options).answer(QUESTION))


def test_the_clauses_are_spoken_in_order_each_by_itself():
    spoken = Spoken()
    turn = answer(stages(Replies(REPLY), spoken=spoken)).turn
    assert [request.text for request in spoken.requests] == [
        "I am so sorry to hear that,",
        "truly.",
        "Will there be another one?",
        "I hope so!",
    ]
    assert turn.reply == REPLY


def test_every_request_carries_the_emotion_and_intensity_of_the_policy():
    spoken = Spoken()
    turn = answer(stages(Replies(REPLY), scores("joy", 0.8), spoken)).turn
    assert {(request.emotion, request.intensity) for request in spoken.requests} == {("joy", 0.8)}
    assert turn.voice == Voice("joy", 0.8)


def test_a_policy_of_the_users_own_takes_its_place():
    turn = answer(
        stages(Replies(REPLY)), policy=lambda emotions: ResponseStyle("Be brief.", Voice("surprise", 0.3))
    ).turn
    assert (turn.tone, turn.voice) == ("Be brief.", Voice("surprise", 0.3))


def test_the_reply_model_is_given_the_history_the_transcript_and_the_emotion():
    replies = Replies(REPLY)
    earlier = [Message("user", "Hello."), Message("assistant", "Hello!")]
    answer(stages(replies), history=History(earlier))
    history, emotion = replies.asked[0]
    assert history == [*earlier, Message("user", "My train left without me.")]
    assert emotion.label == "sadness"


def test_the_turn_as_json_has_the_transcript_emotion_probabilities_reply_and_times():
    row = answer(stages(Replies(REPLY))).turn.as_dict()
    assert row["transcript"] == "My train left without me."
    assert row["emotion"] == "sadness"
    assert list(row["probabilities"]) == list(EMOTIONS)
    assert row["reply"] == REPLY
    assert {"recognise", "classify", "reply", "speak", "first_token", "first_sound", "total"} == set(row["latency_ms"])


@pytest.mark.parametrize("nothing", ["", "  \n", "😀 🎉", "***", "```\n```", "<br/>"])
def test_a_reply_that_cannot_be_spoken_is_replaced_by_the_fallback_and_marked(nothing):
    exchange = answer(stages(Replies(nothing)))
    turn = exchange.turn
    assert turn.reply == FALLBACK
    assert turn.reply_from.startswith("fallback: scripted replies wrote nothing")
    assert exchange.sound.seconds > 0.5


def test_a_reply_model_that_fails_is_answered_for_by_the_fallback_with_the_reason():
    turn = answer(stages(Replies("", failure="the server is down"))).turn
    assert turn.reply == FALLBACK
    assert turn.reply_from == "fallback: the server is down"


def test_of_a_reply_that_breaks_off_what_came_is_spoken_and_the_break_is_marked():
    turn = answer(stages(Replies("I am so sorry to hear that, truly. And", failure="cut"))).turn
    assert turn.reply.startswith("I am so sorry to hear that, truly.")
    assert turn.reply_from == "scripted replies, broken off: cut"


def test_a_voice_that_fails_ends_the_turn_with_its_error_and_stops_the_reply():
    async def turn_and_count():
        with pytest.raises(ServiceError, match="speech service is gone"):
            await Conversation(stages(replies, spoken=Spoken(refused="truly"))).answer(QUESTION)
        return len(asyncio.all_tasks())

    replies = Replies(REPLY * 20)
    assert asyncio.run(turn_and_count()) == 1
    assert replies.finished == 1


def test_a_very_short_answer_still_lasts_longer_than_half_a_second():
    exchange = answer(stages(Replies("Yes.")))
    assert exchange.sound.seconds > 0.5


def test_markup_is_not_spoken():
    turn = answer(stages(Replies("**Breathe** slowly, [here](http://x.example) 😀."))).turn
    assert turn.reply == "Breathe slowly, here ."


def test_anger_and_an_unclear_emotion_are_answered_in_an_even_voice():
    assert choose_style([scores("anger")]).voice.emotion is None
    assert choose_style([EmotionScores.from_sequence([1 / 6] * 6)]).voice.emotion is None
    assert choose_style([]).voice.emotion is None


@pytest.mark.parametrize("label", EMOTIONS)
def test_the_voice_is_weaker_where_the_emotion_is_less_certain(label):
    sure, unsure = (choose_style([scores(label, confidence)]).voice for confidence in (0.95, 0.6))
    assert unsure.intensity <= sure.intensity


@pytest.mark.parametrize(
    ("felt", "tone", "how"),
    [
        (["joy", "sadness"], "sadness", None),
        (["sadness", "sadness"], "lasting sadness", Trend.LASTING),
        (["fear", "fear", "fear"], "lasting fear", Trend.LASTING),
        (["anger", "joy"], "relief", Trend.LIFTING),
        (["joy", "joy"], "joy", Trend.LASTING),
        (["sadness", "joy", "joy"], "joy", Trend.LASTING),
    ],
)
def test_a_feeling_that_lasts_or_lifts_is_answered_in_another_tone(felt, tone, how):
    emotions = [scores(label, 0.9) for label in felt]
    assert trend(emotions) is how
    assert choose_style(emotions).tone == tone
    assert tone in TONES


def test_an_unclear_turn_breaks_the_trend():
    assert trend([scores("sadness"), EmotionScores.from_sequence([1 / 6] * 6), scores("sadness")]) is None


@pytest.mark.parametrize("style", [*RESPONSE_STYLES.values(), CALM])
def test_every_tone_of_the_table_is_known_to_the_reply_models(style):
    assert style.tone in TONES


def test_the_reply_model_is_asked_for_the_tone_of_the_policy():
    replies = Replies(REPLY)
    answer(stages(replies), policy=lambda emotions: ResponseStyle("Be brief.", Voice(None, 0.0)))
    assert replies.tones == ["Be brief."]


def several(conversation: Conversation, count: int) -> list[Exchange]:
    async def one_after_another() -> list[Exchange]:
        return [await conversation.answer(QUESTION) for _ in range(count)]

    return asyncio.run(one_after_another())


def test_the_next_turn_is_asked_with_the_one_before_it():
    replies = Replies("Oh no.")
    several(Conversation(stages(replies)), 2)
    assert [message.content for message in replies.asked[1][0]] == [
        "My train left without me.",
        "Oh no.",
        "My train left without me.",
    ]


def test_a_turn_that_fails_leaves_no_trace_in_the_history_and_the_next_one_works():
    spoken = Spoken(refused="no")
    conversation = Conversation(stages(Replies("Oh no."), spoken=spoken))
    with pytest.raises(ServiceError):
        asyncio.run(conversation.answer(QUESTION))
    assert conversation.history.messages == []
    spoken.refused = None
    assert asyncio.run(conversation.answer(QUESTION)).turn.reply == "Oh no."


@pytest.mark.parametrize("text", ["I want to kill myself.", "I don't want to live anymore", "我不想活了"])
def test_words_of_self_harm_are_answered_with_the_help_message_calmly_and_by_no_model(text):
    replies = Replies("Cheer up!")
    turn = answer(replace(stages(replies), recognizer=ScriptedRecognizer(text))).turn
    assert (turn.reply, turn.distress, turn.voice.emotion) == (HELP_MESSAGE, Distress.URGENT, "love")
    assert replies.asked == []


@pytest.mark.parametrize("text", ["This traffic is killing me.", "I almost died laughing.", "The suit is dead."])
def test_figures_of_speech_are_no_distress(text):
    assert SafetyPolicy().distress(text, [scores("joy")]) is Distress.NONE


def test_sadness_over_three_turns_adds_the_help_message_and_a_calm_voice():
    turns = [each.turn for each in several(Conversation(stages(Replies("Oh no."))), 3)]
    assert [turn.distress for turn in turns] == [Distress.NONE, Distress.NONE, Distress.SUSTAINED]
    assert turns[2].reply == f"Oh no. {HELP_MESSAGE}"
    assert turns[2].voice.emotion == "love"


def test_the_help_message_is_the_users_to_change_and_an_empty_one_switches_it_off():
    heard = replace(stages(Replies("Oh no.")), recognizer=ScriptedRecognizer("I want to die"))
    assert answer(heard, safety=SafetyPolicy(help_message="Call 112.")).turn.reply == "Call 112."
    assert answer(heard, safety=SafetyPolicy(help_message="")).turn.reply == "Oh no."


def test_two_hundred_turns_in_a_row_leave_no_thread_or_task_behind():
    async def many() -> tuple[int, int]:
        conversation = Conversation(stages(Replies("Yes, of course.")))
        await conversation.answer(QUESTION)
        threads = threading.active_count()
        for _ in range(200):
            await conversation.answer(QUESTION)
        return len(asyncio.all_tasks()), threading.active_count() - threads

    tasks, new_threads = asyncio.run(many())
    assert tasks == 1
    # The event loop's own pool grows to a bound and is shared by all turns.
    assert new_threads <= (os.cpu_count() or 1) + 4


def test_the_key_of_a_server_is_in_no_turn_and_no_trace():
    key = "sk-never-to-be-seen-1234567890"
    with scripted_server(Status(400, f"bad {key}")) as server:
        model = OpenAIReplyModel(base_url=server.url, api_key=key, retries=0)
        exchange = answer(stages(model))
    assert exchange.turn.reply == FALLBACK
    assert key not in json.dumps(exchange.turn.as_dict()) + exchange.turn.table() + json.dumps(exchange.trace.as_dict())
