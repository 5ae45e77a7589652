"""What a panel can run on: models, voices and devices are found, chosen, and refused in a sentence."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from scripted_engines import Replies, ScriptedClassifier, ScriptedRecognizer, Spoken, scores
from speech_server import ToneEngine, speech_server
from test_live_panel import eventually, opened, pcm, question, tell

from emolib import speech
from emolib.audio import AudioClip
from emolib.errors import DeviceError, EmolibError, UsageError
from emolib.speech import NullSink
from emolib.stack import Engines, Stack
from emolib.tts import SpeechRequest, SpeechSynthesizer, VoiceLibrary
from emolib.widgets import LivePanel
from emolib.widgets.choices import COMPUTER, OWN_VOICE, PAGE, emotion_models, reply_models


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)


def gguf(path: Path, **metadata: str) -> Path:
    """A GGUF file without tensors that says `metadata` about itself."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    entries = b"".join(text(key) + struct.pack("<I", 8) + text(value) for key, value in metadata.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((b"GGUF" + struct.pack("<IQQ", 3, 0, len(metadata)) + entries).ljust(512, b"\0"))
    return path


def test_bundled_adapters_runs_and_gguf_files_are_found(tmp_path: Path):
    run = tmp_path / "runs" / "mine"
    (run / "adapter").mkdir(parents=True)
    (run / "adapter" / "adapter_config.json").write_text("{}")
    emotion = gguf(tmp_path / "gguf" / "emotion.gguf", **{"emolib.template": "{}"})
    chat = gguf(tmp_path / "gguf" / "chat.gguf", **{"general.type": "model"})
    gguf(tmp_path / "gguf" / "lora.gguf", **{"general.type": "adapter", "emolib.template": "{}"})
    (tmp_path / "gguf" / "broken.gguf").write_bytes(b"GGUF")
    folders = [tmp_path / "runs", tmp_path / "gguf", tmp_path / "absent"]
    assert emotion_models(folders) == ["carer", "everyday", str(run), str(emotion)]
    assert reply_models(folders) == ["auto", "embedded", "gpt", str(chat)]


@pytest.mark.parametrize(
    ("field", "value", "advice"),
    [
        ("emotion", "nonsense", "no emotion model 'nonsense'"),
        ("emotion", "absent.gguf", "there is no file absent.gguf; make one with `emolib export`"),
        ("reply", "absent.gguf", "there is no file absent.gguf"),
        ("reply", "gpt-4o", "unknown reply 'gpt-4o'; use auto, embedded"),
        ("recognizer", "parakeet", "unknown recognizer 'parakeet'"),
    ],
)
def test_what_cannot_be_found_is_refused_in_a_sentence_and_nothing_changes(field, value, advice, tmp_path: Path):
    with opened(tmp_path, engines_of(Spoken())) as panel:
        before = dict(panel.widget.chosen)
        choose(panel, field, value)
        assert advice in panel.widget.status
        assert panel.widget.chosen == before
        with pytest.raises(EmolibError, match=re.escape(advice)):
            panel.choose(**{field: value})


def test_what_was_chosen_is_what_the_engines_are_opened_with(tmp_path: Path):
    asked: list[Stack] = []

    @contextmanager
    def engines(stack: Stack) -> Iterator[Engines]:
        asked.append(stack)
        yield Engines(ScriptedRecognizer(), ScriptedClassifier(scores("joy")), Replies("Good."), Spoken())

    with opened(tmp_path, engines) as panel:
        assert panel.widget.chosen["emotion"] == "everyday"
        choose(panel, "emotion", "carer")
        tell(panel, "talk")
        assert eventually(lambda: panel.widget.status.startswith("Listening"))
        choose(panel, "reply", "http://example.test/v1")
        assert "Press Stop, then Talk" in panel.widget.status
        assert "http://example.test/v1" in panel.widget.options["reply"], "what was typed is offered from then on"
        tell(panel, "stop")
        tell(panel, "talk")
        assert eventually(lambda: len(asked) == 2)
    assert [(stack.emotion, stack.reply) for stack in asked] == [("carer", "auto"), ("carer", "http://example.test/v1")]


def engines_of(synthesizer: object):
    @contextmanager
    def engines(_stack: Stack) -> Iterator[Engines]:
        yield Engines(ScriptedRecognizer(), ScriptedClassifier(scores("joy")), Replies("All is well."), synthesizer)

    return engines


def choose(panel: LivePanel, field: str, value: str) -> None:
    panel._on_message(panel.widget, {"kind": "choose", "name": field, "value": value}, [])


def ask(panel: LivePanel) -> None:
    before = len(panel.turns)
    for block in pcm(question()):
        tell(panel, "sound", block)
    assert eventually(lambda: len(panel.turns) > before)


class Voices(Spoken):
    def voices(self) -> list[str]:
        return ["anna", "berta"]


class StreamedVoices(Voices):
    def stream(self, request: SpeechRequest) -> Iterator[AudioClip]:
        clip = self.synthesize(request)
        for samples in np.array_split(clip.samples, 3):
            yield AudioClip(samples, clip.sample_rate)


@pytest.mark.parametrize("synthesizer", [Voices(), StreamedVoices()])
def test_a_voice_is_heard_from_the_next_clause_on(tmp_path: Path, synthesizer: Voices):
    with opened(tmp_path, engines_of(synthesizer)) as panel:
        tell(panel, "talk")
        assert eventually(lambda: panel.widget.options["voice"] == [OWN_VOICE, "anna", "berta"])
        ask(panel)
        choose(panel, "voice", "berta")
        ask(panel)
    assert [request.voiceprint for request in synthesizer.requests] == [None, "berta"]


def test_a_voice_that_the_engine_cannot_imitate_is_told_and_its_own_is_taken(tmp_path: Path):
    synthesizer = Voices()
    synthesizer.voices = lambda: []
    with opened(tmp_path, engines_of(synthesizer)) as panel:
        choose(panel, "voice", "berta")
        tell(panel, "talk")
        assert eventually(lambda: "no voice 'berta'" in panel.widget.status)
        assert panel.widget.chosen["voice"] == OWN_VOICE


def test_the_voices_of_a_service_are_the_librarys_and_its_own_but_not_the_uploads(tmp_path: Path):
    library = VoiceLibrary(tmp_path / "voices")
    library.add("anna", AudioClip(np.full(24_000, 0.1, np.float32), 24_000), "one two three")
    engine = ToneEngine()
    with speech_server(engine, tmp_path / "references") as url, SpeechSynthesizer(url, voices=library) as client:
        assert client.voices() == ["anna"]
        client.synthesize(speech_request("anna"))
        (tmp_path / "references" / "house voice").mkdir()
        engine.clones_voices = True
    with speech_server(engine, tmp_path / "references") as url, SpeechSynthesizer(url, voices=library) as client:
        assert client.voices() == ["anna", "house voice"]
        engine.clones_voices = False
        assert client.voices() == []


def speech_request(voice: str):
    from emolib.tts import SpeechRequest

    return SpeechRequest("hello", voiceprint=voice)


class Room:
    """A microphone that hears noise of -40 dBFS, then `question`, then noise, as fast as it is taken."""

    overruns = 0

    def __init__(self) -> None:
        self.closed = False

    def frames(self) -> Iterator[np.ndarray]:
        noise = np.random.default_rng(0).normal(0, 0.01, 480 * 3000).astype(np.float32)
        noise[480 * 100 : 480 * 100 + len(question())] += question()
        for frame in noise.reshape(-1, 480):
            if self.closed:
                return
            yield frame

    def close(self) -> None:
        self.closed = True


def test_the_computers_own_microphone_and_loudspeaker_serve_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    room = Room()
    monkeypatch.setattr(speech, "SoundDeviceSource", lambda: room, raising=False)
    monkeypatch.setattr(speech, "SoundDeviceSink", NullSink, raising=False)
    with opened(tmp_path, engines_of(Spoken())) as panel:
        assert panel.widget.options["sound"] == [PAGE, COMPUTER]
        choose(panel, "sound", COMPUTER)
        tell(panel, "calibrate")
        assert eventually(lambda: "Press Talk" in panel.widget.status)
        assert panel.widget.floor_dbfs == pytest.approx(-40, abs=1)
        assert eventually(lambda: room.closed)
        room.closed = False
        tell(panel, "talk")
        assert eventually(lambda: panel.turns)
        assert panel.widget.level_dbfs > -60
        assert not any(kind == "sound" for kind, _ in panel.sent), "nothing is played in the page"


def test_a_computer_without_a_microphone_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def none() -> None:
        raise DeviceError("no microphone was found; connect one or name another")

    monkeypatch.setattr(speech, "SoundDeviceSource", none, raising=False)
    with opened(tmp_path, engines_of(Spoken())) as panel:
        choose(panel, "sound", COMPUTER)
        for button in ("calibrate", "talk"):
            panel.widget.status = ""
            tell(panel, button)
            assert panel.widget.status == "no microphone was found; connect one or name another"
            assert not panel.widget.talking


def test_a_panel_with_a_model_that_is_not_there_is_refused_at_once():
    with pytest.raises(UsageError, match="no emotion model 'nonsense'"):
        LivePanel(Stack(emotion="nonsense"))
