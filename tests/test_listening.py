"""Sources and listening: frames of one shape from everything, and transcripts while somebody speaks."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_engines import ScriptedRecognizer as Instant
from voices import SENTENCE, silence, spoken, white_noise

from emolib.audio import AudioClip, read_audio, write_wav
from emolib.errors import DeviceError, InputError, MissingDependency, ServiceError
from emolib.speech import NoSpeech, Transcript, WhisperRecognizer, Word
from emolib.speech.endpointing import Endpointer, EndpointSettings, SpeechEnd, SpeechStart
from emolib.speech.listening import FalseAlarm, Partial, SpeechLikely, Transcribed, listen, utterances
from emolib.speech.noise import FRAME, frames
from emolib.speech.partials import PartialTranscripts
from emolib.speech.sources import FileSource, PyAudioSource, QueueSource, SoundDeviceSource, _DeviceSource
from emolib.speech.vad import best_detector


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "recording.wav"
    samples = np.concatenate(
        [silence(1), spoken().samples, silence(2.5), spoken("Thank you so much.").samples, silence(2)]
    )
    write_wav(path, AudioClip(samples, 16_000))
    return path


def words(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalpha() or letter == " ").strip()


# --- sources ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_a_file_of_any_rate_comes_as_frames_of_30_ms(tmp_path, sample_rate):
    path = tmp_path / "a.wav"
    write_wav(path, AudioClip(white_noise(2.345, -20, sample_rate), sample_rate))
    found = list(FileSource(path).frames())
    assert {frame.shape for frame in found} == {(FRAME,)}
    assert {frame.dtype for frame in found} == {np.dtype(np.float32)}
    assert len(found) * 0.03 == pytest.approx(2.345, abs=0.06)


def test_frames_of_a_file_are_its_samples(recording):
    found = np.concatenate(list(FileSource(recording).frames()))
    expected = read_audio(recording).samples
    assert np.array_equal(found[: len(expected)], expected)


def test_a_paced_file_takes_its_time_and_can_be_stopped(tmp_path):
    path = tmp_path / "a.wav"
    write_wav(path, AudioClip(silence(0.6), 16_000))
    started = time.monotonic()
    list(FileSource(path, paced=True).frames())
    assert 0.55 < time.monotonic() - started < 1.5
    source = FileSource(path, paced=True)
    taken = []
    for frame in source.frames():
        taken.append(frame)
        source.close()
    assert len(taken) == 1


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 4_000), min_size=1, max_size=20), st.sampled_from([1, 2]))
def test_pcm_cut_anywhere_arrives_whole(cuts, channels):
    samples = np.arange(4_800 * channels, dtype="<i2")
    source = QueueSource(channels=channels)
    data = samples.tobytes()
    for start, end in itertools.pairwise([0, *itertools.accumulate(cuts)]):
        source.feed(data[start:end])
    source.feed(data[sum(cuts) :])
    source.close()
    expected = (samples.reshape(-1, channels).astype(np.float32) / 32768).mean(axis=1)
    assert np.allclose(np.concatenate(list(source.frames())), expected, atol=1e-6)


def test_nan_in_a_stream_becomes_silence():
    source = QueueSource()
    source.feed(np.array([0.5, np.nan, np.inf] * 160, dtype=np.float32))
    source.close()
    (frame,) = source.frames()
    assert np.isfinite(frame).all()
    assert frame[0] == np.float32(0.5)


def test_integers_are_not_taken_for_floats():
    with pytest.raises(InputError, match="int16"):
        QueueSource().feed(np.zeros(10, dtype=np.int16))


def test_a_queue_that_nobody_empties_drops_the_oldest_and_counts():
    source = QueueSource()
    for number in range(510):
        source.feed(np.full(FRAME, number / 1000, dtype=np.float32))
    source.close()
    found = list(source.frames())
    assert source.overruns == 11
    assert found[0][0] == pytest.approx(0.011)


class Plug(_DeviceSource):
    """A microphone that delivers `blocks` and is then unplugged."""

    def __init__(self, blocks: int) -> None:
        super().__init__("the microphone Plug", 16_000, timeout_s=0.2)
        self._count = blocks
        self.opened = 0

    def _open(self) -> Callable[[], None]:
        self.opened += 1
        for _ in range(self._count):
            self._put(np.zeros(FRAME, dtype=np.float32))
        return lambda: None


def test_a_device_that_stops_delivering_is_named_and_can_be_opened_again():
    source = Plug(3)
    for _ in range(2):
        frames = source.frames()
        assert [next(frames).shape for _ in range(3)] == [(FRAME,)] * 3
        with pytest.raises(DeviceError, match="the microphone Plug has delivered no sound"):
            next(frames)
    assert source.opened == 2


def test_closing_a_device_from_another_thread_ends_its_frames():
    source = Plug(1)
    threading.Timer(0.05, source.close).start()
    assert len(list(source.frames())) == 1


def test_a_microphone_that_is_not_there_is_named():
    with pytest.raises((MissingDependency, DeviceError), match=r"libportaudio2|no microphone"):
        SoundDeviceSource("a microphone that nobody has")


def test_without_pyaudio_the_line_that_installs_it_is_shown():
    try:
        import pyaudio  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependency, match="portaudio19-dev"):
            PyAudioSource()
    else:
        with pytest.raises(DeviceError, match="no microphone"):
            PyAudioSource(9_999)


# --- listening ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whisper() -> WhisperRecognizer:
    return WhisperRecognizer(beam_size=1)


def test_utterances_are_saved_as_wav(recording, tmp_path):
    found = list(utterances(FileSource(recording), Endpointer(best_detector()), save_to=tmp_path / "said"))
    files = sorted((tmp_path / "said").iterdir())
    assert len(found) == len(files) == 2
    assert np.allclose(read_audio(files[0]).samples, found[0].samples, atol=1 / 32768)


def test_two_sentences_are_heard_one_after_the_other(recording, whisper):
    found = list(listen(FileSource(recording), Endpointer(best_detector()), whisper))
    heard = [event for event in found if isinstance(event, Transcribed)]
    assert jiwer.wer(words(SENTENCE), words(heard[0].transcript.text)) < 0.2
    assert "thank you" in words(heard[1].transcript.text)
    kinds = [type(event) for event in found if not isinstance(event, Partial)]
    assert kinds == [SpeechLikely, SpeechStart, SpeechEnd, Transcribed] * 2


class Frames:
    """A source of these samples, as fast as they are taken."""

    def __init__(self, *parts: np.ndarray) -> None:
        self._samples = np.concatenate(parts).astype(np.float32)

    def frames(self) -> Iterator[np.ndarray]:
        return frames(self._samples)


def heard(*parts: np.ndarray, text: str = "Words.", **options: float) -> list:
    endpointer = Endpointer(best_detector(), EndpointSettings(**options))
    return list(listen(Frames(*parts), endpointer, Instant(text)))


@pytest.mark.parametrize("level", [1.0, 0.2])
def test_speech_is_likely_within_200_ms_of_its_first_sound(level: float):
    clip = level * spoken().samples
    onset = 16_000 + int(np.argmax(np.abs(clip) > 0.05 * np.abs(clip).max()))
    first = heard(silence(1), clip, silence(2))[0]
    assert isinstance(first, SpeechLikely)
    assert (first.known_at - onset) / 16_000 < 0.19


def test_a_sound_too_short_for_speech_is_a_false_alarm():
    syllable = spoken().samples[4_000:7_200]
    assert [type(event) for event in heard(silence(1), syllable, silence(1))] == [SpeechLikely, FalseAlarm]


def test_a_source_that_ends_in_a_short_sound_is_no_longer_waited_for():
    syllable = spoken().samples[4_000:7_200]
    assert [type(event) for event in heard(silence(1), syllable)] == [SpeechLikely, FalseAlarm]


def test_an_utterance_that_is_cut_goes_on_at_the_next_sample():
    events = heard(silence(1), np.tile(spoken().samples, 3), silence(2), longest_s=2.0)
    ends = [event for event in events if isinstance(event, SpeechEnd)]
    assert [end.reason for end in ends][-2:] == ["limit", "silence"]
    starts = [event.position for event in events if isinstance(event, SpeechStart)]
    assert starts[1:] == [end.end for end in ends[:-1]]
    assert sum(isinstance(event, SpeechLikely) for event in events) == 1


class Slate:
    """A recogniser that writes down how much it was given."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def transcribe(self, clip: AudioClip) -> Transcript:
        self.calls.append(len(clip))
        if not np.any(clip.samples):
            raise NoSpeech(clip)
        return Transcript(f"{len(clip)} samples.")


def ones(seconds: float) -> np.ndarray:
    return np.ones(int(16_000 * seconds), dtype=np.float32)


def said(stream: PartialTranscripts) -> tuple[str, int]:
    """The text so far and the number of samples that it covers."""
    found, covered = stream.partial()
    return (found.text if found else ""), covered


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    assert condition()


def test_a_pass_that_began_in_the_pause_is_the_final_transcript():
    slate = Slate()
    stream = PartialTranscripts(slate)
    stream.push(ones(1))
    stream.flush()
    wait_for(lambda: stream.partial()[1] == 16_000)
    stream.push(silence(0.5))
    assert stream.finish(spoken=16_000).text == "16000 samples."
    assert slate.calls == [16_000]


def test_words_after_the_last_pass_are_recognised_at_the_end():
    slate = Slate()
    stream = PartialTranscripts(slate)
    stream.push(ones(1))
    stream.flush()
    wait_for(lambda: stream.partial()[1] > 0)
    stream.push(ones(1))
    assert stream.finish(spoken=32_000).text == "32000 samples."


class Parrot(Slate):
    """Hears a word for each loudness: "1" at 0.1, "2" at 0.2."""

    def transcribe(self, clip: AudioClip) -> Transcript:
        super().transcribe(clip)
        loud = {round(10 * float(level)) for level in np.unique(clip.samples)}
        words = tuple(Word(str(level), 0.0, clip.seconds) for level in sorted(loud - {0}))
        return Transcript(" ".join(word.text for word in words), confidence=1 / len(self.calls), words=words)


def test_what_was_understood_before_a_long_pause_is_not_recognised_again():
    parrot = Parrot()
    stream = PartialTranscripts(parrot, first_s=60)
    stream.push(0.1 * ones(9))
    stream.push(silence(0.06))
    stream.flush()
    wait_for(lambda: said(stream) == ("1", 144_960))
    stream.push(silence(0.5))
    stream.commit(spoken=144_000)
    stream.push(0.2 * ones(1))
    transcript = stream.finish(spoken=168_000)
    assert transcript.text == "1 2"
    assert parrot.calls == [144_960, 24_000]
    assert [(word.text, word.start) for word in transcript.words] == [("1", 0.0), ("2", 9.06)]
    assert transcript.confidence == 0.5


@pytest.mark.parametrize(("seconds", "in_time"), [(9, False), (3, True)])
def test_what_was_not_understood_in_time_or_is_short_is_recognised_with_the_rest(seconds: int, in_time: bool):
    parrot = Parrot()
    stream = PartialTranscripts(parrot, first_s=60)
    stream.push(0.1 * ones(seconds))
    if in_time:
        stream.flush()
        wait_for(lambda: said(stream)[0] == "1")
    stream.push(silence(0.5))
    stream.commit(spoken=16_000 * seconds)
    stream.push(0.2 * ones(1))
    assert stream.finish(spoken=16_000 * (seconds + 1)).text == "1 2"
    assert parrot.calls[-1] == 16_000 * seconds + 24_000


def test_silence_after_what_is_settled_takes_nothing_from_it():
    stream = PartialTranscripts(Parrot())
    stream.push(0.1 * ones(9))
    stream.flush()
    wait_for(lambda: said(stream) == ("1", 144_000))
    stream.commit(spoken=144_000)
    stream.push(silence(1))
    assert stream.finish(spoken=152_000).text == "1"


def test_only_a_long_pause_settles_what_was_said():
    class Watched(PartialTranscripts):
        def commit(self, spoken: int) -> None:
            settled.append(spoken)
            super().commit(spoken)

    class Recogniser(Instant):
        def stream(self) -> PartialTranscripts:
            return Watched(self)

    settled: list[int] = []
    word = spoken("Good.").samples
    parts = [silence(1), spoken().samples, silence(0.15), word, silence(0.45), word, silence(2)]
    list(
        listen(
            Frames(*parts), Endpointer(best_detector(), EndpointSettings(hang_over_s=0.9, complete_s=0.9)), Recogniser()
        )
    )
    assert len(settled) == 1


def test_partials_come_while_speech_goes_on():
    stream = PartialTranscripts(Slate(), first_s=0.5, every_s=0.5)
    for count in range(1, 4):
        stream.push(ones(0.5))
        wait_for(lambda count=count: stream.partial()[1] == 8_000 * count)
    stream.close()


class Late(Slate):
    """Holds back its answer about the first half second."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def transcribe(self, clip: AudioClip) -> Transcript:
        if len(clip) == 8_000:
            assert self.gate.wait(60)
        return super().transcribe(clip)


def test_the_last_words_do_not_wait_for_the_pass_that_runs():
    late = Late()
    stream = PartialTranscripts(late, first_s=0.5)
    stream.push(ones(0.5))
    stream.push(ones(0.5))
    stream.flush()
    assert stream.finish(spoken=16_000).text == "16000 samples."
    assert late.calls == [16_000]
    late.gate.set()


def test_a_pass_that_ends_late_does_not_take_the_place_of_a_newer_one():
    late = Late()
    stream = PartialTranscripts(late, first_s=0.5, every_s=60)
    stream.push(ones(0.5))
    stream.push(ones(0.5))
    stream.flush()
    wait_for(lambda: stream.partial()[1] == 16_000)
    late.gate.set()
    wait_for(lambda: late.calls == [16_000, 8_000])
    time.sleep(0.1)
    assert said(stream) == ("16000 samples.", 16_000)
    stream.close()


def test_a_recogniser_that_hangs_is_named():
    gate = threading.Event()

    class Hangs(Slate):
        def transcribe(self, clip: AudioClip) -> Transcript:
            gate.wait(30)
            return super().transcribe(clip)

    stream = PartialTranscripts(Hangs(), patience_s=0.2)
    stream.push(ones(1))
    with pytest.raises(ServiceError, match=r"no answer for 0\.2 s"):
        stream.finish(spoken=16_000)
    gate.set()


def test_at_most_two_passes_at_a_time():
    gate = threading.Event()

    class Waits(Slate):
        def transcribe(self, clip: AudioClip) -> Transcript:
            transcript = super().transcribe(clip)
            assert gate.wait(60)
            return transcript

    slate = Waits()
    stream = PartialTranscripts(slate)
    for _ in range(10):
        stream.push(ones(0.1))
        stream.flush()
    wait_for(lambda: len(slate.calls) == 2)
    time.sleep(0.05)
    assert len(slate.calls) == 2
    gate.set()
    assert stream.finish(spoken=16_000).text == "16000 samples."
    assert len(slate.calls) <= 4


def test_an_utterance_without_words_is_no_speech():
    stream = PartialTranscripts(Slate())
    stream.push(silence(1))
    with pytest.raises(NoSpeech):
        stream.finish(spoken=16_000)
