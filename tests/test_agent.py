"""A spoken conversation on virtual time: overlapping, interrupted, with engines that fail, hang and answer late."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scripted_engines import only_whole, scores
from virtual_time import VirtualPlayer, now, run_virtually

from emolib.audio import AudioClip
from emolib.chat import Message
from emolib.dialogue import (
    FALLBACK,
    HELP_MESSAGE,
    AgentSettings,
    Distress,
    Phase,
    ResponseStyle,
    TextInput,
    Turn,
    Voice,
    VoiceAgent,
)
from emolib.dialogue.interruption import heard_words, is_backchannel, is_echo
from emolib.errors import ServiceError
from emolib.labels import EmotionScores
from emolib.speech import (
    FalseAlarm,
    NoTranscript,
    Partial,
    SpeechEnd,
    SpeechLikely,
    SpeechStart,
    Transcribed,
    Transcript,
)
from emolib.stack import Engines, Stack

REPLY = "That is good news, I am glad. Tell me more about it. Was it hard?"


HALF = "I pass"


@dataclass
class World:
    """The engines of an agent, with what each does wrong, and what was heard of them."""

    reply: str = REPLY
    feel_s: float = 0.05
    token_s: float = 0.01
    speak_s: float = 0.2
    pieces: int = 0
    feels: EmotionScores = field(default_factory=lambda: scores("joy"))
    feels_of_half: EmotionScores | None = None
    fails: frozenset[str] = frozenset()
    raises: type[Exception] = ServiceError
    silent: bool = False
    players: list[VirtualPlayer] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    asked: list[list[Message]] = field(default_factory=list)
    asked_at: list[float] = field(default_factory=list)
    tones: list[str | None] = field(default_factory=list)
    blocked: bool = False
    latency: int = 0
    plays: np.ndarray | None = None
    settings: AgentSettings = field(default_factory=AgentSettings)
    delay: Callable[[float], float] = lambda seconds: seconds
    name: str = "a test"
    stack: Stack = field(default_factory=Stack)

    def start(self) -> None: ...

    async def aclose(self) -> None: ...

    def classify(self, texts: Sequence[str]) -> list[EmotionScores]:
        if "classify" in self.fails:
            raise self.raises("the classifier is gone")
        return [self.feels_of_half or self.feels if text == HALF else self.feels for text in texts]

    async def stream(
        self, history: Sequence[Message], emotion: EmotionScores | None, tone: str | None = None
    ) -> AsyncIterator[str]:
        self.asked.append(list(history))
        self.asked_at.append(now())
        self.tones.append(tone)
        for number, word in enumerate(self.reply.split(" ")):
            await asyncio.sleep(3600 if self.silent else self.delay(self.token_s))
            if "reply" in self.fails and number == 3:
                raise self.raises("the reply model is gone")
            yield word + " "

    def synthesize(self, request: Any) -> AudioClip:
        self.requests.append(request)
        if "speak" in self.fails and "Tell" in request.text:
            raise self.raises("the voice is gone")
        return AudioClip(np.ones(300 * len(request.text.split()), np.float32), 1000)

    def speak_in_pieces(self, request: Any) -> Iterator[AudioClip]:
        clip = self.synthesize(request)
        for number, samples in enumerate(np.array_split(clip.samples, self.pieces)):
            if number == 1 and "break off" in self.fails:
                raise self.raises("the voice broke off")
            yield AudioClip(samples, clip.sample_rate)

    async def offload(self, work: Callable[..., Any], *arguments: Any) -> Any:
        seconds = {self.classify: self.feel_s, self.speak_in_pieces: 0.0}.get(work, self.speak_s)
        await asyncio.sleep(self.delay(seconds))
        return work(*arguments)

    def agent(self, **options: Any) -> VoiceAgent:
        def player() -> VirtualPlayer:
            self.players.append(VirtualPlayer(self.blocked, self.latency, self.plays))
            return self.players[-1]

        voice = only_whole(self)
        if self.pieces:
            voice.stream = self.speak_in_pieces
        engines = Engines(None, self, self, voice, self.stack)
        return VoiceAgent(engines, player, settings=self.settings, offload=self.offload, clock=now, **options)

    def converse(self, *script: Any, **options: Any) -> list[Turn]:
        """The turns of a script: events, and seconds between them."""

        async def run() -> list[Turn]:
            return await self.agent(**options).converse(played(script))

        return run_virtually(run())


async def played(script: Sequence[Any]) -> AsyncIterator[Any]:
    for entry in script:
        if isinstance(entry, int | float):
            await asyncio.sleep(entry)
        else:
            yield entry


START = SpeechStart(0, 0)
NOISE = np.random.default_rng(0).normal(size=480_000).astype(np.float32)
LIKELY = SpeechLikely(0, AudioClip(NOISE[:6_000], 16_000))


def end(seconds: float = 1.0, reason: Any = "silence") -> SpeechEnd:
    clip = AudioClip(NOISE[: round(16_000 * seconds)], 16_000)
    return SpeechEnd(0, len(clip.samples), len(clip.samples), clip, reason)


def said(text: str, seconds: float = 1.0) -> Transcribed:
    return Transcribed(end(seconds), Transcript(text))


def cut(text: str) -> Transcribed:
    """The first half a minute of somebody who speaks on."""
    return Transcribed(end(30.0, "limit"), Transcript(text))


def test_a_turn_is_felt_answered_and_heard_in_order():
    world = World()
    (turn,) = world.converse(START, Partial("I passed", 100), 1.0, said("I passed the exam"))
    assert turn.transcript == "I passed the exam"
    assert turn.emotion.label == "joy"
    assert turn.reply == turn.written == REPLY
    assert not turn.interrupted
    assert not turn.problems
    assert [number for number, _ in world.players[0].times] == sorted(number for number, _ in world.players[0].times)
    assert {request.emotion for request in world.requests} == {"joy"}


def test_the_first_clause_is_spoken_while_the_rest_is_written():
    world = World(token_s=0.5)
    (turn,) = world.converse(said("I passed"))
    assert turn.trace.marks["first_sound"] < turn.trace.spans[-1].end - 2
    assert turn.trace.marks["first_sound"] < 0.5 * len(REPLY.split())


def test_what_is_still_in_the_device_counts_as_heard_when_the_answer_ends():
    (turn,) = World(latency=400).converse(said("I passed"))
    assert turn.reply == REPLY


def test_a_late_classifier_does_not_hold_up_the_reply():
    world = World(feel_s=3600.0)
    (turn,) = world.converse(said("I passed"))
    assert turn.emotion.abstained
    assert turn.problems == ("the classifier was late",)
    assert turn.trace.marks["first_token"] < 0.5


def test_what_is_judged_late_is_the_emotion_of_the_turn_and_not_of_its_answer():
    world = World(feel_s=0.5)
    (turn,) = world.converse(said("I passed"))
    assert turn.problems == ("the classifier was late",)
    assert turn.emotion.label == "joy"
    assert {request.emotion for request in world.requests} == {None}
    assert turn.trace.busy_ms()["classify"] == 150


def test_a_classifier_that_fails_late_is_said():
    (turn,) = World(feel_s=0.5, fails=frozenset({"classify"})).converse(said("I passed"))
    assert turn.problems == ("the classifier was late", "the classifier failed: the classifier is gone")
    assert turn.emotion.abstained


def test_an_estimate_from_the_partial_transcript_stands_in_for_a_late_classifier():
    world = World(feel_s=0.3)
    (turn,) = world.converse(START, Partial("I pass", 1), 1.0, said("I passed"))
    assert turn.emotion.label == "joy"


def test_the_reply_begins_with_the_judgement_in_the_tone_of_the_estimate():
    world = World(feel_s=0.1)
    (turn,) = world.converse(START, Partial(HALF, 1), 1.0, said("I passed"))
    assert world.asked_at == [pytest.approx(1.0)]
    assert world.tones == ["joy"]
    assert turn.trace.marks["first_token"] == pytest.approx(0.1), "read as soon as the estimate is confirmed"
    assert turn.reply == REPLY


def test_a_reply_begun_in_the_wrong_tone_is_begun_again():
    world = World(feel_s=0.1, feels_of_half=scores("fear"))
    (turn,) = world.converse(START, Partial(HALF, 1), 1.0, said("I passed"))
    assert world.tones == ["fear", "joy"]
    assert turn.tone == "joy"
    assert turn.reply == REPLY
    assert turn.written == REPLY, "nothing of the first is left"


def test_without_preparing_the_reply_waits_for_the_judgement():
    world = World(feel_s=0.1, settings=AgentSettings(preemptive=False))
    world.converse(START, Partial(HALF, 1), 1.0, said("I passed"))
    assert world.asked_at == [pytest.approx(1.1)]


@pytest.mark.parametrize("fault", ["reply", "silent"])
def test_a_reply_that_fails_while_it_is_begun_ahead_ends_in_an_apology(fault):
    world = World(feel_s=0.1, settings=AgentSettings(reply_s=2), silent=fault == "silent", fails=frozenset([fault]))
    (turn,) = world.converse(START, Partial(HALF, 1), 1.0, said("I passed"))
    assert "reply" in " ".join(turn.problems)
    assert turn.reply


def test_an_answer_prepared_in_the_pause_is_heard_as_soon_as_the_end_is_known():
    world = World()
    (turn,) = world.converse(START, Partial("I passed", 1, in_pause=True), 0.8, said("I passed"))
    assert turn.prepared
    assert turn.emotion.label == "joy"
    assert world.asked_at == [pytest.approx(world.feel_s)]
    assert world.players[0].times[0][1] >= 0.8, "nothing is heard before"
    assert turn.trace.marks["first_sound"] == pytest.approx(0, abs=0.001)
    assert turn.reply == REPLY


def test_nothing_is_told_of_an_answer_before_its_release():
    world = World()
    told: list[tuple[float, str, str]] = []
    world.converse(
        START, Partial("I passed", 1, in_pause=True), 0.8, Partial("I passed it", 2, in_pause=True), 0.8,
        said("I passed it"), on_reply=lambda written, spoken: told.append((now(), written, spoken)),
    )  # fmt: skip
    assert told[0][0] == pytest.approx(1.6)
    assert told[-1][1].split() == REPLY.split()
    assert told[-1][2] == "Was it hard?"


def test_in_a_pause_the_classifier_may_take_its_time():
    world = World(feel_s=0.5)
    (turn,) = world.converse(START, Partial("I passed", 1, in_pause=True), 0.45, said("I passed"))
    assert turn.emotion.label == "joy"
    assert not turn.problems


def test_what_was_felt_in_half_of_what_was_said_stands_in_for_a_late_classifier():
    world = World(feel_s=0.3)
    (turn,) = world.converse(START, Partial("I pass", 1, in_pause=True), 1.0, said("I passed"))
    assert turn.problems == ("the classifier was late",)
    assert turn.emotion.label == "joy"


def test_what_was_felt_in_sounds_without_words_is_forgotten():
    world = World(feel_s=0.3)
    world.converse(START, Partial("I pass", 1), 1.0, NoTranscript(end()), 5.0, said("I passed"))
    assert {request.emotion for request in world.requests} == {None}


def test_an_answer_prepared_for_half_of_what_was_said_is_thrown_away():
    world = World()
    (turn,) = world.converse(
        START, Partial("I passed", 1, in_pause=True), 0.8, Partial("I passed the", 2), 0.3, said("I passed the exam")
    )
    assert not turn.prepared
    assert turn.discarded == 1
    assert turn.transcript == "I passed the exam"
    assert [messages[-1].content for messages in world.asked] == ["I passed", "I passed the exam"]
    assert len(world.players) == 1, "the first answer never had a player"


def test_only_the_answer_to_the_last_pause_is_kept():
    world = World()
    pauses = [Partial(text, place, in_pause=True) for place, text in enumerate(["I", "I passed", "I passed"])]
    (turn,) = world.converse(START, pauses[0], 0.02, pauses[1], 0.5, pauses[2], 0.5, said("I passed"))
    assert turn.prepared
    assert [messages[-1].content for messages in world.asked] == ["I passed"], "the first was taken back in time"


def test_what_was_prepared_for_no_words_or_for_a_broken_recogniser_is_never_heard():
    world = World()
    pause = Partial("I passed", 1, in_pause=True)
    (failed,) = world.converse(
        START, pause, 0.5, NoTranscript(end()), 1.0, pause, 0.5, NoTranscript(end(), "it is gone")
    )
    assert failed.reply == FALLBACK
    assert "I passed" not in [message.content for message in world.asked[-1]][:-1]


def test_without_preemption_nothing_is_asked_before_the_end():
    world = World(settings=AgentSettings(preemptive=False))
    (turn,) = world.converse(START, Partial("I passed", 1, in_pause=True), 0.8, said("I passed"))
    assert not turn.prepared
    assert world.asked_at[0] > 0.8


def test_an_interruption_ends_the_answer_and_only_what_was_heard_is_remembered():
    world = World()
    agent_turns = world.converse(
        said("I passed"), 2.5, START, 0.6, Partial("wait please", 1), 0.5, said("wait please, stop"), history=None
    )
    first, second = agent_turns
    assert first.interrupted
    assert REPLY.startswith(first.reply)
    assert first.reply != REPLY
    assert first.reply == "" or first.reply.split()[-1] in REPLY.split(), "cut at a word"
    assert second.transcript == "wait please, stop"
    assert [message.content for message in world.asked[1]][:2] == ["I passed", first.reply]


def test_nothing_of_an_interrupted_turn_is_heard_later():
    world = World()
    world.converse(said("I passed"), 2.5, START, 0.6, Partial("no no no", 1), 5.0, said("no, stop it"))
    first = world.players[0]
    assert first.stopped_at is not None
    assert all(moment <= first.stopped_at for _, moment in first.times)


def test_an_interrupted_turn_stops_working_at_once():
    world = World(token_s=0.5, settings=AgentSettings(warm_up_s=0.1))
    world.converse(said("I passed"), 6.0, START, 0.6, Partial("no no no", 1), 0.1, said("no, stop it"))
    assert world.players[0].stopped_at == pytest.approx(6.6, abs=0.01)
    assert world.asked_at[1] == pytest.approx(6.75, abs=0.05), "the classifier's time after what was said"
    assert len(world.requests) < 2 * 4, "clauses of the first turn that nobody would hear are not spoken"


@pytest.mark.parametrize("word", ["mhm", "Yeah.", "okay, right", "嗯"])
def test_a_backchannel_lets_the_answer_go_on(word: str):
    world = World()
    (turn,) = world.converse(said("I passed"), 2.5, START, 0.2, said(word, 0.4))
    assert turn.reply == REPLY
    assert not turn.interrupted


def test_a_short_sound_without_words_lets_the_answer_go_on():
    (turn,) = World().converse(said("I passed"), 2.5, START, 0.3, NoTranscript(end(0.3)))
    assert turn.reply == REPLY


def test_what_sounds_like_speech_silences_the_answer_at_once_and_a_cough_lets_it_go_on_where_it_was():
    world = World()
    (turn,) = world.converse(said("I passed"), 2.5, LIKELY, 0.35, FalseAlarm(0))
    moments = [moment for _, moment in world.players[0].times]
    silent = [(before, after) for before, after in pairwise(moments) if after - before > 0.3]
    assert silent == [(pytest.approx(2.5, abs=0.021), pytest.approx(2.86, abs=0.021))]
    assert turn.reply == REPLY
    assert not turn.interrupted


def test_the_answer_is_silent_while_it_is_not_known_what_was_said():
    world = World()
    world.converse(said("I passed"), 2.5, START, 3.0, NoTranscript(end(0.3)))
    moments = [moment for _, moment in world.players[0].times]
    assert max(after - before for before, after in pairwise(moments)) >= 2.9


def test_the_first_second_of_an_answer_cannot_be_interrupted():
    (turn,) = World().converse(said("I passed"), 0.8, START, 0.1, said("what", 0.6))
    assert turn.reply == REPLY


def test_with_half_duplex_an_answer_is_heard_to_its_end():
    world = World(settings=AgentSettings(half_duplex=True))
    (turn,) = world.converse(said("I passed"), 2.5, START, 0.8, said("stop it now"))
    assert turn.reply == REPLY


def test_who_goes_on_before_the_answer_has_begun_is_answered_as_a_whole():
    world = World(speak_s=2.0)
    (turn,) = world.converse(said("I was at"), 0.5, START, 0.5, said("the station"))
    assert turn.transcript == "I was at the station"


def test_who_goes_on_is_not_talked_over():
    world = World(speak_s=0.5)
    (turn,) = world.converse(
        said("I was at"), 0.3, LIKELY, 0.1, START, 2.0, Partial("the", 1), 1.0, said("the station")
    )
    assert turn.transcript == "I was at the station"
    assert not world.players[0].times, "the answer to the first half, ready meanwhile, is never heard"
    assert turn.reply == REPLY


def test_a_sound_before_the_answer_only_holds_it_up():
    world = World()
    (turn,) = world.converse(said("I passed"), 0.1, LIKELY, 1.0, FalseAlarm(0))
    assert world.players[0].times[0][1] == pytest.approx(1.1, abs=0.05)
    assert turn.reply == REPLY


def test_who_speaks_for_a_minute_is_answered_once_and_to_all_of_it():
    world = World()
    script = [START, 30.0, cut("First it rained."), START, 30.0, said("Then I passed.")]
    (turn,) = world.converse(*script)
    assert turn.transcript == "First it rained. Then I passed."
    assert [messages[-1].content for messages in world.asked] == ["First it rained. Then I passed."]
    assert world.asked_at[0] > 60, "nobody is talked over"
    assert turn.reply == REPLY


def test_the_answer_to_a_long_turn_is_prepared_in_its_last_pause():
    pause = Partial("Then I passed.", 1, in_pause=True)
    (turn,) = World().converse(START, cut("First it rained."), START, 9.0, pause, 0.8, said("Then I passed."))
    assert turn.prepared
    assert turn.transcript == "First it rained. Then I passed."


@pytest.mark.parametrize("rest", [[START, NoTranscript(end(0.1))], []])
def test_a_long_turn_that_ends_just_where_it_was_cut_is_answered(rest: list[Any]):
    (turn,) = World().converse(START, cut("First it rained."), 0.6, *rest)
    assert turn.transcript == "First it rained."
    assert turn.reply == REPLY


@pytest.mark.parametrize("first", [True, False])
def test_of_a_long_turn_what_was_recognised_is_answered_and_the_failure_named(first: bool):
    lost = NoTranscript(end(30.0, "limit" if first else "silence"), "it is gone")
    script = [lost, START, said("Then I passed.")] if first else [cut("First it rained."), START, lost]
    (turn,) = World().converse(START, *script)
    assert turn.transcript == ("Then I passed." if first else "First it rained.")
    assert "it is gone" in turn.problems[0]
    assert turn.reply == REPLY


def test_who_never_stops_is_answered_after_two_minutes():
    world = World(settings=AgentSettings(longest_turn_s=120))
    script: list[Any] = []
    for number in range(4):
        script += [START, 30.0, cut(f"Part {number}.")]
    (turn,) = world.converse(*script, 30.0)
    assert turn.transcript == "Part 0. Part 1. Part 2. Part 3."
    assert world.asked_at[0] == pytest.approx(120, abs=0.1)


def test_an_hour_of_noise_is_not_answered_and_the_next_turn_works():
    noise = [START, 30.0, NoTranscript(end(30.0, "limit"))] * 120
    (turn,) = World().converse(*noise, START, 1.0, said("I passed"))
    assert turn.transcript == "I passed"


def test_clauses_are_synthesised_at_most_two_ahead_of_the_one_that_is_heard():
    world = World(reply="One two three four five six. " * 12, token_s=0.0, speak_s=0.01)

    async def run() -> list[int]:
        ahead = []

        async def script() -> AsyncIterator[Any]:
            yield said("I passed")
            for _ in range(100):
                await asyncio.sleep(0.2)
                done = sum(played.complete for played in world.players[0].heard) if world.players else 0
                ahead.append(len(world.requests) - done - 1)

        await world.agent().converse(script())
        return ahead

    assert 1 <= max(run_virtually(run())) <= 2


def test_the_first_piece_of_a_clause_is_heard_while_the_rest_is_made():
    world = World(reply="One two three four five six.", pieces=3, speak_s=0.5)
    (turn,) = world.converse(said("I passed"))
    (player,) = world.players
    assert turn.trace.marks["first_sound"] < 0.9
    assert player.times[0][1] < 2.0
    assert turn.reply == "One two three four five six."
    assert not turn.problems


def test_of_a_clause_that_is_still_being_made_no_more_counts_as_heard_than_was_played():
    world = World(reply="One two three four five six seven eight nine ten.", pieces=3, speak_s=5.0)
    (turn,) = world.converse(said("I passed"), 7.0, START, 0.6, Partial("no wait a moment", 1), said("no wait", 1.0))[
        :1
    ]
    assert turn.interrupted
    assert 0 < len(turn.reply.split()) <= 4, "a third of it was there, and all of that was played"


def test_a_voice_that_breaks_off_costs_the_rest_of_its_clause_only():
    world = World(reply="One two three four five six. Seven eight nine.", pieces=3, fails=frozenset(["break off"]))
    turns = world.converse(said("I passed"), 9.0, said("And you"))
    assert turns[0].problems == (
        "clause 1 was not spoken: the voice broke off",
        "clause 2 was not spoken: the voice broke off",
    )
    assert turns[0].reply.startswith("One")
    assert "six" not in turns[0].reply
    assert len(turns) == 2


def test_a_voice_that_stands_still_in_a_clause_is_given_up():
    world = World(reply="One two three four five six.", pieces=3, settings=AgentSettings(speak_s=2.0))
    calls = itertools.count()
    world.delay = lambda seconds: 3600.0 if seconds == world.speak_s and next(calls) == 1 else seconds
    (turn,) = world.converse(said("I passed"))
    assert turn.problems == ("clause 1 was not spoken within 2 s",)
    assert turn.reply == "One", "600 of its 1,800 samples were played, of 2,250 that it might have had"


def test_its_own_words_are_no_interruption():
    world = World()
    (turn,) = world.converse(
        said("I passed"), 2.5, START, 0.6, Partial("that is good", 1), 0.4, said("that is good news I", 1.0)
    )
    assert turn.reply == REPLY


@pytest.mark.parametrize("is_echo", [True, False])
def test_the_sound_of_the_loudspeaker_is_no_interruption_whatever_words_are_heard_in_it(is_echo: bool):
    plays = NOISE[:12_000]
    heard = AudioClip(plays, 1000).resample(16_000).samples[80_000:96_000] if is_echo else NOISE[:16_000]
    event = Transcribed(
        SpeechEnd(0, 16_000, 16_000, AudioClip(0.2 * heard, 16_000), "silence"), Transcript("no more of it")
    )
    turns = World(plays=plays).converse(said("I passed"), 2.5, START, 1.0, event)
    assert [turn.reply for turn in turns][0 if is_echo else 1] == REPLY
    assert len(turns) == (1 if is_echo else 2)


@pytest.mark.parametrize("is_echo", [True, False])
def test_a_moment_of_the_loudspeakers_own_sound_does_not_silence_it(is_echo: bool):
    plays = NOISE[:12_000]
    heard = AudioClip(plays, 1000).resample(16_000).samples[170_000:176_000] if is_echo else NOISE[:6_000]
    likely = SpeechLikely(0, AudioClip(0.2 * heard, 16_000))
    (turn,) = World(plays=plays).converse(said("I passed"), 2.5, likely, 0.3, FalseAlarm(0))
    assert ("paused" in turn.trace.marks) is not is_echo
    assert turn.reply == REPLY


def test_an_estimate_that_comes_late_is_not_taken_for_the_next_turn():
    world = World(feel_s=2.0)
    world.converse(START, Partial("I pass", 1), 0.1, said("I passed"), 30.0, said("what a day"))
    assert len(world.asked) == 2
    assert {request.emotion for request in world.requests} == {None}


def test_twenty_turns_each_interrupted():
    world = World()
    script = [said("first")]
    for number in range(20):
        script += [2.5, START, 0.7, Partial("no wait", 1), 0.3, said(f"question {number}")]
    turns = world.converse(*script)
    assert [turn.transcript for turn in turns] == ["first", *(f"question {number}" for number in range(20))]
    assert [turn.interrupted for turn in turns] == [True] * 20 + [False]


@pytest.mark.parametrize("error", [ServiceError, RuntimeError])
@pytest.mark.parametrize("stage", ["classify", "reply", "speak"])
def test_a_stage_that_fails_is_named_and_the_next_turn_works(stage: str, error: type[Exception]):
    world = World(fails=frozenset([stage]), raises=error)

    async def run() -> list[Turn]:
        agent = world.agent()

        async def script() -> AsyncIterator[Any]:
            yield said("I passed")
            await asyncio.sleep(60)
            world.fails = frozenset()
            yield said("And now?")

        return await agent.converse(script())

    broken, whole = run_virtually(run())
    assert "is gone" in broken.problems[0]
    assert broken.reply, "something is said"
    assert whole.reply == REPLY
    assert not whole.problems


def test_a_reply_model_that_hangs_is_answered_for():
    (turn,) = World(silent=True).converse(said("I passed"))
    assert turn.reply == FALLBACK
    assert "silent" in turn.problems[0]


def test_a_voice_that_hangs_leaves_silence():
    world = World(speak_s=1000)
    (turn,) = world.converse(said("I passed"))
    assert turn.reply == ""
    assert all("not spoken within" in problem for problem in turn.problems)


def test_a_recogniser_that_fails_is_apologised_for():
    failed, answered = World().converse(NoTranscript(end(), "it is gone"), 30.0, said("hello there"))
    assert failed.reply == FALLBACK
    assert "it is gone" in failed.problems[0]
    assert answered.reply == REPLY


@pytest.mark.parametrize("reply", ["", "🙂 🙂", "** ** <br>"])
def test_a_reply_with_nothing_to_say_is_answered_for(reply: str):
    (turn,) = World(reply=reply).converse(said("I passed"))
    assert turn.reply == FALLBACK


def test_a_reply_of_two_thousand_tokens_is_heard_in_order_and_cut_at_its_longest():
    reply = " ".join(f"Then came number {number}." for number in range(400))
    (turn,) = World(reply=reply, token_s=0.001, speak_s=0.001).converse(said("talk"))
    assert 3900 < len(turn.reply) <= 4010
    assert reply.startswith(turn.reply)
    assert turn.problems == ("the reply was cut after 4000 characters",)


def test_a_sink_that_blocks_is_given_up():
    (turn,) = World(blocked=True).converse(said("I passed"))
    assert "stood still" in turn.problems[-1]
    assert turn.reply == ""


def test_words_of_self_harm_are_answered_with_the_help_message():
    (turn,) = World().converse(said("I want to die"))
    assert turn.distress is Distress.URGENT
    assert turn.reply == HELP_MESSAGE


def test_sadness_over_three_turns_adds_the_help_message_in_a_calm_voice():
    world = World(feels=scores("sadness"))
    turns = world.converse(*[said("We lost the match"), 60.0] * 3)
    assert [turn.distress for turn in turns] == [Distress.NONE, Distress.NONE, Distress.SUSTAINED]
    assert turns[2].reply == f"{REPLY} {HELP_MESSAGE}"
    assert turns[2].tone == "careful"


def test_a_policy_of_the_users_own_takes_the_place_of_the_table():
    world = World()
    (turn,) = world.converse(
        said("I passed"), policy=lambda emotions: ResponseStyle("as a pirate", Voice("anger", 0.3))
    )
    assert world.tones == ["as a pirate"]
    assert {(request.emotion, request.intensity) for request in world.requests} == {("anger", 0.3)}
    assert turn.emotion.label == "joy"


def test_a_source_that_breaks_ends_the_conversation_with_its_error():
    async def script() -> AsyncIterator[Any]:
        yield said("I passed")
        await asyncio.sleep(2)
        raise ServiceError("the microphone is gone")

    world = World()

    async def run() -> None:
        await world.agent().converse(script())

    with pytest.raises(ServiceError, match="microphone"):
        run_virtually(run())
    assert world.players[0].stopped_at is not None


@pytest.mark.parametrize("seed", range(1000))
def test_whatever_happens_order_is_kept_and_history_is_what_was_heard(seed: int):
    chance = random.Random(seed)
    world = World(delay=lambda seconds: seconds * chance.choice([0, 0.5, 1, 1, 2, 8]))
    world.feels_of_half = chance.choice([None, scores("fear")])
    world.pieces = chance.choice([0, 1, 3])
    script: list[Any] = []
    for number in range(chance.randrange(1, 8)):
        script += [chance.uniform(0, 4), LIKELY, 0.15, chance.choice([START, START, FalseAlarm(0)])]
        script += [chance.uniform(0, 1), Partial(HALF, 1), chance.uniform(0, 1)]
        if chance.random() < 0.1:
            script += [
                chance.choice([cut(f"part {number}"), NoTranscript(end(30.0, "limit"))]),
                START,
                chance.uniform(0, 4),
            ]
        script += [Partial(chance.choice(["so", f"question {number}"]), 2, in_pause=True), chance.uniform(0, 1)]
        script.append(
            chance.choice([said(f"question {number}"), said("mhm", 0.3), NoTranscript(end(0.2)), said("so", 0.3)])
        )
        world.fails = frozenset(chance.sample(["classify", "reply", "speak", "break off"], chance.choice([0, 0, 1, 2])))

    async def run() -> VoiceAgent:
        agent = world.agent()
        await agent.converse(played(script))
        assert len(asyncio.all_tasks()) == 2, "this one and the time limit's; nothing else is left running"
        return agent

    agent = run_virtually(run())
    assert [turn.number for turn in agent.turns] == sorted(turn.number for turn in agent.turns)
    for player in world.players:
        order = [number for number, _ in player.times]
        assert order == sorted(order)
        assert player.stopped_at is not None
        assert all(moment <= player.stopped_at for _, moment in player.times)
    for before, after in pairwise(world.players):
        assert not before.times or not after.times or before.times[-1][1] <= after.times[0][1], "one voice at a time"
    remembered = [(turn.transcript, turn.reply) for turn in agent.turns if turn.transcript]
    messages = [message.content for message in agent.history.messages]
    assert list(zip(messages[::2], messages[1::2], strict=True)) == remembered
    for turn in agent.turns:
        written = iter(turn.written.split())
        assert all(word in written for word in turn.reply.split()), "what was heard was written, in that order"


@pytest.mark.parametrize("seed", range(1000))
def test_in_text_whatever_happens_history_is_what_was_shown(seed: int):
    chance = random.Random(seed)
    world = World(delay=lambda seconds: seconds * chance.choice([0, 0.5, 1, 1, 2, 8]))
    script: list[Any] = []
    for number in range(chance.randrange(1, 8)):
        script += [TextInput(f"question {number}"), chance.uniform(0, 4)]
        world.fails = frozenset(chance.sample(["classify", "reply"], chance.choice([0, 0, 1, 2])))
    shown: list[str] = []
    settings = AgentSettings(in_turns=chance.random() < 0.5)

    async def run() -> VoiceAgent:
        agent = VoiceAgent(
            Engines(None, world, world, None), None, settings=settings, offload=world.offload, clock=now,
            on_reply=lambda written, spoken: shown.append(written),
        )  # fmt: skip
        await agent.converse(played(script))
        assert len(asyncio.all_tasks()) == 2, "this one and the time limit's; nothing else is left running"
        return agent

    agent = run_virtually(run())
    assert agent.state.phase is Phase.OVER
    assert [turn.transcript for turn in agent.turns] == [entry.text for entry in script[::2]]
    messages = [message.content for message in agent.history.messages]
    assert messages[::2] == [turn.transcript for turn in agent.turns]
    assert messages[1::2] == [turn.reply for turn in agent.turns]
    assert all(turn.reply == "" or any(turn.reply in text.strip() for text in shown) for turn in agent.turns)
    assert not settings.in_turns or not any(turn.interrupted for turn in agent.turns)


def test_a_line_of_text_over_an_answer_takes_its_place():
    first, second = World(token_s=0.5).converse(TextInput("I passed"), 4.0, TextInput("never mind"))
    assert (first.interrupted, second.interrupted) == (True, False)
    assert second.reply == REPLY


def test_the_state_is_one_value_and_an_impossible_move_is_refused():
    seen: list[Phase] = []

    async def run() -> None:
        agent = World().agent()

        async def script() -> AsyncIterator[Any]:
            for event in (START, Partial("I passed", 1, in_pause=True), said("I passed"), LIKELY, FalseAlarm(0)):
                await asyncio.sleep(1.5 if event is LIKELY else 0.1)
                seen.append(agent.state.phase)
                yield event
            seen.append(agent.state.phase)

        await agent.converse(script())
        seen.append(agent.state.phase)
        with pytest.raises(ValueError, match="cannot move from over to suspected"):
            agent.state.to(Phase.SUSPECTED, agent.state.turn)

    run_virtually(run())
    assert seen == [
        Phase.LISTENING, Phase.LISTENING, Phase.PREPARING, Phase.ANSWERING, Phase.SUSPECTED, Phase.ANSWERING,
        Phase.OVER,
    ]  # fmt: skip


def test_a_conversation_that_is_cancelled_from_outside_ends_and_says_so():
    world = World()

    async def run() -> VoiceAgent:
        agent = world.agent()
        work = asyncio.create_task(agent.converse(played([said("I passed"), 3600.0])))
        await asyncio.sleep(2.0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        return agent

    agent = run_virtually(run())
    assert [turn.interrupted for turn in agent.turns] == [True]
    assert world.players[0].stopped_at is not None


SAD_VOICE = {"SAD": 1.0}


def heard_as(text: str, voice: dict[str, float]) -> Transcribed:
    return Transcribed(end(), Transcript(text, voice_emotion=voice))


def unclear() -> EmotionScores:
    """Words that may be sad or glad."""
    return EmotionScores.from_sequence([0.4, 0.4, 0.05, 0.05, 0.05, 0.05])


def test_the_voice_decides_when_the_words_say_nothing():
    world = World(feels=unclear())
    (turn,) = world.converse(heard_as("I saw him today", SAD_VOICE))
    assert turn.emotion.label == "sadness"
    assert turn.words.abstained
    assert (turn.tone, world.tones) == ("sadness", ["sadness"])
    assert turn.as_dict()["voice_emotion"] == SAD_VOICE


def test_a_contradiction_between_words_and_voice_is_named():
    world = World(feels=scores("joy"))
    (turn,) = world.converse(heard_as("I am so happy for him", SAD_VOICE))
    assert turn.contradiction == turn.as_dict()["contradiction"] == "words: joy, voice: sadness"
    assert (turn.tone, turn.voice.emotion) == ("sadness", "love"), "answered with care"
    assert World().converse(said("I passed"))[0].contradiction is None


def test_a_voice_that_is_switched_off_is_not_asked():
    world = World(feels=unclear())
    world.stack = Stack(voice_emotion="off")
    (turn,) = world.converse(heard_as("I saw him today", SAD_VOICE))
    assert (turn.emotion.abstained, turn.voice_emotion, turn.tone) == (True, None, "neutral")


def test_an_answer_prepared_on_half_of_the_voice_is_kept_when_the_whole_says_the_same():
    world = World(feels=unclear())
    pause = Partial("I saw him", 1, in_pause=True, voice_emotion={"SAD": 0.9, "NEUTRAL": 0.1})
    (turn,) = world.converse(START, pause, 0.8, heard_as("I saw him", SAD_VOICE))
    assert turn.prepared
    assert turn.voice_emotion == SAD_VOICE
    assert len(world.asked) == 1


def test_an_answer_prepared_in_the_wrong_tone_of_voice_is_made_anew():
    world = World(feels=unclear())
    pause = Partial("I saw him", 1, in_pause=True, voice_emotion={"HAPPY": 1.0})
    (turn,) = world.converse(START, pause, 0.8, heard_as("I saw him", SAD_VOICE))
    assert not turn.prepared
    assert (turn.tone, world.tones[-1]) == ("sadness", "sadness")


def test_two_hundred_turns_leave_nothing_behind():
    world = World()
    script: list[Any] = []
    for number in range(200):
        script += [said(f"question {number}"), 30.0]
    turns = world.converse(*script)
    assert len(turns) == 200
    assert {turn.reply for turn in turns} == {REPLY}
    firsts = [turn.trace.marks["first_sound"] for turn in turns]
    assert max(firsts) - min(firsts) < 1e-6


PHRASES = ["Thank you.", "I see.", "Got it.", "Go on.", "Of course.", "Exactly."]


@pytest.mark.parametrize("text", ["", "Mhm.", "uh-huh", "oh, okay", "对", "Oh, I see.", "Yeah, that’s right", *PHRASES])
def test_backchannels(text: str):
    assert is_backchannel(text)


@pytest.mark.parametrize(
    "text", ["stop", "okay but why", "yes yes yes yes", "好的我知道", "I see a dog", "thank you stop", "go"]
)
def test_no_backchannels(text: str):
    assert not is_backchannel(text)


def test_what_was_heard_ends_with_a_whole_word():
    assert heard_words(["one two three four", "five six"], [1.0, 0.5]) == "one two three four five"
    assert heard_words(["one two three four"], [0.49]) == "one"
    assert heard_words(["one two", "three", "four"], [1.0, None, 1.0]) == "one two four"
    assert heard_words(["我今天很高兴"], [0.5]) == "我今天"
    assert heard_words(["one"], []) == ""


def test_an_echo_is_what_is_being_played_a_moment_later_and_weaker():
    noise = np.random.default_rng(1).normal(size=48_000).astype(np.float32)
    other = np.random.default_rng(2).normal(size=16_000).astype(np.float32)
    assert is_echo(0.1 * noise[20_000:36_000] + 0.05 * other, noise)
    assert not is_echo(other, noise)
    assert not is_echo(other, noise[:100])
