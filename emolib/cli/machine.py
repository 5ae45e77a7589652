"""`emolib mic`, `emolib demo` and `emolib doctor`: this computer, and all of it at once."""

from __future__ import annotations

import sys
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emolib.cli.console import print_json
from emolib.cli.options import command, given, option, option_of

__all__ = ["demo", "doctor", "mic"]


@dataclass(frozen=True, kw_only=True)
class MicOptions:
    """What is listened to, and for how long."""

    file: Path | None = option("a recording (default: the microphone)", None, flag="in")
    device: str | None = option("number or name of the microphone (default: the system's)", None)
    backend: Literal["sounddevice", "pyaudio"] | None = option_of(
        "emolib.speech.monitor:open_source", "backend", "what records"
    )
    calibrate: float | None = option_of(
        "emolib.speech.monitor:monitor", "calibration_s", "seconds of silence at the start"
    )
    seconds: float | None = option("stop after so many (default: at Ctrl-C)", None)
    save: Path | None = option("folder for the utterances as WAV files (default: not kept)", None)


@command(MicOptions)
def mic(options: MicOptions) -> None:
    """Show what the microphone hears."""
    from emolib.speech.monitor import monitor, open_source

    source = open_source(options.file, options.device, **given(backend=options.backend))
    with suppress(KeyboardInterrupt), closing(source):
        calibration = given(calibration_s=options.calibrate)
        monitor(source, sys.stdout, **calibration, seconds=options.seconds, save_to=options.save)


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Where the demo goes, and what it begins with."""

    out: Path = option("folder for everything that is made", Path("runs/demo"))
    say: tuple[str, ...] = option("lines for the bundled models to answer (default: four of ours)", (), metavar="TEXT")


@command(DemoOptions)
def demo(options: DemoOptions) -> None:
    """Run the demo."""
    from emolib.demo import run_demo

    run_demo(options.out, **given(lines=options.say or None))


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """What is examined."""

    stack: str | None = option(
        "examine part by part what a stack needs: paper, embedded, or a TOML file (default: this machine)",
        None,
        metavar="NAME|FILE",
    )
    json: bool = option("print the findings as JSON", False)


@command(DoctorOptions)
def doctor(options: DoctorOptions) -> None:
    """Examine this machine."""
    from emolib.doctor import examine, examine_stack
    from emolib.stack import Stack

    findings = examine_stack(Stack.load(options.stack)) if options.stack else examine()
    if options.json:
        print_json(findings.as_dict())
    else:
        print(findings.table())
