"""The emotion of a voice from Whisper's encoder: probabilities, nothing for sounds that are no speech, and no cost."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from sounds import WORDLESS
from voices import silence, spoken, white_noise

from emolib.audio import AudioClip
from emolib.errors import ModelError, UsageError
from emolib.speech import WhisperRecognizer
from emolib.speech.voice_head import HEAD_FILE, VOICE_CLASSES, bundled_head, load_heads, pooled
from emolib.speech.whisper_encoder import EncodedSpeech, WhisperEncoder

PLAIN = "Please bring me the blue book from the upper shelf."


@pytest.fixture(scope="module")
def whisper() -> WhisperRecognizer:
    return WhisperRecognizer(voice_emotion=True)


@pytest.fixture(scope="module")
def encoder(whisper: WhisperRecognizer) -> WhisperEncoder:
    return whisper._encoder


def heard(encoder: WhisperEncoder, samples: np.ndarray) -> dict[str, float]:
    return bundled_head().probabilities(encoder.encode(samples))


def test_a_transcript_has_the_probabilities_of_a_voice(whisper):
    voice = whisper.transcribe(spoken()).voice_emotion
    assert tuple(voice) == VOICE_CLASSES
    assert sum(voice.values()) == pytest.approx(1, abs=1e-4)
    assert min(voice.values()) >= 0


@pytest.mark.parametrize("text", [PLAIN, "I put the letter on the kitchen table.", "The train arrives in ten minutes."])
def test_a_plain_voice_is_neutral(encoder, text):
    voice = heard(encoder, spoken(text).samples)
    assert max(voice, key=voice.get) == "neutral"


def test_the_level_of_a_clip_does_not_matter(encoder):
    loud, soft = (heard(encoder, np.float32(gain) * spoken(PLAIN).samples) for gain in (1.0, 0.1))
    assert loud == pytest.approx(soft, abs=0.1)


@pytest.mark.parametrize("sound", WORDLESS, ids=lambda sound: sound.__name__)
def test_a_sound_without_words_has_no_emotion(encoder, sound):
    assert heard(encoder, sound())["neutral"] > 0.8


@pytest.mark.parametrize("seconds", [0.1, 2.0])
def test_silence_and_noise_have_no_emotion(encoder, seconds):
    for samples in (silence(seconds), white_noise(seconds, -40), white_noise(seconds, -14)):
        assert heard(encoder, samples)["neutral"] > 0.5


def test_the_estimate_is_there_before_the_end(whisper):
    stream = whisper.stream()
    stream.push(spoken().samples)
    stream.flush()
    deadline = time.monotonic() + 30
    while stream.partial()[0] is None and time.monotonic() < deadline:
        time.sleep(0.02)
    partial, _ = stream.partial()
    stream.close()
    assert tuple(partial.voice_emotion) == VOICE_CLASSES


def test_a_long_clip_has_the_emotion_of_its_end(whisper):
    sentences = [spoken(PLAIN).samples, silence(0.5)] * 8
    transcript = whisper.transcribe(AudioClip(np.concatenate(sentences), 16_000))
    assert sum(transcript.voice_emotion.values()) == pytest.approx(1, abs=1e-4)


def test_with_the_times_of_words_the_emotion_is_there_too():
    transcript = WhisperRecognizer(word_times=True, voice_emotion=True).transcribe(spoken())
    assert len(transcript.words) > 3
    assert transcript.voice_emotion


def test_switched_off_it_loads_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("emolib.speech.whisper.bundled_head", lambda: pytest.fail("the head was loaded"))
    assert WhisperRecognizer().transcribe(spoken()).voice_emotion is None


def test_the_head_takes_less_than_five_milliseconds(encoder):
    speech = encoder.encode(spoken().samples)
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        bundled_head().probabilities(speech)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.005


def test_pooling_takes_the_frames_with_speech_alone():
    rng = np.random.default_rng(0)
    output, levels = rng.standard_normal((60, 4)).astype(np.float32), np.full(60, -90.0)
    levels[20:30] = 0.0
    features = pooled(EncodedSpeech(output, levels, slice(10, 40)))
    assert features.shape == (6 * 4,)
    assert features[:4] == pytest.approx(output[20:30].mean(axis=0), abs=1e-5)
    assert features[4:8] == pytest.approx(output[20:30].std(axis=0), abs=1e-5)


@pytest.mark.parametrize("content", [b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", HEAD_FILE.read_bytes()[:1_000]])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, content: bytes):
    path = tmp_path / "head.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"the voice head {path} cannot be loaded: .*; install emolib again"):
        load_heads(path)


def test_a_missing_file_is_one_sentence(tmp_path: Path):
    with pytest.raises(ModelError, match=r"none\.safetensors cannot be loaded"):
        load_heads(tmp_path / "none.safetensors")


def test_the_file_is_small_and_no_pickle():
    assert HEAD_FILE.suffix == ".safetensors"
    assert HEAD_FILE.stat().st_size < 100_000
    assert (HEAD_FILE.parent / "README.md").read_text(encoding="utf-8").count("CC BY-NC-SA 4.0") >= 1


def test_another_whisper_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match=r"embedded Whisper tiny\.en alone"):
        WhisperRecognizer(tmp_path, voice_emotion=True)
