"""`emolib talk`: recordings in, spoken answers out, on the turn engine."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from scripted_engines import QUESTION, Replies, ScriptedClassifier, ScriptedRecognizer, Spoken, engines, scores
from scripted_server import Status, scripted_server
from speech_server import ToneEngine, speech_server
from voices import silence, spoken

from emolib import stack as stack_module
from emolib.audio import AudioClip, read_audio, write_wav
from emolib.chat import LlamaReplyModel, Message, OpenAIReplyModel
from emolib.cli import main
from emolib.dialogue import (
    FALLBACK,
    HELP_MESSAGE,
    Distress,
    History,
    SafetyPolicy,
    Turn,
    VoiceAgent,
    converse,
    events_of_recordings,
    hold_conversation,
    latency_table,
    talk,
)
from emolib.dialogue.settings import AgentSettings
from emolib.dialogue.trace import Trace
from emolib.emotions import EMOTIONS
from emolib.errors import DeviceError, InputError, ModelError, ServiceError
from emolib.speech import NoSpeech, OrderedPlayer, WavSink
from emolib.stack import Engines, Stack

SENTENCE = "My sister moved away and the house is very quiet."
REPLY = "I am so sorry to hear that, truly. Will there be another one? I hope so!"


@pytest.fixture
def question(tmp_path: Path) -> Path:
    path = tmp_path / "question.wav"
    write_wav(path, QUESTION)
    return path


def left_running() -> list[psutil.Process]:
    """The processes that were started and not ended, but for the one of W&B that another test may have left."""
    return [child for child in psutil.Process().children() if "wandb" not in child.name()]


def opened(monkeypatch: pytest.MonkeyPatch, found: Engines) -> None:
    """Let every conversation run on `found`."""

    @contextmanager
    def open_found(stack: Stack | None = None, *, spoken: bool = True) -> Any:
        yield found

    monkeypatch.setattr("emolib.dialogue.session.open_stack", open_found)


def answer(monkeypatch: pytest.MonkeyPatch, question: Path, found: Engines, count: int = 1) -> list[Turn]:
    opened(monkeypatch, found)
    return hold_conversation([question] * count, question.with_name("answer.wav"))


def test_the_command_answers_a_stereo_mp3_with_a_wav_and_prints_the_turn_as_json(tmp_path, capsys):
    question, answer = tmp_path / "question.mp3", tmp_path / "out" / "answer.wav"
    channel = spoken(SENTENCE).resample(44_100).samples
    soundfile.write(question, np.stack([channel, channel], axis=1), 44_100)
    assert main(["talk", "--in", str(question), "--out", str(answer), "--json"]) == 0
    turn = json.loads(capsys.readouterr().out)
    assert "sister moved away" in turn["transcript"]
    assert sum(turn["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert turn["emotion"] in [*EMOTIONS, "neutral"]
    assert turn["reply"].strip()
    assert turn["reply_from"].endswith("on llama.cpp")
    assert {"recognise", "classify", "reply", "speak"} <= set(turn["latency_ms"])
    sound = read_audio(answer)
    assert sound.seconds > 0.5
    assert np.abs(sound.samples).max() > 0.05
    assert not left_running()


def test_the_clauses_are_spoken_in_order_each_by_itself(monkeypatch, question):
    voice = Spoken()
    (turn,) = answer(monkeypatch, question, engines(Replies(REPLY), spoken=voice))
    assert [request.text for request in voice.requests] == [
        "I am so sorry to hear that,",
        "truly.",
        "Will there be another one?",
        "I hope so!",
    ]
    assert turn.reply == REPLY


def test_every_request_carries_the_emotion_and_intensity_of_the_policy(monkeypatch, question):
    voice = Spoken()
    (turn,) = answer(monkeypatch, question, engines(Replies(REPLY), scores("joy", 0.8), voice))
    assert {(request.emotion, request.intensity) for request in voice.requests} == {("joy", 0.8)}
    assert turn.tone == "joy"


def test_a_recording_waits_for_a_classifier_that_is_slow_at_first(monkeypatch, question):
    class Slow:
        def classify(self, texts):
            time.sleep(0.5)
            return [scores("joy", 0.8)] * len(texts)

    found = dataclasses.replace(engines(Replies(REPLY), spoken=Spoken()), classifier=Slow())
    (turn,) = answer(monkeypatch, question, found)
    assert (turn.tone, turn.problems) == ("joy", ())


def test_several_recordings_are_one_conversation(monkeypatch, question):
    replies = Replies("Oh no.")
    turns = answer(monkeypatch, question, engines(replies), count=3)
    assert [message.content for message in replies.asked[1][0]] == [
        "My train left without me.",
        "Oh no.",
        "My train left without me.",
    ]
    assert [turn.distress for turn in turns] == [Distress.NONE, Distress.NONE, Distress.SUSTAINED]
    assert turns[2].reply == f"Oh no. {HELP_MESSAGE}"
    assert not any(turn.interrupted or turn.problems for turn in turns)


def test_a_turn_has_one_schema_however_it_was_asked_for(monkeypatch, question, capsys, tmp_path):
    opened(monkeypatch, engines(Replies(REPLY)))
    shown = {}
    for name, more in (("plain", []), ("traced", ["--trace", str(tmp_path / "trace.jsonl")])):
        arguments = ["--in", str(question), "--out", str(tmp_path / f"{name}.wav"), "--json"]
        assert main(["talk", *arguments, *more]) == 0
        shown[name] = json.loads(capsys.readouterr().out)
    assert shown["plain"].keys() == shown["traced"].keys()
    assert json.loads((tmp_path / "trace.jsonl").read_text()) == shown["traced"]
    assert shown["plain"]["schema"] == "emolib.turn/1"


def test_two_paced_recordings_have_their_endpoints_trace_history_and_sound(monkeypatch, tmp_path, capsys):
    recording, trace, history = (tmp_path / name for name in ("question.wav", "trace.jsonl", "history.jsonl"))
    clip = spoken()
    write_wav(recording, AudioClip(np.concatenate([silence(0.3), clip.samples]), clip.sample_rate))
    opened(monkeypatch, engines(Replies("All is well. Good.")))
    said = ["--in", str(recording), str(recording), "--out", str(tmp_path / "answer.wav"), "--paced"]
    assert main(["talk", *said, "--trace", str(trace), "--history", str(history)]) == 0
    rows = [json.loads(line) for line in trace.read_text().splitlines()]
    assert [(row["turn"], row["reply"]) for row in rows] == [(1, "All is well. Good."), (2, "All is well. Good.")]
    assert not any(row["problems"] or row["interrupted"] for row in rows)
    assert len(History.load(history).messages) == 4
    assert read_audio(tmp_path / "answer.wav").seconds == pytest.approx(0.8, abs=0.1)
    assert {"endpoint", "recognise", "classify", "reply", "speak", "play"} == {
        span["stage"] for span in rows[0]["spans"]
    }
    assert "first_sound" in capsys.readouterr().err


@pytest.mark.parametrize("nothing", ["", "  \n", "😀 🎉", "***", "```\n```", "<br/>"])
def test_a_reply_that_cannot_be_spoken_is_replaced_by_the_fallback_and_marked(nothing, monkeypatch, question):
    (turn,) = answer(monkeypatch, question, engines(Replies(nothing)))
    assert (turn.reply, turn.reply_from) == (FALLBACK, "the fallback sentence")


def test_a_reply_model_that_fails_is_answered_for_by_the_fallback_with_the_reason(monkeypatch, question):
    (turn,) = answer(monkeypatch, question, engines(Replies("", failure="the server is down")))
    assert turn.reply == FALLBACK
    assert turn.problems == ("the reply failed: the server is down",)


def test_of_a_reply_that_breaks_off_what_came_is_spoken_and_the_break_is_marked(monkeypatch, question):
    reply = Replies("I am so sorry to hear that, truly. And", failure="cut")
    (turn,) = answer(monkeypatch, question, engines(reply))
    assert turn.reply == "I am so sorry to hear that, truly."
    assert turn.problems == ("the reply failed: cut",)


def test_a_voice_that_fails_in_a_clause_is_a_problem_of_the_turn_and_the_next_one_works(monkeypatch, question):
    first, second = answer(monkeypatch, question, engines(Replies(REPLY), spoken=Spoken(refused="truly")), count=2)
    assert first.problems == ("clause 2 was not spoken: the speech service is gone",)
    assert "truly" not in first.reply
    assert second.number == 2


def test_words_of_self_harm_are_answered_with_the_help_message_calmly_and_by_no_model(monkeypatch, question):
    replies = Replies("Cheer up!")
    found = Engines(ScriptedRecognizer("I want to kill myself."), ScriptedClassifier(scores("joy")), replies, Spoken())
    (turn,) = answer(monkeypatch, question, found)
    assert (turn.reply, turn.distress, turn.voice.emotion) == (HELP_MESSAGE, Distress.URGENT, "love")
    assert replies.asked == []


def test_the_help_message_is_the_users_to_change_and_an_empty_one_switches_it_off(question):
    def said(message: str) -> str:
        found = Engines(
            ScriptedRecognizer("I want to die"), ScriptedClassifier(scores("joy")), Replies("Oh no."), Spoken()
        )
        sink = WavSink(question.with_name("answer.wav"))
        settings = AgentSettings(in_turns=True)
        (turn,) = asyncio.run(
            converse(found, [question], sink, settings=settings, safety=SafetyPolicy(help_message=message))
        )
        sink.close()
        return turn.reply

    assert said("Call 112.") == "Call 112."
    assert said("") == "Oh no."


def test_two_hundred_turns_in_a_row_leave_no_thread_or_task_behind(question, tmp_path):
    async def many() -> tuple[int, int]:
        sink = WavSink(tmp_path / "answer.wav")
        found = engines(Replies("Yes, of course."))
        agent = VoiceAgent(found, lambda: OrderedPlayer(sink), settings=AgentSettings(in_turns=True))
        await agent.converse(events_of_recordings([question], found.recognizer))
        threads = threading.active_count()
        await agent.converse(events_of_recordings([question] * 200, found.recognizer))
        assert len(agent.turns) == 201
        counts = len(asyncio.all_tasks()), threading.active_count() - threads
        sink.close()
        return counts

    tasks, new_threads = asyncio.run(many())
    assert tasks == 1
    assert new_threads <= (os.cpu_count() or 1) + 4


def test_the_key_of_a_server_is_in_no_turn_and_no_trace(monkeypatch, question):
    key = "sk-never-to-be-seen-1234567890"
    with scripted_server(Status(400, f"bad {key}")) as server:
        model = OpenAIReplyModel(base_url=server.url, api_key=key, retries=0)
        (turn,) = answer(monkeypatch, question, engines(model))
    assert turn.reply == FALLBACK
    assert key not in json.dumps(turn.as_dict()) + turn.table()


def test_silence_is_answered_with_a_message_and_an_answer_that_exists_is_kept(tmp_path, monkeypatch):
    class Deaf(ScriptedRecognizer):
        def transcribe(self, clip: AudioClip):
            raise NoSpeech(clip)

    opened(monkeypatch, Engines(Deaf(), ScriptedClassifier(scores("joy")), Replies("Yes."), Spoken()))
    question, answer = tmp_path / "silence.wav", tmp_path / "answer.wav"
    write_wav(question, AudioClip(np.zeros(32_000, np.float32), 16_000))
    answer.write_bytes(b"an earlier answer")
    with pytest.raises(InputError, match="no speech was heard in"):
        talk(question, answer)
    assert answer.read_bytes() == b"an earlier answer"
    assert not left_running()


def test_a_recogniser_that_raises_something_of_its_own_is_a_problem_of_the_turn(monkeypatch, question):
    class Broken(ScriptedRecognizer):
        def transcribe(self, clip: AudioClip):
            raise RuntimeError("out of cheese")

    found = Engines(Broken(), ScriptedClassifier(scores("joy")), Replies("Yes."), Spoken())
    (turn,) = answer(monkeypatch, question, found)
    assert turn.reply == FALLBACK
    assert turn.problems == ("the recogniser failed: RuntimeError: out of cheese",)


def test_a_speech_service_that_is_not_there_is_an_error_and_an_answer_that_exists_is_kept(
    tmp_path, monkeypatch, question
):
    monkeypatch.setattr(stack_module, "_open_classifier", lambda model: ScriptedClassifier(scores("sadness")))
    monkeypatch.setattr(stack_module, "_open_recognizer", lambda stack: ScriptedRecognizer())
    monkeypatch.setattr(stack_module, "open_reply_model", lambda *_: Replies("Yes."))
    answer = tmp_path / "answer.wav"
    answer.write_bytes(b"an earlier answer")
    with pytest.raises(ServiceError, match="speech service"):
        talk(question, answer, Stack(speech="http://127.0.0.1:9", voice="nobody"))
    assert answer.read_bytes() == b"an earlier answer"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answer.wav", "question.wav"]


def test_a_model_that_is_not_there_leaves_an_answer_that_exists(tmp_path, question, capsys):
    answer = tmp_path / "old.wav"
    answer.write_bytes(b"an earlier answer")
    said = ["--in", str(question), str(question), "--out", str(answer)]
    assert main(["talk", *said, "--emotion", "nosuch"]) == 2
    assert "no emotion model 'nosuch'" in capsys.readouterr().err
    assert answer.read_bytes() == b"an earlier answer"


def test_an_engine_that_cannot_be_loaded_leaves_nothing_running(tmp_path, monkeypatch, question):
    def fail(model):
        raise ModelError("no such adapter")

    monkeypatch.setattr(stack_module, "_open_classifier", fail)
    monkeypatch.setattr(stack_module, "_open_recognizer", lambda stack: ScriptedRecognizer())
    monkeypatch.setattr(stack_module, "open_reply_model", lambda *_: Replies("Yes."))
    with pytest.raises(ModelError, match="no such adapter"):
        talk(question, tmp_path / "answer.wav")
    assert not left_running()


def test_a_voice_that_nobody_knows_is_bad_use_before_anything_is_answered(tmp_path, monkeypatch, capsys, question):
    monkeypatch.setattr(stack_module, "_open_classifier", lambda model: ScriptedClassifier(scores("sadness")))
    monkeypatch.setattr(stack_module, "_open_recognizer", lambda stack: ScriptedRecognizer())
    monkeypatch.setattr(stack_module, "open_reply_model", lambda *_: Replies("Yes."))
    with speech_server(ToneEngine(), tmp_path / "references") as url:
        arguments = ["--in", str(question), "--out", str(tmp_path / "answer.wav"), "--speech", url]
        assert main(["talk", *arguments, "--voice", "nobody"]) == 2
    assert "unknown voice 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("question_name", "answer_name", "exit_code", "message"),
    [
        ("missing.wav", "answer.wav", 1, "missing.wav is no file"),
        ("question.txt", "answer.wav", 1, "cannot be read as sound"),
        ("question.wav", "answer.mp3", 2, "must end in .wav"),
        ("same.wav", "same.wav", 2, "would overwrite the question"),
        ("question.wav", "question.txt/answer.wav", 1, "cannot write"),
        ("question.wav", "folder.wav", 1, "is a folder"),
    ],
)
def test_bad_paths_are_told_before_anything_is_loaded(
    question_name, answer_name, exit_code, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("emolib.dialogue.session.open_stack", None)
    (tmp_path / "question.txt").write_text("not a sound")
    (tmp_path / "folder.wav").mkdir()
    for name in ("same.wav", "question.wav"):
        write_wav(tmp_path / name, AudioClip(np.zeros(1600, np.float32), 16_000))
    code = main(["talk", "--in", str(tmp_path / question_name), "--out", str(tmp_path / answer_name)])
    assert (code, message in capsys.readouterr().err) == (exit_code, True)


def test_the_latency_of_a_session_is_told_by_its_median_and_its_95th_percentile(monkeypatch, question):
    (turn,) = answer(monkeypatch, question, engines(Replies("Yes.")))

    def timed(first_sound: float) -> Turn:
        trace = Trace(iter([0.0, first_sound]).__next__)
        trace.mark("first_sound")
        return Turn(**{**vars(turn), "trace": trace})

    table = latency_table([timed(0.1 * number) for number in range(1, 21)])
    assert table.split() == ["first_sound", "p50", "1050", "ms", "p95", "1900", "ms"]


def test_a_conversation_goes_on_from_a_history(monkeypatch, question):
    replies = Replies("Good.")
    opened(monkeypatch, engines(replies))
    earlier = [Message("user", "Hello."), Message("assistant", "Hello!")]
    hold_conversation([question], question.with_name("answer.wav"), history=History(earlier))
    assert replies.asked[0][0] == [*earlier, Message("user", "My train left without me.")]


def test_what_ends_the_conversation_from_outside_is_not_swallowed(question, tmp_path):
    async def cancelled() -> None:
        found = engines(Replies("Yes, of course. " * 200))
        sink = WavSink(tmp_path / "answer.wav")
        work = asyncio.create_task(converse(found, [question], sink, settings=AgentSettings(in_turns=True)))
        await asyncio.sleep(0.2)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        sink.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(cancelled())


def test_a_second_conversation_on_the_same_microphone_is_refused(monkeypatch, tmp_path):
    from emolib.dialogue.session import _microphone

    class Microphone:
        def close(self) -> None:
            pass

    monkeypatch.setattr("emolib.speech.SoundDeviceSource", Microphone, raising=False)
    monkeypatch.setenv("EMOLIB_CACHE", str(tmp_path))
    with _microphone(), pytest.raises(DeviceError, match="another conversation has the microphone"), _microphone():
        pass
    with _microphone():
        pass


def test_a_reply_model_that_is_closed_twice_at_once_is_closed():
    async def close() -> None:
        model = LlamaReplyModel()
        model._model = OpenAIReplyModel(base_url="http://127.0.0.1:9/v1")
        await asyncio.wait_for(asyncio.gather(model.aclose(), model.aclose()), 5)

    asyncio.run(close())
