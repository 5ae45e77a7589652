"""What every engine of the service must do, and how each puts an emotion into sound."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from speech_server import ToneEngine, fail_at, speech_server, tone

from emolib.emotions import EMOTIONS
from emolib.errors import StorageError, UsageError
from emolib.models import piper_voice
from emolib.tts.engines import Engine, EngineError, Reference, Utterance, load_engine
from emolib.tts.engines.fish import FishEngine
from emolib.tts.engines.piper import PiperEngine, PiperNetwork
from emolib.tts.markers import S1, S2
from emolib.tts.prosody import NEUTRAL, PROSODY, Prosody, Shaping, level, prosody_for

TEXT = "We walked home in the rain."


@pytest.fixture(scope="module", params=["piper", "espeak-ng", "fish", "tone"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if request.param == "espeak-ng" and not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed (apt-get install espeak-ng)")
    if request.param == "tone":
        yield ToneEngine()
    elif request.param == "fish":
        with speech_server(ToneEngine(), tmp_path_factory.mktemp("fish")) as url:
            yield FishEngine(url, S1)
    else:
        loaded = load_engine(request.param)
        yield loaded
        loaded.close()


def say(engine: Engine, text: str, emotion: str | None = None) -> np.ndarray:
    pieces = list(engine.synthesize(Utterance(text, emotion), threading.Event()))
    assert all(piece.dtype == np.float32 and piece.ndim == 1 for piece in pieces)
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)


def test_it_speaks_mono_within_full_scale(engine: Engine) -> None:
    samples = say(engine, TEXT)
    assert 0.8 < len(samples) / engine.sample_rate < 6
    assert 0.05 < np.abs(samples).max() <= 1


@pytest.mark.parametrize("text", ["7", "...", "naïve café", "你好，世界", "a" * 300, "Hello 你好 Привет"])
def test_no_text_is_too_odd_for_it(engine: Engine, text: str) -> None:
    assert np.isfinite(say(engine, text)).all()


def test_it_stops_when_told(engine: Engine) -> None:
    stop = threading.Event()
    pieces = engine.synthesize(Utterance(" ".join([TEXT] * 20)), stop)
    next(pieces)
    stop.set()
    assert len(list(pieces)) <= 10


@pytest.fixture(scope="module")
def piper() -> Engine:
    return load_engine("piper")


@pytest.mark.parametrize("name", ["piper", "espeak-ng"])
def test_sadness_is_slower_and_quieter_than_anger(name: str) -> None:
    if name == "espeak-ng" and not shutil.which(name):
        pytest.skip("espeak-ng is not installed (apt-get install espeak-ng)")
    engine = load_engine(name)
    sad, angry = say(engine, TEXT, "sadness"), say(engine, TEXT, "anger")
    assert len(sad) > 1.15 * len(angry)
    assert np.sqrt(np.mean(sad**2)) < 0.5 * np.sqrt(np.mean(angry**2))


def test_a_long_sentence_of_piper_is_heard_from_its_first_clause_on(piper: Engine) -> None:
    long = "I walked to the station early this morning, when it was still dark, " * 3 + "and nobody was there."
    pieces = list(piper.synthesize(Utterance(long), threading.Event()))
    assert len(pieces) >= 2
    assert max(map(len, pieces)) / piper.sample_rate < 12
    assert all(np.abs(piece).max() > 0.05 for piece in pieces), "no pause inside a sentence but the voice's own"


def test_chinese_is_not_spelt_out_by_the_english_voice(piper: Engine) -> None:
    assert len(say(piper, "你好")) / piper.sample_rate < 1.2
    mixed = len(say(piper, "He said 你好 to her.")) - len(say(piper, "He said to her."))
    assert -0.2 < mixed / piper.sample_rate < 1.2


@pytest.mark.parametrize("text", ["Привет, как дела?", "สวัสดีครับ", "مرحبا كيف حالك", "こんにちは", "안녕하세요", "שלום"])
def test_no_script_is_spelt_out_by_a_voice_that_does_not_speak_its_language(text: str) -> None:
    piper = load_engine("piper")
    assert 0.2 < len(say(piper, text)) / piper.sample_rate < 2.0
    assert len(say(piper, f"She said {text} to me.")) > len(say(piper, "She said to me."))


class TestFish:
    def test_each_sentence_goes_with_its_tag_and_the_clips(self, tmp_path: Path) -> None:
        server = ToneEngine()
        server.reads_tags = True
        with speech_server(server, tmp_path) as url:
            clip = Reference(b"RIFF" + bytes(400), "a tone")
            utterance = Utterance("One two. Three?", "joy", references=(clip,))
            pieces = list(FishEngine(url, S2).synthesize(utterance, threading.Event()))
        assert [heard.text for heard in server.utterances] == ["[delight] One two.", "[delight] Three?"]
        assert server.utterances[1].references == (clip,)
        assert len(pieces) == 2
        assert all(len(piece) % 22_050 == 0 for piece in pieces)

    def test_a_server_that_fails_is_an_engine_error(self, tmp_path: Path) -> None:
        with speech_server(ToneEngine(fail_at("bad")), tmp_path) as url, pytest.raises(EngineError, match="bad"):
            list(FishEngine(url, S1).synthesize(Utterance("bad"), threading.Event()))

    def test_no_server_is_an_engine_error(self) -> None:
        with pytest.raises(EngineError, match="no answer"):
            list(FishEngine("http://127.0.0.1:9", S1).synthesize(Utterance("x"), threading.Event()))

    def test_without_a_url_it_is_bad_use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("EMOLIB_FISH_URL", raising=False)
        with pytest.raises(UsageError, match="EMOLIB_FISH_URL"):
            load_engine("fish")


def test_an_unknown_engine_is_bad_use() -> None:
    with pytest.raises(UsageError, match="nonsense"):
        load_engine("nonsense")


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_intensity_runs_from_neutral_to_the_documented_prosody(emotion: str) -> None:
    faint, full, strong = (prosody_for(emotion, intensity) for intensity in (0.0, 1.0, 2.0))
    assert faint == NEUTRAL
    assert full == PROSODY[emotion]
    assert abs(strong.pitch) == pytest.approx(2 * abs(full.pitch))
    assert strong.pause > 0


def shaped(samples: np.ndarray, prosody: Prosody, *cuts: int) -> np.ndarray:
    """`samples` through one Shaping, in the pieces between `cuts`."""
    shaping, parts = Shaping(prosody, 22_050), np.split(samples, cuts)
    return np.concatenate([shaping.push(part, number == len(cuts)) for number, part in enumerate(parts)])


@pytest.mark.parametrize("semitones", [-3.0, 0.0, 3.0])
def test_a_shift_changes_the_pitch_and_the_length_by_the_same_ratio(semitones: float) -> None:
    samples = shaped(tone(22_050, 1.0), Prosody(pitch=semitones))
    ratio = 2 ** (semitones / 12)
    assert len(samples) == pytest.approx(22_050 / ratio, abs=2)
    peak = np.argmax(np.abs(np.fft.rfft(samples))) * 22_050 / len(samples)
    assert peak == pytest.approx(220 * ratio, rel=0.01)


@pytest.mark.parametrize("gain", [-6.0, 0.0, 4.0])
def test_the_level_does_not_depend_on_the_input(gain: float) -> None:
    loud, soft = (level(scale * tone(8_000), Prosody(gain=gain)) for scale in (3.0, 0.01))
    assert np.abs(loud - soft).max() < 1e-5
    assert 20 * np.log10(np.sqrt(np.mean(loud**2))) == pytest.approx(-25 + gain, abs=0.1)


@pytest.mark.parametrize("gain", [-6.0, 0.0, 4.0])
@pytest.mark.parametrize("pitch", [-2.0, 0.0, 3.0])
def test_pieces_are_shaped_as_the_whole_is(pitch: float, gain: float) -> None:
    """Sound that is 2.4 dB louder at its start than as a whole, as the voice's is."""
    samples = tone(44_100, 1.0) * np.where(np.arange(44_100) < 8_000, 0.4, 0.278).astype(np.float32)
    prosody = Prosody(pitch=pitch, gain=gain)
    whole, pieces = shaped(samples, prosody), shaped(samples, prosody, 8_000, 20_000)
    assert len(whole) == len(pieces)
    assert 20 * np.log10(np.sqrt(np.mean(pieces**2))) == pytest.approx(-25 + gain, abs=0.5)
    jump = np.abs(np.diff(pieces)).max() / np.abs(np.diff(whole)).max()
    assert jump < 1.1, "no click where two pieces meet"


def test_a_silent_start_is_left_out_and_no_measure_of_loudness() -> None:
    hiss = np.random.default_rng(0).standard_normal(12_000).astype(np.float32) * 1e-4
    samples = np.concatenate([hiss, 0.2 * tone(22_050, 1.0)])
    pieces = shaped(samples, NEUTRAL, 6_000, 14_000, 20_000)
    assert len(pieces) == pytest.approx(22_050 + 330, abs=60)
    assert np.abs(pieces).max() < 0.2


def test_a_loud_peak_stays_below_full_scale() -> None:
    samples = 0.05 * tone(22_050, 1.0)
    samples[15_000] = 0.9
    assert np.abs(shaped(samples, Prosody(gain=6.0), 8_000)).max() <= 0.97


class TestPiperNetwork:
    @pytest.fixture(scope="class")
    def network(self) -> PiperNetwork:
        return load_engine("piper")._network

    @pytest.mark.parametrize("frames", [1, 32, 95, 96, 319, 320, 500])
    def test_the_sound_of_the_pieces_is_that_of_the_whole(self, network: PiperNetwork, frames: int) -> None:
        hidden = np.random.default_rng(frames).standard_normal((1, 192, frames)).astype(np.float32)
        whole = network._generator.run(None, {network._frames: hidden})[0].squeeze()
        network_of_hidden = SimpleNamespace(run=lambda *_: [hidden])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(network, "_first", network_of_hidden)
            pieces, ends = zip(*network.sound({}), strict=True)
        assert np.abs(np.concatenate(pieces) - whole).max() < 1e-5
        assert ends == (*[False] * (len(pieces) - 1), True)
        assert len(pieces) == (1 if frames < 96 else 2 if frames < 320 else 3)

    def test_a_voice_of_another_make_is_left_whole(self, tmp_path: Path) -> None:
        import onnx

        model = onnx.load(str(piper_voice()))
        for node in model.graph.node:
            node.name = node.name.replace("/dec/", "/vocoder/")
        onnx.save(model, str(tmp_path / "other.onnx"))
        (tmp_path / "other.onnx.json").write_bytes(Path(f"{piper_voice()}.json").read_bytes())
        other = PiperEngine(tmp_path / "other.onnx")
        pieces = list(other.synthesize(Utterance(TEXT), threading.Event()))
        assert len(pieces) == 1
        assert 0.8 < len(pieces[0]) / other.sample_rate < 6


def test_no_room_for_the_voice_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(onnx, "save", full)
    with pytest.raises(StorageError, match=r"70 MB in .*No space left"):
        load_engine("piper")


def test_piper_gives_the_start_of_a_sentence_before_the_rest(piper: Engine) -> None:
    pieces = list(piper.synthesize(Utterance(TEXT), threading.Event()))
    assert len(pieces) >= 2
    assert 0.2 < len(pieces[0]) / piper.sample_rate < 0.4


def test_silence_stays_silence() -> None:
    assert not level(np.zeros(100, dtype=np.float32), NEUTRAL).any()
    assert level(np.zeros(0, dtype=np.float32), NEUTRAL).size == 0
