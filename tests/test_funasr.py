"""The FunASR adapter on the real package with tiny random models and no network, and every trap it has."""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_funasr
from voices import silence, spoken, white_noise

from emolib.audio import AudioClip
from emolib.errors import ModelError
from emolib.speech import NoSpeech, Transcript
from emolib.speech.funasr import FsmnVad, FunASRRecognizer, ParaformerStreaming, english_labels, parse_sensevoice

pytest.importorskip("funasr", reason="FunASR is not installed")


@pytest.fixture(autouse=True, scope="module")
def no_network():
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("the tests have no network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "create_connection", refuse)
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("funasr")
    makers = ("paraformer", "streaming_paraformer", "sensevoice", "fsmn_vad", "punctuation")
    return {name: getattr(tiny_funasr, name)(folder / name) for name in makers}


@pytest.fixture(scope="module")
def paraformer(models) -> FunASRRecognizer:
    return FunASRRecognizer(models["paraformer"], hotwords=["今天", "天气"])


def test_a_clip_gives_a_transcript_and_the_same_one_again(paraformer):
    transcript = paraformer.transcribe(spoken())
    assert isinstance(transcript, Transcript)
    assert transcript.text
    assert paraformer.transcribe(spoken()).text == transcript.text


def test_other_rates_are_resampled(paraformer):
    assert paraformer.transcribe(AudioClip(np.repeat(spoken().samples, 2), 32_000)).text


@pytest.mark.parametrize("samples", [silence(0), silence(0.01), white_noise(0.01), silence(2)])
def test_nothing_and_10_ms_are_no_speech_and_not_a_crash(paraformer, models, samples):
    with pytest.raises(NoSpeech, match="no speech was heard"):
        paraformer.transcribe(AudioClip(samples, 16_000))


def test_the_loudness_that_the_model_sees_is_that_of_floats(models):
    """Integers are not scaled by FunASR: what it is given has to be what a float file holds."""
    seen = []
    recognizer = FunASRRecognizer(models["paraformer"])
    generate = recognizer._model._model.generate
    recognizer._model._model.generate = lambda input, **options: seen.append(input) or generate(input=input, **options)
    recognizer.transcribe(spoken())
    assert seen[0].dtype == np.float32
    assert np.abs(seen[0]).max() <= 1


def test_a_pipeline_with_vad_and_punctuation_runs(models):
    recognizer = FunASRRecognizer(models["paraformer"], vad_model=models["fsmn_vad"], punc_model=models["punctuation"])
    samples = np.concatenate([spoken().samples, silence(1), spoken().samples])
    assert recognizer.transcribe(AudioClip(samples, 16_000)).text


def test_a_stream_gives_what_the_whole_clip_gives_however_it_is_cut(models):
    recognizer = ParaformerStreaming(models["streaming_paraformer"])
    samples = np.concatenate([spoken().samples, spoken().samples])
    whole = recognizer.transcribe(AudioClip(samples, 16_000)).text
    for step in (480, 9_600, 7_001):
        stream = recognizer.stream()
        covered = []
        for start in range(0, len(samples), step):
            stream.push(samples[start : start + step])
            covered.append(stream.partial()[1])
        assert stream.finish(len(samples)).text == whole
        assert covered == sorted(covered)
        assert covered[-1] >= len(samples) - 9_600


def test_streams_do_not_mix(models):
    recognizer = ParaformerStreaming(models["streaming_paraformer"])
    alone = recognizer.transcribe(spoken()).text
    one, other = recognizer.stream(), recognizer.stream()
    for start in range(0, len(spoken()), 9_600):
        one.push(spoken().samples[start : start + 9_600])
        other.push(white_noise(0.6, -20, seed=start))
    assert one.finish(len(spoken())).text == alone


def test_a_stream_of_nothing_is_no_speech(models):
    stream = ParaformerStreaming(models["streaming_paraformer"]).stream()
    stream.push(silence(0.01))
    with pytest.raises(NoSpeech):
        stream.finish(160)


def test_sensevoice_gives_text_without_tags(models):
    transcript = FunASRRecognizer(models["sensevoice"], language="en").transcribe(spoken())
    assert "<|" not in transcript.text


def test_fsmn_vad_gives_seconds(models):
    vad = FsmnVad(models["fsmn_vad"])
    for start, end in vad.segments(spoken()):
        assert -0.001 <= start <= spoken().seconds + 1
        assert start < end or end == -0.001
    assert vad.segments(AudioClip(silence(0.01), 16_000)) == []


@pytest.mark.parametrize("hub", ["ms", "hf"])
def test_a_model_of_a_hub_that_does_not_answer_is_named_within_5_seconds(hub):
    started = time.monotonic()
    with pytest.raises(ModelError, match="paraformer-zh has to be downloaded"):
        FunASRRecognizer("paraformer-zh", hub=hub)
    assert time.monotonic() - started < 5


MS_NAME = "iic/speech_seaco_paraformer_large_asr_nat-zh-cn-16k-common-vocab8404-pytorch"


@pytest.mark.parametrize(
    "place", [f"hub/models/{MS_NAME}", f"models/{MS_NAME}", f"models/{MS_NAME.replace('/', '--')}/snapshots/master"]
)
def test_a_model_in_modelscopes_cache_needs_no_network(models, place, tmp_path, monkeypatch):
    pytest.importorskip("modelscope")
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    shutil.copytree(models["paraformer"], tmp_path / place)
    assert FunASRRecognizer("paraformer-zh").transcribe(spoken()).text


def test_a_model_in_the_cache_of_hugging_face_needs_no_network(models, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--funasr--paraformer-zh"
    shutil.copytree(models["paraformer"], repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    assert FunASRRecognizer("paraformer-zh", hub="hf").transcribe(spoken()).text


def test_a_download_that_was_cut_short_is_not_taken_for_the_model(models, tmp_path, monkeypatch):
    pytest.importorskip("modelscope")
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    shutil.copytree(models["paraformer"], tmp_path / "models" / MS_NAME)
    (tmp_path / "models" / MS_NAME / "model.pt").unlink()
    with pytest.raises(ModelError, match="has to be downloaded"):
        FunASRRecognizer("paraformer-zh")


def test_a_folder_that_is_no_model_is_named(tmp_path):
    with pytest.raises(ModelError, match="has no config"):
        FunASRRecognizer(tmp_path)
    with pytest.raises(ModelError, match="is not a folder"):
        FunASRRecognizer(tmp_path / "none")


def test_a_damaged_model_is_named(models, tmp_path):
    (tmp_path / "config.yaml").write_text("model: NoSuchModel\n")
    with pytest.raises(ModelError, match="cannot be loaded"):
        FunASRRecognizer(tmp_path)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            "<|en|><|HAPPY|><|Speech|><|withitn|>Good to see you.",
            Transcript("Good to see you.", "en", voice_emotion={"HAPPY": 1.0}),
        ),
        ("<|zh|><|EMO_UNKNOWN|><|BGM|><|woitn|>今天", Transcript("今天", "zh", events=("BGM",))),
        (
            "<|en|><|SAD|><|Speech|><|withitn|>One. <|en|><|ANGRY|><|Laughter|><|withitn|>Two.",
            Transcript("One. Two.", "en", voice_emotion={"SAD": 0.5, "ANGRY": 0.5}, events=("Laughter",)),
        ),
        ("<|nospeech|><|EMO_UNKNOWN|><|Event_UNK|><|woitn|>", Transcript("", events=("Event_UNK",))),
        ("no tags", Transcript("no tags")),
    ],
)
def test_sensevoice_tags_are_parsed(raw, expected):
    assert parse_sensevoice(raw) == expected


def test_emotion2vec_labels_are_english():
    assert english_labels(["生气/angry", "开心/happy", "<unk>"], [0.5, 0.25, 0.25]) == {
        "angry": 0.5,
        "happy": 0.25,
        "unknown": 0.25,
    }
