"""Endpointing: where utterances start and end, to the sample, whatever comes in."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voices import silence, spoken, white_noise

from emolib.errors import MissingDependency, UsageError
from emolib.speech.endpointing import Endpointer, EndpointSettings, SpeechEnd, SpeechStart, completeness
from emolib.speech.noise import FRAME, frames
from emolib.speech.turn import SmartTurn, best_turn_detector
from emolib.speech.vad import WebRtcDetector, best_detector

RATE = 16_000


class Script:
    """A detector that says what it was told to."""

    def __init__(self, *runs: tuple[float, float]) -> None:
        self._probabilities = [value for value, seconds in runs for _ in range(round(seconds / 0.03))]
        self._next = 0

    def push(self, frame: np.ndarray) -> float:
        self._next += 1
        return self._probabilities[self._next - 1] if self._next <= len(self._probabilities) else 0.0

    def reset(self) -> None:
        self._next = 0

    def __len__(self) -> int:
        return len(self._probabilities)


def events(endpointer: Endpointer, samples: np.ndarray) -> list:
    found = [event for event in map(endpointer.push, frames(samples)) if event]
    last = endpointer.finish()
    return [*found, last] if last else found


class Melody:
    """A turn detector that always hears the same, and counts how often it is asked."""

    def __init__(self, probability: float) -> None:
        self._probability = probability
        self.asked = 0

    def probability(self, samples: np.ndarray) -> float:
        self.asked += 1
        return self._probability


def scripted(*runs: tuple[float, float], hint: str | None = None, turn: Melody | None = None, **options: float) -> list:
    detector = Script(*runs)
    endpointer = Endpointer(detector, EndpointSettings(**options), turn=turn)
    found = []
    for _ in range(len(detector)):
        event = endpointer.push(np.zeros(FRAME, dtype=np.float32))
        if event:
            found.append(event)
        if hint and endpointer.silence_s > 0.05:
            endpointer.hint(hint)
    return found


def test_start_and_end_are_the_samples_where_speech_starts_and_ends():
    start, end = scripted((0, 0.9), (0.9, 1.2), (0, 1.5))
    assert isinstance(start, SpeechStart)
    assert isinstance(end, SpeechEnd)
    assert start.position == end.start == 30 * FRAME
    assert end.end == 70 * FRAME
    assert end.reason == "silence"
    assert end.known_at - end.end == pytest.approx(0.6 * RATE, abs=FRAME)


def test_the_clip_has_300_ms_before_the_first_sound():
    samples = np.arange(0, 100 * FRAME, dtype=np.float32) / (100 * FRAME)
    endpointer = Endpointer(Script((0, 0.9), (0.9, 0.6), (0, 1.5)))
    end = next(event for event in events(endpointer, samples) if isinstance(event, SpeechEnd))
    assert end.clip.samples[0] == samples[20 * FRAME]
    assert end.start - 20 * FRAME == pytest.approx(0.3 * RATE, abs=FRAME)
    assert len(end.clip) >= end.end - 20 * FRAME


def test_a_cough_is_no_utterance():
    assert scripted((0, 0.5), (0.9, 0.15), (0, 2)) == []


def test_a_gap_inside_of_a_sentence_does_not_end_it():
    assert len(scripted((0.9, 1), (0, 0.45), (0.9, 1), (0, 1))) == 2


def test_probability_between_the_thresholds_keeps_speech_alive_and_starts_none():
    assert scripted((0.42, 2)) == []
    start, end = scripted((0.9, 0.6), (0.42, 1.2), (0, 1))
    assert end.end - start.position == pytest.approx(1.8 * RATE, abs=FRAME)


@pytest.mark.parametrize(
    ("hint", "voice", "seconds"),
    [
        (None, None, 0.6),
        ("It is done.", None, 0.3),
        ("It is the", None, 1.2),
        ("It is, um", None, 1.6),
        (None, 0.9, 0.3),
        (None, 0.1, 0.9),
        ("It is done.", 0.9, 0.3),
        ("It is done.", 0.1, 0.6),
        ("It is the", 0.9, 1.2),
        ("It is, um", 0.9, 1.6),
    ],
)
def test_the_wait_depends_on_words_and_voice(hint, voice, seconds):
    turn = None if voice is None else Melody(voice)
    _, end = scripted((0.9, 1.2), (0, 3), hint=hint, turn=turn)
    assert (end.known_at - end.end) / RATE == pytest.approx(seconds, abs=0.031)


@pytest.mark.parametrize(("text", "seconds"), [("And so my", 1.2), ("My friends", 0.3)])
def test_earlier_words_that_only_open_a_sentence_outweigh_the_voice(text, seconds):
    endpointer = Endpointer(Script((0.9, 1.2)), turn=Melody(0.9))
    for number in range(100):
        end = endpointer.push(np.zeros(FRAME, dtype=np.float32))
        if number == 20:
            endpointer.hint(text)
        if isinstance(end, SpeechEnd):
            break
    assert (end.known_at - end.end) / RATE == pytest.approx(seconds, abs=0.031)


def test_words_that_were_understood_before_the_last_one_do_not_end_an_utterance():
    endpointer = Endpointer(Script((0.9, 1.2)))
    end = None
    while not isinstance(end, SpeechEnd):
        end = endpointer.push(np.zeros(FRAME, dtype=np.float32))
        endpointer.hint("It is done.", position=RATE // 2)
    assert (end.known_at - end.end) / RATE == pytest.approx(0.6, abs=0.031)


def test_a_pause_is_asked_about_twice_at_most_and_a_gap_between_words_never():
    turn = Melody(0.1)
    scripted((0.9, 0.6), (0, 0.06), (0.9, 0.6), (0, 3), turn=turn)
    assert turn.asked == 2


def test_the_voice_tells_an_end_from_a_thought_in_the_middle():
    turn = SmartTurn()
    whole = spoken()
    begun = spoken("So what I wanted to say is,").cut(0, int(0.6 * len(spoken("So what I wanted to say is,"))))
    assert turn.probability(np.concatenate([whole.samples, silence(0.2)])) > 0.8
    assert turn.probability(np.concatenate([begun.samples, silence(0.2)])) < 0.2


def test_without_its_weights_words_and_silence_decide_alone(monkeypatch):
    def missing() -> None:
        raise MissingDependency("the package pipecat-ai")

    monkeypatch.setattr("emolib.speech.turn.smart_turn_model", missing)
    assert best_turn_detector() is None


def test_a_sentence_ends_sooner_where_its_end_is_heard():
    samples = np.concatenate([silence(1), spoken().samples, silence(1.5)])
    plain, heard = (
        next(event for event in events(Endpointer(best_detector(), turn=turn), samples) if isinstance(event, SpeechEnd))
        for turn in (None, SmartTurn())
    )
    assert heard.end == plain.end
    assert heard.known_at < plain.known_at - 0.25 * RATE


def test_who_has_paused_long_once_may_do_it_again():
    found = scripted((0.9, 1.2), (0, 0.9), (0.9, 1.2), (0, 0.9), (0.9, 1), (0, 3), hang_over_s=1.0)
    assert [type(event) for event in found] == [SpeechStart, SpeechEnd]
    assert (found[1].known_at - found[1].end) / RATE == pytest.approx(1.25 * 0.9, abs=0.06)


def test_speech_that_never_stops_is_cut_without_losing_a_sample():
    found = scripted((0.9, 10), longest_s=3.0)
    ends = [event for event in found if isinstance(event, SpeechEnd)]
    assert [end.reason for end in ends] == ["limit"] * 3
    for before, after in itertools.pairwise(ends):
        assert after.start == before.end


def test_who_pauses_where_the_longest_utterance_would_be_cut_is_not_cut():
    found = scripted((0.9, 2.9), (0, 0.3), (0.9, 0.6), (0, 1), longest_s=3.0)
    ends = [event for event in found if isinstance(event, SpeechEnd)]
    assert [end.reason for end in ends] == ["limit", "silence"]
    assert ends[0].end == pytest.approx(3.2 * RATE, abs=2 * FRAME)


def test_the_rest_of_an_utterance_that_ends_where_it_was_cut_is_short():
    _, cut, again, last = scripted((0.9, 3.0), (0, 2), longest_s=3.0)
    assert (cut.reason, last.reason) == ("limit", "silence")
    assert again.position == last.start == cut.end
    assert last.end == last.start + FRAME
    assert (last.known_at - cut.end) / RATE == pytest.approx(0.6, abs=0.04)


def test_a_source_that_stops_ends_the_utterance():
    endpointer = Endpointer(Script((0.9, 1)))
    last = events(endpointer, silence(0.99))[-1]
    assert last.reason == "stopped"


def test_speech_from_the_first_sample_on_is_heard_whole():
    samples = np.concatenate([spoken().samples[1_600:], silence(1.5)])
    start, end = events(Endpointer(best_detector()), samples)
    assert start.position < 0.3 * RATE
    assert end.end / RATE == pytest.approx(spoken().seconds - 0.1, abs=0.35)


def test_a_spoken_sentence_is_found_where_it_is():
    samples = np.concatenate([silence(1), spoken().samples, silence(1.5)])
    start, end = events(Endpointer(best_detector()), samples)
    assert start.position / RATE == pytest.approx(1.0, abs=0.3)
    assert end.end / RATE == pytest.approx(1.0 + spoken().seconds, abs=0.35)


def music(seconds: float) -> np.ndarray:
    """Chords of decaying harmonics, a new one every half a second."""
    t = np.arange(int(0.5 * RATE)) / RATE
    chords = [(262, 330, 392), (220, 262, 330), (349, 440, 523), (392, 494, 587)]
    bars = [
        sum(np.sin(2 * np.pi * tone * k * t) / k for tone in chords[number % 4] for k in range(1, 6)) * np.exp(-3 * t)
        for number in range(int(seconds * 2))
    ]
    return (0.05 * np.concatenate(bars)).astype(np.float32)


@pytest.mark.parametrize(
    "samples",
    [
        silence(5),
        white_noise(5, -50),
        np.full(5 * RATE, 0.4, dtype=np.float32),
        np.concatenate([silence(2), np.ones(160, dtype=np.float32), silence(2)]),
        music(30),
    ],
    ids=["silence", "noise", "offset", "click", "music"],
)
def test_what_is_no_speech_makes_no_utterance(samples):
    assert events(Endpointer(best_detector()), samples) == []


@pytest.mark.parametrize(
    "change", [lambda x: np.clip(x * 30, -1, 1), lambda x: x * 0.5 + 0.3], ids=["clipped", "offset"]
)
def test_distorted_speech_is_still_found(change):
    samples = change(np.concatenate([silence(1), spoken().samples, silence(1.5)])).astype(np.float32)
    assert [type(event) for event in events(Endpointer(best_detector()), samples)] == [SpeechStart, SpeechEnd]


def test_telephone_speech_is_found():
    telephone = spoken(sample_rate=8_000).resample(16_000).samples
    samples = np.concatenate([silence(1), telephone, silence(1.5)])
    assert [type(event) for event in events(Endpointer(best_detector()), samples)] == [SpeechStart, SpeechEnd]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.42, 0.9]), st.floats(0.03, 2.0)), max_size=12))
def test_utterances_never_overlap_and_starts_and_ends_alternate(runs):
    detector = Script(*runs)
    found = events(Endpointer(detector, EndpointSettings(longest_s=2.0)), silence(0.03 * len(detector) + 0.01))
    expected = SpeechStart
    last = 0
    for event in found:
        assert isinstance(event, expected)
        expected = SpeechEnd if expected is SpeechStart else SpeechStart
        position = event.position if isinstance(event, SpeechStart) else event.start
        assert position >= last
        if isinstance(event, SpeechEnd):
            assert event.start < event.end <= event.known_at
            last = event.end


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I would like a cup of tea.", "complete"),
        ("Yes.", "complete"),
        ("Where were you?", "complete"),
        ("I would like a", "open"),
        ("He came and", "open"),
        ("ask not", "open"),
        ("And so, my friends.", "open"),
        ("And where is it?", "complete"),
        ("I think, um", "hesitant"),
        ("Let me see...", "hesitant"),
        ("", "open"),
    ],
)
def test_completeness_of_partial_transcripts(text, expected):
    assert completeness(text) == expected


@pytest.mark.parametrize("options", [{"on": 0.2, "off": 0.5}, {"complete_s": 0.01}, {"longest_s": 0.1}])
def test_settings_that_make_no_sense_are_refused(options):
    with pytest.raises(UsageError):
        EndpointSettings(**options)


def test_any_detector_serves():
    samples = np.concatenate([silence(1), spoken().samples, silence(1.5)])
    assert [type(event) for event in events(Endpointer(WebRtcDetector(3)), samples)] == [SpeechStart, SpeechEnd]
