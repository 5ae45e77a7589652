"""One turn: what is answered, in which order and voice, and what happens when an engine fails."""

import asyncio

import pytest
from dialogue_stages import QUESTION, Replies, Spoken, scores, stages

from emolib.chat import Message
from emolib.dialogue import FALLBACK, Voice, answer_question, choose_voice
from emolib.emotions import EMOTIONS, EmotionScores
from emolib.errors import ServiceError

REPLY = "I am so sorry to hear that, truly. Will there be another one? I hope so!"


def answer(engines, **options):
    return asyncio.run(answer_question(QUESTION, engines, **options))


def test_the_clauses_are_spoken_in_order_each_by_itself():
    spoken = Spoken()
    turn, _, _ = answer(stages(Replies(REPLY), spoken=spoken))
    assert [request.text for request in spoken.requests] == [
        "I am so sorry to hear that,",
        "truly.",
        "Will there be another one?",
        "I hope so!",
    ]
    assert turn.reply == REPLY


def test_every_request_carries_the_emotion_and_intensity_of_the_policy():
    spoken = Spoken()
    turn, _, _ = answer(stages(Replies(REPLY), scores("joy", 0.8), spoken))
    assert {(request.emotion, request.intensity) for request in spoken.requests} == {("joy", 0.8)}
    assert turn.voice == Voice("joy", 0.8)


def test_a_policy_of_the_users_own_takes_its_place():
    turn, _, _ = answer(stages(Replies(REPLY)), policy=lambda emotion: Voice("surprise", 0.3))
    assert turn.voice == Voice("surprise", 0.3)


def test_the_reply_model_is_given_the_history_the_transcript_and_the_emotion():
    replies = Replies(REPLY)
    earlier = [Message("user", "Hello."), Message("assistant", "Hello!")]
    answer(stages(replies), history=earlier)
    history, emotion = replies.asked[0]
    assert history == [*earlier, Message("user", "My train left without me.")]
    assert emotion.label == "sadness"


def test_the_turn_as_json_has_the_transcript_emotion_probabilities_reply_and_times():
    row = answer(stages(Replies(REPLY)))[0].as_dict()
    assert row["transcript"] == "My train left without me."
    assert row["emotion"] == "sadness"
    assert list(row["probabilities"]) == list(EMOTIONS)
    assert row["reply"] == REPLY
    assert {"recognise", "classify", "reply", "speak", "first_token", "first_sound", "total"} == set(row["latency_ms"])


@pytest.mark.parametrize("nothing", ["", "  \n", "😀 🎉", "***", "```\n```", "<br/>"])
def test_a_reply_that_cannot_be_spoken_is_replaced_by_the_fallback_and_marked(nothing):
    turn, sound, _ = answer(stages(Replies(nothing)))
    assert turn.reply == FALLBACK
    assert turn.reply_from.startswith("fallback: scripted replies wrote nothing")
    assert sound.seconds > 0.5


def test_a_reply_model_that_fails_is_answered_for_by_the_fallback_with_the_reason():
    turn, _, _ = answer(stages(Replies("", failure="the server is down")))
    assert turn.reply == FALLBACK
    assert turn.reply_from == "fallback: the server is down"


def test_of_a_reply_that_breaks_off_what_came_is_spoken_and_the_break_is_marked():
    turn, _, _ = answer(stages(Replies("I am so sorry to hear that, truly. And", failure="cut")))
    assert turn.reply.startswith("I am so sorry to hear that, truly.")
    assert turn.reply_from == "scripted replies, broken off: cut"


def test_a_voice_that_fails_ends_the_turn_with_its_error_and_stops_the_reply():
    async def turn_and_count():
        with pytest.raises(ServiceError, match="speech service is gone"):
            await answer_question(QUESTION, stages(replies, spoken=Spoken(refused="truly")))
        return len(asyncio.all_tasks())

    replies = Replies(REPLY * 20)
    assert asyncio.run(turn_and_count()) == 1
    assert replies.finished == 1


def test_a_very_short_answer_still_lasts_longer_than_half_a_second():
    _, sound, _ = answer(stages(Replies("Yes.")))
    assert sound.seconds > 0.5


def test_markup_is_not_spoken():
    turn, _, _ = answer(stages(Replies("**Breathe** slowly, [here](http://x.example) 😀.")))
    assert turn.reply == "Breathe slowly, here ."


def test_anger_and_an_unclear_emotion_are_answered_in_an_even_voice():
    assert choose_voice(scores("anger")).emotion is None
    assert choose_voice(EmotionScores.from_sequence([1 / 6] * 6)).emotion is None
    assert choose_voice(None).emotion is None


@pytest.mark.parametrize("label", EMOTIONS)
def test_the_voice_is_weaker_where_the_emotion_is_less_certain(label):
    assert choose_voice(scores(label, 0.6)).intensity <= choose_voice(scores(label, 0.95)).intensity
