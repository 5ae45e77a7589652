"""What the notebooks call for sound and for what may be missing: a key, FunASR's weights, sentences in order."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from speech_server import ToneEngine, speech_server
from tiny_funasr import sensevoice
from voices import SENTENCE, spoken

from emolib.audio import SAMPLE_RATE, AudioClip, read_audio
from emolib.demo import explain_errors, load_key, record_noisy_clip, speak_with_voiceprint, transcribe_with_funasr
from emolib.errors import InputError, ServiceError
from emolib.plots import speech_order
from emolib.speech import NullSink, calibrate
from emolib.tts import SpeechRequest, VoiceLibrary, speak_in_order


class SlowFirst:
    """Speaks each sentence as a tone of 0.1 s; the first one takes longest."""

    def synthesize(self, request: SpeechRequest) -> AudioClip:
        time.sleep(0.3 if request.text == "one" else 0.01)
        if request.text == "broken":
            raise ServiceError("the service is down")
        return AudioClip(np.full(1_600, 0.1, dtype=np.float32), SAMPLE_RATE)


def secrets(monkeypatch: pytest.MonkeyPatch, get: object) -> None:
    """Stand in for google.colab.userdata."""
    userdata = ModuleType("google.colab.userdata")
    userdata.get = get
    colab = ModuleType("google.colab")
    colab.userdata = userdata
    for name, module in (("google", ModuleType("google")), ("google.colab", colab), (userdata.__name__, userdata)):
        monkeypatch.setitem(sys.modules, name, module)


# --- order ----------------------------------------------------------------------------------------


def test_sentences_asked_for_backwards_are_heard_in_order() -> None:
    requests = [SpeechRequest(text) for text in ("one", "two", "three")]
    with NullSink(SAMPLE_RATE) as sink:
        spoken_ones = speak_in_order(SlowFirst(), requests, sink)
    times = spoken_ones.sentences
    assert times[2].asked_s < times[1].asked_s < times[0].asked_s
    assert times[2].ready_s < times[0].ready_s
    assert times[0].heard_s >= times[0].ready_s
    assert all(before.heard_until_s <= after.heard_s + 0.02 for before, after in itertools.pairwise(times))
    assert spoken_ones.clip.seconds == pytest.approx(0.3, abs=0.01)
    assert len(spoken_ones.table().splitlines()) == 5
    assert len(speech_order(spoken_ones.rows()).points) == 3


def test_a_sentence_that_cannot_be_spoken_is_said() -> None:
    with NullSink(SAMPLE_RATE) as sink, pytest.raises(ServiceError, match="down"):
        speak_in_order(SlowFirst(), [SpeechRequest("one"), SpeechRequest("broken")], sink)


@pytest.mark.parametrize("asked", [[0], [0, 0], [1, 2]])
def test_an_order_that_is_none_is_refused(asked: list[int]) -> None:
    with NullSink(SAMPLE_RATE) as sink, pytest.raises(InputError, match="does not name each"):
        speak_in_order(SlowFirst(), [SpeechRequest("one"), SpeechRequest("two")], sink, asked=asked)


# --- what may be missing --------------------------------------------------------------------------


def test_a_key_in_the_environment_is_used_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a secret")
    assert "is set" in load_key()
    assert "a secret" not in load_key()


def test_a_key_comes_from_colabs_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "")
    secrets(monkeypatch, lambda name: f"the value of {name}")
    assert load_key().startswith("OPENAI_API_KEY comes from Colab's secrets")
    assert "the value" not in load_key()


def test_without_a_key_the_sentence_says_how_to_give_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setitem(sys.modules, "google.colab.userdata", None)
    assert "getpass" in load_key()
    secrets(monkeypatch, lambda name: "")
    assert "is empty" in load_key()

    def refuse(name: str) -> str:
        raise PermissionError(name)

    secrets(monkeypatch, refuse)
    assert "allow this notebook" in load_key()


def test_funasr_without_weights_names_the_line_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emolib.speech.funasr.hub_problem", lambda hub: "the hub does not answer")
    assert transcribe_with_funasr(spoken(), "no/such-model").endswith("modelscope download --model no/such-model")


def test_funasr_with_weights_transcribes(tmp_path: Path) -> None:
    assert transcribe_with_funasr(spoken(), str(sensevoice(tmp_path / "model"))).startswith("FunASR heard")


def test_without_a_server_a_voiceprint_is_not_spoken_and_a_sentence_says_what_brings_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EMOLIB_FISH_URL", raising=False)
    assert speak_with_voiceprint("Hello.", "joe", VoiceLibrary(tmp_path)) is None
    assert "EMOLIB_FISH_URL" in capsys.readouterr().out


def test_a_server_that_imitates_voices_gets_the_voiceprint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library, engine = VoiceLibrary(tmp_path), ToneEngine()
    library.add("joe", spoken(), SENTENCE)
    with speech_server(engine, tmp_path) as url:
        monkeypatch.setenv("EMOLIB_FISH_URL", url)
        assert speak_with_voiceprint("Hello there.", "joe", library).seconds == pytest.approx(1.0)
    assert engine.utterances[0].references[0].text == SENTENCE
    assert "in the voice joe" in capsys.readouterr().out


# --- the clip of notebook 7 -----------------------------------------------------------------------


def test_the_noisy_clip_holds_room_noise_a_knock_and_three_phrases(tmp_path: Path) -> None:
    recorded = record_noisy_clip(tmp_path / "clip.wav")
    assert len(read_audio(tmp_path / "clip.wav")) == len(recorded.clip)
    assert len(recorded.spoken) == 3
    assert calibrate(recorded.clip.cut(0, SAMPLE_RATE)).floor_dbfs == pytest.approx(-48, abs=1)
    start, end = (round(at * SAMPLE_RATE) for at in recorded.knock)
    assert np.abs(recorded.clip.samples[start:end]).max() > 0.1


# --- cells ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NameError("name 'clip' is not defined"), "Run All Above"),
        (InputError("the file is empty; record it again"), "record it again"),
        (ModuleNotFoundError("no", name="piper"), "Run the first cell"),
    ],
)
def test_an_error_of_a_cell_is_one_sentence_that_says_what_to_do(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = InteractiveShell.instance()
    try:
        explain_errors()
        namespace = {"error": error}
        shell.push(namespace)
        result = shell.run_cell("raise error")
    finally:
        InteractiveShell.clear_instance()
    shown = capsys.readouterr()
    # IPython shows an error on standard output; a notebook's kernel sends it to the cell.
    assert said in shown.out + shown.err
    assert "Traceback" not in shown.out + shown.err
    assert result.error_in_exec is error
