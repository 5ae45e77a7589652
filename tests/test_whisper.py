"""The embedded recogniser: it hears words where there are words, and says so where there are none."""

from __future__ import annotations

import jiwer
import numpy as np
import pytest
from sounds import WORDLESS
from voices import SENTENCE, silence, spoken, white_noise

from emolib.audio import AudioClip
from emolib.errors import InputError, ModelError
from emolib.speech import NoSpeech, SpeechRecognizer, Transcript, WhisperRecognizer


@pytest.fixture(scope="module")
def whisper() -> WhisperRecognizer:
    return WhisperRecognizer()


def words(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalpha() or letter == " ").strip()


def test_a_spoken_sentence_is_recognised(whisper):
    transcript = whisper.transcribe(spoken())
    assert jiwer.wer(words(SENTENCE), words(transcript.text)) < 0.2
    assert transcript.language == "en"
    assert 0.3 < transcript.confidence <= 1


def test_the_rate_of_the_clip_does_not_matter(whisper):
    assert words(whisper.transcribe(spoken(sample_rate=44_100)).text) == words(whisper.transcribe(spoken()).text)


def test_telephone_speech_is_recognised(whisper):
    assert jiwer.wer(words(SENTENCE), words(whisper.transcribe(spoken(sample_rate=8_000)).text)) < 0.4


@pytest.mark.parametrize(
    "samples",
    [
        silence(2),
        white_noise(3, -40),
        white_noise(3, -14),
        np.float32(0.3) * np.sin(np.arange(48_000, dtype=np.float32) / 10),
        np.full(32_000, 0.4, dtype=np.float32),
        np.r_[silence(1), np.ones(160, dtype=np.float32), silence(1)],
        silence(0.01),
        silence(0),
    ],
    ids=["silence", "faint noise", "loud noise", "tone", "offset", "click", "10 ms", "nothing"],
)
def test_what_holds_no_speech_is_named(whisper, samples):
    with pytest.raises(InputError, match=r"no speech was heard in question\.wav"):
        whisper.transcribe(AudioClip(samples, 16_000, "question.wav"))


@pytest.mark.parametrize("sound", WORDLESS, ids=lambda sound: sound.__name__)
def test_a_sound_without_words_gets_none(whisper, sound):
    with pytest.raises(NoSpeech):
        whisper.transcribe(AudioClip(sound(), 16_000))


@pytest.mark.parametrize("seconds", [0.6, 1.0, 1.4, 1.8])
def test_the_beginning_of_a_sentence_is_heard_once(whisper, seconds):
    heard = words(whisper.transcribe(spoken().cut(0, int(seconds * 16_000))).text)
    assert len(heard.split()) <= len(SENTENCE.split())


@pytest.mark.parametrize("pause_s", [0.2, 0.6, 1.2])
def test_two_sentences_in_one_clip_are_heard_once_each(whisper, pause_s):
    clip = np.concatenate([spoken().samples, silence(pause_s), spoken("Thank you so much.").samples])
    found = words(whisper.transcribe(AudioClip(clip, 16_000)).text)
    assert jiwer.wer(words(f"{SENTENCE} Thank you so much."), found) < 0.2


def test_the_same_sentence_twice_is_heard_twice(whisper):
    clip = np.concatenate([spoken().samples, silence(0.5), spoken().samples])
    assert words(whisper.transcribe(AudioClip(clip, 16_000)).text).count("came home before the storm") == 2


def test_words_have_their_times():
    recognizer = WhisperRecognizer(word_times=True, beam_size=1)
    found = recognizer.transcribe(spoken()).words
    assert len(found) >= 6
    assert all(word.start <= word.end for word in found)
    assert [word.start for word in found] == sorted(word.start for word in found)
    assert found[-1].end <= spoken().seconds + 0.5


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ModelError, match=str(tmp_path)):
        WhisperRecognizer(tmp_path)


def test_it_has_the_interface_of_a_recogniser(whisper):
    assert isinstance(whisper, SpeechRecognizer)
    assert isinstance(whisper.transcribe(spoken()), Transcript)
