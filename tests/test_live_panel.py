"""The live panel: sound from the page is heard, felt and answered with sound to the page, and nothing blocks."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from scripted_engines import Replies, ScriptedClassifier, ScriptedRecognizer, Spoken, scores
from voices import silence, spoken

from emolib.audio import AudioClip, write_wav
from emolib.dialogue import write_trace
from emolib.stack import Engines, Stack
from emolib.widgets.live import LivePanel
from emolib.widgets.speaker import BrowserSink


@contextmanager
def engines(_stack: Stack) -> Iterator[Engines]:
    yield Engines(ScriptedRecognizer(), ScriptedClassifier(scores("joy")), Replies("All is well. Good."), Spoken())


SIX_WORDS = ["One two three four five six.", "Seven eight nine ten eleven twelve."]


def engines_that_speak(words: int) -> Callable[[Stack], AbstractContextManager[Engines]]:
    """Engines whose answer has clauses of `words` words, of a tenth of a second each."""
    answer = " ".join(SIX_WORDS) if words == 6 else f"{'very ' * words}long."

    @contextmanager
    def open_engines(_stack: Stack) -> Iterator[Engines]:
        yield Engines(ScriptedRecognizer(), ScriptedClassifier(scores("joy")), Replies(answer), Spoken())

    return open_engines


@contextmanager
def opened(folder: Path, engines: Callable[[Stack], AbstractContextManager[Engines]]) -> Iterator[LivePanel]:
    """A panel without a page; what it sends there stands in `sent`."""
    panel = LivePanel(engines=engines, save_to=folder / "turns.jsonl")
    panel.sent = []
    panel.widget.send = lambda content, buffers=None: panel.sent.append((content["kind"], buffers))
    yield panel
    panel.close()


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[LivePanel]:
    with opened(tmp_path, engines) as panel:
        yield panel


def idle(thread: threading.Thread) -> bool:
    """Whether `thread` is one of a pool's, which wait for the next conversation."""
    return thread.name.startswith(("ThreadPool", "asyncio"))


def tell(panel: LivePanel, kind: str, *buffers: bytes) -> None:
    panel._on_message(panel.widget, {"kind": kind}, list(buffers))


def pcm(samples: np.ndarray) -> list[bytes]:
    data = (samples * 32767).astype("<i2")
    return [data[start : start + 512].tobytes() for start in range(0, len(data), 512)]


def eventually(holds: Callable[[], object], seconds: float = 20.0) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.02)
    return bool(holds())


def question() -> np.ndarray:
    clip = spoken().resample(16_000)
    return np.concatenate([silence(0.3), clip.samples, silence(1.5)])


def test_what_is_said_into_the_page_is_answered_in_the_page(panel: LivePanel):
    tell(panel, "talk")
    assert eventually(lambda: panel.widget.status.startswith("Listening"))
    for block in pcm(question()):
        tell(panel, "sound", block)
    assert eventually(lambda: panel.turns)
    assert panel.widget.history[0]["reply"] == "All is well. Good."
    assert panel.widget.emotions["joy"] == pytest.approx(0.9)
    assert panel.widget.felt == {"label": "joy", "share": pytest.approx(0.9), "abstained": False}
    assert panel.widget.history[0]["words"] == {"label": "joy", "share": pytest.approx(0.9)}
    assert panel.widget.history[0]["voice"] is None
    assert (panel.widget.partial, panel.widget.reply) == ("", ""), "the turn has moved to the history"
    assert {"endpoint", "recognise", "reply", "speak"} <= {span["stage"] for span in panel.widget.waterfall}
    assert any(kind == "sound" for kind, _ in panel.sent)
    tell(panel, "save")
    assert panel.save_to.read_text().count("\n") == 1
    tell(panel, "clear")
    assert panel.widget.history == []
    assert panel.turns == []


def test_a_saved_conversation_is_reopened_gone_on_with_and_saved_whole(panel: LivePanel, tmp_path: Path):
    tell(panel, "talk")
    assert eventually(lambda: panel.widget.status.startswith("Listening"))
    for count in (1, 2):
        for block in pcm(question()):
            tell(panel, "sound", block)
        assert eventually(lambda turns=count: len(panel.turns) == turns)
    tell(panel, "save")
    said = [turn["transcript"] for turn in panel.widget.history]
    with opened(tmp_path, engines) as later:
        tell(later, "reopen")
        assert later.widget.status == "2 turns were read from turns.jsonl: press Talk to go on."
        assert [turn["transcript"] for turn in later.widget.history] == said
        assert [message.role for message in later._history.recent()][:2] == ["user", "assistant"]
        tell(later, "talk")
        for block in pcm(question()):
            tell(later, "sound", block)
        assert eventually(lambda: later.turns)
        assert [turn["number"] for turn in later.widget.history] == [0, 1, 2]
        tell(later, "save")
        assert later.save_to.read_text().count("\n") == 3


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (None, "cannot be read"),
        ("not JSON\n", "line 1 is no turn"),
        ('{"schema": "emolib.turn/1", "transcript": 3}\n', "no valid transcript, emotion"),
    ],
)
def test_what_cannot_be_reopened_is_one_sentence_and_nothing_changes(panel: LivePanel, content, advice):
    reopen(panel, [record(0)])
    panel.save_to.unlink()
    if content:
        panel.save_to.write_text(content)
    tell(panel, "reopen")
    assert advice in panel.widget.status
    assert panel.widget.trouble
    assert len(panel.widget.history) == 1


def record(number: int) -> dict:
    return {
        "schema": "emolib.turn/1",
        "turn": number,
        "transcript": f"sentence {number}",
        "emotion": "joy",
        "probabilities": {"joy": 0.9},
        "reply": "Good.",
        "voice": {"emotion": "joy", "intensity": 1.0},
        "interrupted": False,
        "problems": [],
    }


def reopen(panel: LivePanel, records: list[dict]) -> None:
    write_trace(records, panel.save_to)
    panel.reopen()


def test_of_300_turns_the_page_gets_the_newest_and_earlier_ones_when_it_asks(panel: LivePanel):
    sent: list[dict] = []
    panel.widget.send = lambda content, buffers=None: sent.append(content)
    reopen(panel, [record(number) for number in range(300)])
    assert [turn["number"] for turn in panel.widget.history] == [*range(280, 300)]
    panel._on_message(panel.widget, {"kind": "earlier", "before": 280}, [])
    assert [turn["number"] for turn in sent[-1]["turns"]] == [*range(230, 280)]


def test_a_status_follows_the_language_of_the_page(panel: LivePanel):
    tell(panel, "save")
    panel.widget.language = "zh"
    assert panel.widget.status == "已将 0 轮对话写入 turns.jsonl。"


def test_an_uploaded_recording_is_answered(panel: LivePanel, tmp_path: Path):
    write_wav(tmp_path / "question.wav", AudioClip(question(), 16_000))
    tell(panel, "upload", (tmp_path / "question.wav").read_bytes())
    assert eventually(lambda: panel.turns)


def test_an_upload_that_is_no_recording_is_one_sentence(panel: LivePanel):
    tell(panel, "upload", b"this is no sound")
    assert "recording.wav" in panel.widget.status
    assert not panel.widget.talking


def test_calibration_measures_the_room(panel: LivePanel):
    tell(panel, "calibrate")
    noise = np.random.default_rng(0).normal(0, 0.01, 2 * 16_000 + 512).astype(np.float32)
    for block in pcm(noise):
        tell(panel, "sound", block)
    assert panel.widget.floor_dbfs == pytest.approx(-40, abs=1)
    assert "Press Talk" in panel.widget.status


def test_a_turn_that_was_broken_off_is_told_in_the_history(tmp_path: Path):
    with opened(tmp_path, engines_that_speak(words=40)) as panel:
        tell(panel, "talk")
        for block in pcm(question()):
            tell(panel, "sound", block)
        assert eventually(lambda: panel.widget.spoken)
        tell(panel, "interrupt")
        assert eventually(lambda: panel.turns)
        assert panel.widget.history[0]["interrupted"]
        assert panel.widget.spoken == ""


def test_what_is_shown_as_spoken_is_the_clause_that_is_heard(tmp_path: Path):
    with opened(tmp_path, engines_that_speak(words=6)) as panel:
        shown: list[tuple[float, str]] = []
        panel.widget.observe(lambda change: shown.append((time.monotonic(), change["new"])), "spoken")
        tell(panel, "talk")
        for block in pcm(question()):
            tell(panel, "sound", block)
        assert eventually(lambda: panel.turns)
    assert [clause for _, clause in shown] == [*SIX_WORDS, ""]
    assert shown[1][0] - shown[0][0] == pytest.approx(0.6, abs=0.25), "not when it was given to the player"


def test_a_second_conversation_and_a_lost_microphone_are_told(panel: LivePanel):
    tell(panel, "talk")
    tell(panel, "talk")
    assert "press Stop first" in panel.widget.status
    assert eventually(lambda: panel._session.agent)
    tell(panel, "lost")
    assert panel._session.wait(20)
    assert panel.widget.status == "The microphone is gone: connect it again and press Talk."


def say(panel: LivePanel, kind: str, page: float, **more: float) -> None:
    panel._on_message(panel.widget, {"kind": kind, "number": 0, "page": page, **more}, [bytes(1024)])


def test_a_page_that_was_reloaded_takes_the_conversation_over(panel: LivePanel):
    say(panel, "talk", 0.25)
    say(panel, "sound", 0.25)
    assert eventually(lambda: panel._session.agent)
    first = panel._session
    say(panel, "talk", 0.75)
    say(panel, "sound", 0.75)
    say(panel, "sound", 0.25)  # two pages at once: the one where Talk was pressed last is heard
    assert panel._page == 0.75
    assert ("taken", None) in panel.sent, "the first page is told"
    assert eventually(lambda: panel.widget.status.startswith("Listening"))
    assert panel._session is not first
    assert first.wait(0)


def test_only_the_page_that_has_the_microphone_ends_the_conversation_when_it_is_left(panel: LivePanel):
    say(panel, "talk", 0.25)
    say(panel, "leave", 0.75)
    assert panel.widget.talking
    say(panel, "leave", 0.25)
    assert not panel.widget.talking
    assert panel._session.wait(20)


def test_a_second_panel_takes_the_conversation_over_and_the_first_says_how_to_have_it_back(
    panel: LivePanel, tmp_path: Path
):
    tell(panel, "talk")
    assert eventually(lambda: panel.widget.status.startswith("Listening"))
    with opened(tmp_path, engines) as second:
        tell(second, "talk")
        assert panel._session.wait(20)
        assert "press Talk to have it back" in panel.widget.status
        assert eventually(lambda: second.widget.status.startswith("Listening"))


def test_a_microphone_at_another_rate_is_resampled(panel: LivePanel):
    say(panel, "calibrate", 0.25, rate=48_000)
    noise = np.random.default_rng(0).normal(0, 0.01, 2 * 48_000 + 1536).astype(np.float32)
    for block in pcm(noise[: 48_000 * 2 - 512]):
        panel._on_message(panel.widget, {"kind": "sound", "page": 0.25}, [block])
    assert "Measuring" in panel.widget.status, "two seconds are 96,000 samples"
    for block in pcm(noise[48_000 * 2 - 512 :]):
        panel._on_message(panel.widget, {"kind": "sound", "page": 0.25}, [block])
    assert panel.widget.floor_dbfs == pytest.approx(-44.8, abs=1), "a third of its power lies under 8 kHz"


def test_talk_after_stop_waits_for_the_end_of_the_first_conversation(panel: LivePanel):
    tell(panel, "talk")
    assert eventually(lambda: panel._session.agent)
    tell(panel, "stop")
    tell(panel, "talk")
    assert "press Stop first" not in panel.widget.status
    assert eventually(lambda: panel.widget.status.startswith("Listening"))


def test_a_panel_that_is_closed_lets_go_of_everything(tmp_path: Path):
    before = set(threading.enumerate())
    with opened(tmp_path, engines) as panel:
        tell(panel, "talk")
        assert eventually(lambda: panel.widget.status.startswith("Listening"))
    assert eventually(lambda: not [thread for thread in set(threading.enumerate()) - before if not idle(thread)], 5)


def test_ten_minutes_of_conversation_leave_nothing_behind(panel: LivePanel):
    """Fifteen questions, with forty seconds from one to the next, fed as fast as they are heard."""
    panel.widget.send = lambda content, buffers=None: None
    blocks = pcm(np.concatenate([question(), silence(40.0)])[: 40 * 16_000])
    tell(panel, "talk")
    assert eventually(lambda: panel.widget.status.startswith("Listening"))
    megabytes = []
    for number in range(1, 16):
        for block in blocks:
            tell(panel, "sound", block)
            time.sleep(5e-4)
        assert eventually(lambda turns=number: len(panel.turns) == turns)
        gc.collect()
        megabytes.append(psutil.Process().memory_info().rss / 1e6)
    print(f"grew by {megabytes[-1] - megabytes[4]:.1f} MB from the fifth answer to the fifteenth")
    # The sound of those 400 s has 12.8 MB.
    assert megabytes[-1] - megabytes[4] < 4.0


def test_the_speaker_keeps_less_than_a_tenth_of_a_second_ahead_and_loses_no_sample():
    sent: list[int] = []
    left = [22_050]

    def pull(count: int) -> np.ndarray:
        count = min(count, left[0])
        left[0] -= count
        return np.zeros(count, np.float32)

    sink = BrowserSink(lambda data: sent.append(len(data) // 2))
    started = time.monotonic()
    sink.start(pull)
    ahead: list[float] = []
    while sum(sent) < 22_050 and time.monotonic() - started < 3:
        ahead.append(sum(sent) / 22_050 - (time.monotonic() - started))
        time.sleep(0.01)
    assert max(ahead) < 0.1
    assert np.median(ahead) > -0.05
    time.sleep(0.1)
    assert sum(sent) == 22_050
    sink.close()


def test_a_silenced_speaker_sends_nothing_more_until_the_next_player():
    sent: list[int] = []
    sink = BrowserSink(lambda data: sent.append(len(data) // 2))
    sink.start(lambda count: np.zeros(count, np.float32))
    assert eventually(lambda: sent)
    sink.silence()
    before = len(sent)
    time.sleep(0.2)
    assert len(sent) == before
    sink.start(lambda count: np.zeros(count, np.float32))
    assert eventually(lambda: len(sent) > before)
    sink.close()


def test_the_server_of_make_lab_holds_no_sound_back():
    channels = pytest.importorskip("jupyter_server.services.kernels.connection.channels")
    from emolib.widgets.prompt_connection import PromptConnection

    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    assert f"{PromptConnection.__module__}.{PromptConnection.__name__}" in makefile
    promptly: list[bool] = []

    class Connection(PromptConnection):
        websocket_handler = SimpleNamespace(set_nodelay=promptly.append)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channels.ZMQChannelsWebsocketConnection, "connect", lambda self: "connected")
        assert Connection().connect() == "connected"
    assert promptly == [True]
