"""A sound card of PulseAudio's, with a loudspeaker whose sound comes back at the microphone; and what is tried on it.

`python sound_card.py NAME` runs one of the trials in a process of its own, because ALSA ends a process
whose server dies in the wrong moment. It prints JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

_QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

TRIALS: dict[str, Callable[[], dict[str, Any]]] = {}


def trial(function: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    TRIALS[function.__name__] = function
    return function


def missing() -> str | None:
    """What this machine lacks for a sound card of its own, None where it lacks nothing."""
    if not (shutil.which("pulseaudio") and shutil.which("pactl")):
        return "PulseAudio is not installed: apt-get install pulseaudio libasound2-plugins"
    if not any(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
        return "ALSA cannot reach PulseAudio: apt-get install libasound2-plugins"
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError):
        return "PortAudio is not installed: apt-get install libportaudio2"
    return None


class SoundCard:
    """A PulseAudio daemon with a null sink, whose monitor is the only microphone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "pulse.sock"
        self._daemon: subprocess.Popen[bytes] | None = None
        self.environment = os.environ | {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder),
            "PULSE_SERVER": f"unix:{self._socket}",
        }

    def plug_in(self) -> None:
        """Start the daemon."""
        sink = "module-null-sink rate=48000 channels=2 norewinds=1"
        protocol = f"module-native-protocol-unix auth-anonymous=1 socket={self._socket}"
        self._daemon = subprocess.Popen(
            ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--log-level=error"]
            + [f"--load={module}" for module in (sink, protocol)],
            env=self.environment,
            **_QUIET,
        )
        end = time.monotonic() + 5
        while subprocess.call(["pactl", "info"], env=self.environment, **_QUIET) and time.monotonic() < end:
            time.sleep(0.02)

    def add_room(self) -> None:
        """Let the microphone hear what is said in the room (`say`) in place of the loudspeaker."""
        self._control("load-module", "module-null-sink", "sink_name=room", "rate=48000")
        self._control("set-default-source", "room.monitor")
        self._control("set-default-sink", "null")

    def say(self, recording: Path) -> None:
        """Play `recording` in the room, to its end."""
        subprocess.run(["paplay", "--device=room", recording], env=self.environment, check=True, timeout=30)

    def record(self, seconds: float, into: Path) -> Path:
        """Write what the loudspeaker plays for `seconds` to the WAV file `into`."""
        command = ["parecord", "--device=null.monitor", "--rate=48000", "--channels=1", "--file-format=wav", into]
        recorder = subprocess.Popen(command, env=self.environment)
        time.sleep(seconds)
        recorder.terminate()
        recorder.wait(5)
        return into

    def _control(self, *command: str) -> None:
        subprocess.run(["pactl", *command], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def pull_out(self) -> None:
        """Kill the daemon, as a device is pulled out."""
        if self._daemon:
            self._daemon.kill()
            self._daemon.wait(5)
            self._daemon = None
        self._socket.unlink(missing_ok=True)


@contextmanager
def sound_card(folder: Path) -> Iterator[SoundCard]:
    card = SoundCard(folder)
    card.plug_in()
    try:
        yield card
    finally:
        card.pull_out()


def run_trial(name: str, environment: dict[str, str]) -> dict[str, Any]:
    """The findings of a trial."""
    done = subprocess.run(
        [sys.executable, __file__, name], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def _record(source: Any, seconds: float, into: list[np.ndarray]) -> None:
    for frame in source.frames():
        into.append(frame)
        if len(into) * len(frame) >= seconds * 16_000:
            return


@trial
def sounddevice() -> dict[str, Any]:
    """What is played and recorded through sounddevice."""
    from emolib.speech import SoundDeviceSink, SoundDeviceSource

    return _play_and_record(SoundDeviceSource("pulse"), lambda: SoundDeviceSink("pulse"))


@trial
def pyaudio() -> dict[str, Any]:
    """What is played and recorded through PyAudio, which knows devices by number."""
    from pyaudio import PyAudio

    from emolib.speech import PyAudioSink, PyAudioSource

    audio = PyAudio()
    names = [audio.get_device_info_by_index(number)["name"] for number in range(audio.get_device_count())]
    number = names.index("pulse")
    return _play_and_record(PyAudioSource(number), lambda: PyAudioSink(number))


def _play_and_record(source: Any, open_sink: Callable[[], Any]) -> dict[str, Any]:
    """A chirp through the player and the loudspeaker, and what the microphone heard meanwhile."""
    from emolib.audio import AudioClip
    from emolib.speech import OrderedPlayer

    played = _chirp(16_000)
    heard: list[np.ndarray] = []
    recorder = threading.Thread(target=_record, args=(source, 2.5, heard))
    recorder.start()
    while not heard:
        time.sleep(0.01)
    sink = open_sink()
    player = OrderedPlayer(sink)
    player.put(0, AudioClip(played, 16_000))
    player.end(1)
    ended = player.wait(5)
    recorder.join(10)
    sink.close()
    samples = np.concatenate(heard)
    # Tenth by tenth: the daemon drops a block of its own when the machine is busy.
    tenths = [_likeness(samples, tenth) for tenth in np.split(played, 10)]
    return {
        "ended": ended,
        "sentences": len(player.heard),
        "correlation": float(np.median(tenths)),
        "seconds": len(samples) / 16_000,
        "overruns": source.overruns,
    }


def _likeness(samples: np.ndarray, part: np.ndarray) -> float:
    """The correlation, 0 to 1, of `part` with the place of `samples` that is most like it."""
    match = np.abs(np.correlate(samples, part, "valid"))
    place = int(np.argmax(match))
    norm = float(np.linalg.norm(part) * np.linalg.norm(samples[place : place + len(part)]))
    return float(match[place]) / max(norm, 1e-9)


@trial
def audition() -> dict[str, Any]:
    """A reference clip that is played and recorded as `emolib voice` does it, then without the card."""
    card = SoundCard(Path(os.environ["PULSE_RUNTIME_PATH"]))
    card.plug_in()
    # PortAudio looks for devices when it is imported.
    import sounddevice

    from emolib.audio import AudioClip
    from emolib.errors import DeviceError
    from emolib.tts.audition import play, record

    sounddevice.default.device = "pulse"
    clip = AudioClip(_chirp(44_100), 44_100)
    # The recording ends the play of sounddevice in its own process, so the clip comes from another.
    player = subprocess.Popen([sys.executable, __file__, "played"], stdout=subprocess.DEVNULL)
    heard = record(3.0)
    player.wait(10)
    card.pull_out()
    messages = []
    for act in (lambda: record(0.2), lambda: play(clip)):
        try:
            act()
        except DeviceError as error:
            messages.append(str(error))
    tenths = [_likeness(heard.samples, tenth) for tenth in np.split(clip.samples, 10)]
    return {"seconds": heard.seconds, "correlation": float(np.median(tenths)), "messages": messages}


@trial
def played() -> dict[str, Any]:
    """A chirp through `emolib.tts.audition.play`."""
    import sounddevice

    from emolib.audio import AudioClip
    from emolib.tts.audition import play

    sounddevice.default.device = "pulse"
    play(AudioClip(_chirp(44_100), 44_100))
    return {}


def _chirp(sample_rate: int) -> np.ndarray:
    t = np.arange(sample_rate, dtype=np.float32) / sample_rate
    return (0.5 * np.sin(2 * np.pi * (200 * t + 900 * t**2))).astype(np.float32)


@trial
def pulled_out() -> dict[str, Any]:
    """A microphone whose card is pulled out while it records, and is opened again once the card is back."""
    from emolib.errors import DeviceError
    from emolib.speech import SoundDeviceSource

    card = SoundCard(Path(os.environ["PULSE_RUNTIME_PATH"]))
    card.plug_in()
    source = SoundDeviceSource("pulse", timeout_s=1.5)
    taken, message = 0, ""
    try:
        for _ in source.frames():
            taken += 1
            if taken == 10:
                card.pull_out()
    except DeviceError as error:
        message = str(error)
    card.plug_in()
    again: list[np.ndarray] = []
    _record(source, 0.3, again)
    card.pull_out()
    return {"taken": taken, "message": message, "again": len(again)}


@trial
def no_server() -> dict[str, Any]:
    """A microphone where no daemon runs."""
    from emolib.errors import DeviceError
    from emolib.speech import SoundDeviceSource

    try:
        next(SoundDeviceSource("pulse", timeout_s=0.5).frames())
    except DeviceError as error:
        return {"message": str(error)}
    return {"message": ""}


if __name__ == "__main__":
    print(json.dumps(TRIALS[sys.argv[1]]()))
    sys.stdout.flush()
    # PortAudio's exit handler waits for a daemon that may be gone.
    os._exit(0)
