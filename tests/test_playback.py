"""Ordered playback: order, silence in place of failure, no clicks, a fast stop, an exact account."""

from __future__ import annotations

import itertools
import random
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emolib.audio import AudioClip, read_audio
from emolib.errors import DeviceError, MissingDependency, StorageError
from emolib.speech.playback import OrderedPlayer
from emolib.speech.sinks import NullSink, Pull, SoundDeviceSink, WavSink

RATE = 16_000


class Hand:
    """A sink that asks when it is told to."""

    sample_rate = RATE
    latency_samples = 0

    def __init__(self) -> None:
        self.heard = np.zeros(0, dtype=np.float32)

    def start(self, pull: Pull) -> None:
        self._pull = pull

    def play(self, seconds: float) -> np.ndarray:
        start = len(self.heard)
        for _ in range(round(seconds * 100)):
            self.heard = np.concatenate([self.heard, self._pull(RATE // 100)])
        return self.heard[start:]

    def close(self) -> None:
        """Nothing to release."""


def clip(value: float, seconds: float = 0.1) -> AudioClip:
    return AudioClip(np.full(round(seconds * RATE), value, dtype=np.float32), RATE)


def order_of(samples: np.ndarray, count: int) -> list[int]:
    """The numbers of the sentences that are heard, each sentence n being a plateau of (n + 1) / count."""
    found = [int(number) for number in np.round(samples * count)]
    plateaus = [number - 1 for number, run in itertools.groupby(found) if number and len(list(run)) > 200]
    return plateaus


@settings(deadline=None, max_examples=40)
@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_sentences_are_heard_in_order_whichever_is_ready_first(ready, failed):
    sink = Hand()
    player = OrderedPlayer(sink)
    for number in ready:
        if number in failed:
            player.fail(number)
        else:
            player.put(number, clip((number + 1) / 6))
        sink.play(0.02)
    player.end(6)
    sink.play(3)
    assert player.wait(0)
    assert order_of(sink.heard, 6) == [number for number in range(6) if number not in failed]
    assert [played.number for played in player.heard] == list(range(6))
    assert [played.failed for played in player.heard] == [number in failed for number in range(6)]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=12), st.randoms())
def test_every_sample_of_every_piece_is_played_once(lengths, chance: random.Random):
    sink = Hand()
    player = OrderedPlayer(sink)
    rng = np.random.default_rng(0)
    pieces = [rng.uniform(0.2, 0.9, length).astype(np.float32) for length in lengths]
    for piece in pieces:
        player.push(0, AudioClip(piece, RATE))
        sink.play(0.01 * chance.randint(0, 20))
    player.finish(0)
    sink.play(5)
    whole = np.concatenate(pieces)
    assert len(sink.heard) == len(whole)
    assert np.array_equal(sink.heard[80:-80], whole[80:-80])


def test_ready_sentences_follow_one_another_without_a_gap():
    sink = Hand()
    player = OrderedPlayer(sink)
    for number in range(3):
        player.put(number, clip(0.5))
    assert len(sink.play(0.3)) == 3 * len(clip(0.5))


def test_starts_ends_and_cuts_do_not_click():
    sink = Hand()
    player = OrderedPlayer(sink)
    player.put(0, clip(0.8))
    player.put(1, clip(-0.8, 1.0))
    sink.play(0.3)
    player.stop()
    sink.play(0.2)
    assert np.abs(np.diff(np.concatenate([[0.0], sink.heard, [0.0]]))).max() < 0.05


def test_a_failed_sentence_is_a_short_silence():
    sink = Hand()
    player = OrderedPlayer(sink)
    player.fail(0)
    player.put(1, clip(0.5))
    sink.play(1)
    silent = int(np.argmax(sink.heard > 0.1)) / RATE
    assert 0.05 < silent < 0.5


def test_a_sentence_that_fails_halfway_keeps_what_it_had():
    sink = Hand()
    player = OrderedPlayer(sink)
    player.push(0, clip(0.5))
    player.fail(0)
    player.put(1, clip(0.25))
    sink.play(1)
    assert len(sink.heard) == 2 * len(clip(0.5))
    assert [played.complete for played in player.heard] == [False, True]


def test_after_a_pause_it_goes_on_where_it_stopped():
    sink = Hand()
    player = OrderedPlayer(sink)
    ramp = np.linspace(0.2, 0.9, RATE, dtype=np.float32)
    player.put(0, AudioClip(ramp, RATE))
    sink.play(0.3)
    player.pause()
    assert not sink.play(0.5)[2 * RATE // 100 :].any(), "silent after 10 ms of fading"
    player.resume()
    sink.play(2)
    assert len(sink.heard) == RATE, "no sample is lost or heard twice"
    assert np.abs(sink.heard - ramp)[[int(0.2 * RATE), int(0.5 * RATE)]].max() < 1e-6


def test_the_account_of_a_stopped_turn_is_exact():
    sink = Hand()
    player = OrderedPlayer(sink)
    player.put(0, clip(0.5, 0.1))
    player.put(1, clip(0.5, 1.0))
    sink.play(0.25)
    account = player.stop()
    sink.play(0.5)
    assert sum(played.samples for played in account) == len(sink.heard)
    assert [(played.number, played.complete) for played in account] == [(0, True), (1, False)]


def test_the_latency_of_the_device_counts_as_not_heard():
    sink = Hand()
    sink.latency_samples = 400
    player = OrderedPlayer(sink)
    player.put(0, clip(0.5, 0.1))
    player.put(1, clip(0.5, 0.1))
    sink.play(0.11)
    assert [played.samples for played in player.heard] == [1_360, 0]
    assert not any(played.complete for played in player.heard)


def test_nothing_of_a_dead_turn_is_heard():
    sink = Hand()
    player = OrderedPlayer(sink)
    player.put(0, clip(0.5, 1))
    sink.play(0.1)
    player.stop()
    sink.play(0.1)
    player.put(1, clip(0.9, 1))
    assert len(sink.play(1)) == 0
    OrderedPlayer(sink).put(0, clip(0.25))
    assert len(sink.play(1)) == len(clip(0.25))


def test_stopping_takes_less_than_100_ms_in_real_time():
    with NullSink(RATE) as sink:
        player = OrderedPlayer(sink)
        player.put(0, clip(0.5, 5))
        time.sleep(0.3)
        started = time.monotonic()
        account = player.stop()
        assert time.monotonic() - started < 0.1
        assert account[0].samples / RATE == pytest.approx(0.3, abs=0.15)


def test_the_null_sink_plays_in_real_time():
    with NullSink(RATE) as sink:
        started = time.monotonic()
        player = OrderedPlayer(sink)
        player.put(0, clip(0.5, 0.5))
        player.end(1)
        assert player.wait(3)
        assert 0.4 < time.monotonic() - started < 1.0
        assert player.first_sample_at >= started


def test_a_wav_sink_writes_the_sentences_in_order(tmp_path):
    sink = WavSink(tmp_path / "answer.wav", RATE)
    player = OrderedPlayer(sink)
    numbers = list(range(5))
    random.Random(3).shuffle(numbers)
    threads = [threading.Timer(0.02 * place, player.put, (n, clip((n + 1) / 5))) for place, n in enumerate(numbers)]
    for thread in threads:
        thread.start()
    player.end(5)
    assert player.wait(5)
    sink.close()
    written = read_audio(tmp_path / "answer.wav")
    assert written.seconds == pytest.approx(0.5, abs=0.001)
    assert order_of(written.samples, 5) == list(range(5))


def test_other_rates_are_resampled():
    sink = Hand()
    OrderedPlayer(sink).put(0, AudioClip(np.full(22_050, 0.5, dtype=np.float32), 22_050))
    assert len(sink.play(2)) == pytest.approx(RATE, abs=2)


def test_a_wav_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    sink = WavSink(tmp_path / "file" / "a.wav")
    OrderedPlayer(sink)
    with pytest.raises(StorageError, match=r"a\.wav"):
        sink.close()


def test_a_loudspeaker_that_is_not_there_is_named():
    with pytest.raises((MissingDependency, DeviceError), match=r"libportaudio2|loudspeaker"):
        SoundDeviceSink("a loudspeaker that nobody has")
