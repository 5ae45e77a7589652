"""The package as a whole: a light import, public names that exist, imports that run downwards only."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import emolib

PACKAGE = Path(emolib.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# What each room may import from the others (the picture in the README). Every room may use COMMON.
COMMON = {
    "addresses",
    "audio",
    "errors",
    "ffmpeg",
    "files",
    "gpu",
    "lazy",
    "emotions",
    "labels",
    "openai_client",
    "prompting",
    "speakable",
    "tables",
    "hub",
    "html_pages",
    "quiet",
    "spoken_text",
    "unicode",
}
ALLOWED: dict[str, set[str]] = {
    "addresses": set(),
    "errors": set(),
    "ffmpeg": set(),
    "files": set(),
    "gpu": set(),
    "lazy": set(),
    "openai_client": set(),
    "hub": set(),
    "html_pages": set(),
    "emotions": set(),
    "labels": set(),
    "audio": set(),
    "llama": set(),
    "adapter_files": {"emotion_model", "finetune", "llama", "models"},
    "emotion_model": {"finetune", "models"},
    "prompting": set(),
    "quiet": set(),
    "reply_examples": set(),
    "speakable": set(),
    "spoken_text": set(),
    "tables": set(),
    "unicode": set(),
    "models": {"llama"},
    "data": {"models"},
    "finetune": {"data", "models", "plots", "reply_examples"},
    "classify": {"adapter_files", "emotion_model", "finetune", "models", "llama"},
    "encoder": {"models"},
    "evaluate": {
        "encoder",
        "chat",
        "reply_examples",
        "classify",
        "emotion_model",
        "finetune",
        "data",
        "models",
        "plots",
    },
    "export": {"adapter_files", "classify", "emotion_model", "finetune", "data", "models", "llama"},
    "plots": {"finetune", "speech"},
    "speech": {"models"},
    "tts": {"speech", "models"},
    "chat": {"adapter_files", "emotion_model", "models", "llama", "reply_examples"},
    "stack": {"speech", "tts", "chat", "classify"},
    "dialogue": {"stack", "speech", "tts", "chat", "models"},
    "widgets": {"dialogue", "stack", "speech", "tts", "chat", "plots", "models", "emotion_model", "llama"},
}
TOP = {"adapters", "cli", "demo", "doctor", "__init__"}


def named(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("emolib.")}
    return {room for room in rooms if (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").exists()}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_run_downwards_only(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room in TOP:
        return
    assert room in ALLOWED, f"{room} has no place in the picture of the rooms"
    surplus = imported_rooms(path) - ALLOWED[room] - COMMON - {room}
    assert not surplus, f"{path.name} imports {sorted(surplus)}, which stand above or beside it"


def test_importing_emolib_is_quick_and_loads_nothing_heavy() -> None:
    program = (
        "import time; start = time.perf_counter(); import emolib; seconds = time.perf_counter() - start;"
        "import sys; heavy = {'torch', 'transformers', 'polars', 'matplotlib', 'numpy', 'piper'} & set(sys.modules);"
        "print(seconds, *heavy)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(3)
    ]
    assert all(len(run) == 1 for run in runs), f"loaded on import: {runs[0][1:]}"
    assert min(float(run[0]) for run in runs) < 0.2


@pytest.mark.parametrize("name", emolib.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(emolib, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        emolib.nothing  # noqa: B018


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_no_module_unpickles_or_opens_a_shell(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not names & {"pickle", "cloudpickle", "dill", "joblib"}, f"{path}:{node.lineno} imports a pickler"
        if isinstance(node, ast.keyword):
            assert node.arg != "shell", f"{path}: a call with shell="


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_what_a_module_declares_public_exists(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    module = importlib.import_module(".".join(["emolib", *parts]).removesuffix(".__init__"))
    assert [name for name in getattr(module, "__all__", []) if not hasattr(module, name)] == []
