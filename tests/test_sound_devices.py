"""Loudspeaker and microphone for real, on a sound card that PulseAudio makes; and what is said where there is none."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from sound_card import SoundCard, missing, run_trial, sound_card

from emolib.errors import MissingDependency
from emolib.speech import SoundDeviceSink, SoundDeviceSource, sources

needs_card = pytest.mark.skipif(missing() is not None, reason=missing() or "")


@needs_card
@pytest.mark.parametrize("backend", ["sounddevice", "pyaudio"])
def test_what_the_loudspeaker_plays_the_microphone_hears(tmp_path, backend):
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    with sound_card(tmp_path) as card:
        found = run_trial(backend, card.environment)
    assert found["ended"]
    assert found["sentences"] == 1
    assert found["correlation"] > 0.9
    assert found["seconds"] == pytest.approx(2.5, abs=0.05)
    assert found["overruns"] == 0


@needs_card
def test_a_reference_clip_is_recorded_and_played_and_a_missing_device_named(tmp_path):
    found = run_trial("audition", SoundCard(tmp_path).environment)
    assert found["seconds"] == 3.0
    assert found["correlation"] > 0.9
    assert ["microphone" in found["messages"][0], "loudspeaker" in found["messages"][1]] == [True, True]


@needs_card
def test_a_microphone_that_is_pulled_out_is_named_and_can_be_opened_again(tmp_path):
    found = run_trial("pulled_out", SoundCard(tmp_path).environment)
    assert found["taken"] >= 10
    assert "the microphone pulse" in found["message"]
    assert found["again"] == 10


@needs_card
def test_without_a_sound_server_no_microphone_is_found(tmp_path):
    found = run_trial("no_server", SoundCard(tmp_path).environment)
    assert "microphone" in found["message"]


@pytest.mark.parametrize("open_device", [SoundDeviceSource, SoundDeviceSink])
def test_without_portaudio_the_package_that_has_it_is_named(open_device, monkeypatch):
    real_import = builtins.__import__

    def without_portaudio(name: str, *arguments: object, **options: object):
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
        return real_import(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_portaudio)
    with pytest.raises(MissingDependency, match="apt-get install libportaudio2"):
        open_device()


class StereoOnly:
    """A stand-in for sounddevice whose microphone refuses to open in mono."""

    class PortAudioError(Exception):
        pass

    def query_devices(self, device: object, kind: str) -> dict[str, object]:
        return {"name": "Stereo", "default_samplerate": 16_000.0}

    def InputStream(self, *, channels: int, callback: Callable[..., None], **options: object) -> StereoOnly:
        if channels == 1:
            raise self.PortAudioError("Invalid number of channels")
        self._callback = callback
        return self

    def start(self) -> None:
        block = np.stack([np.full(480, 0.5), np.full(480, -0.5)], axis=1).astype(np.float32)
        self._callback(block, 480, None, SimpleNamespace(input_overflow=False))

    def abort(self) -> None: ...

    close = abort


def test_a_microphone_that_opens_in_stereo_only_is_heard(monkeypatch):
    monkeypatch.setattr(sources, "import_sounddevice", StereoOnly)
    source = SoundDeviceSource()
    assert np.allclose(next(source.frames()), 0.5)
