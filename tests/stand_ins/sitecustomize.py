"""A GPU of 15 GB that is not there, for processes that have this folder on PYTHONPATH.

emolib sees a Tesla T4; every other library sees the CPU, and what is moved to the GPU stays where it is. Weights in
4 bits are loaded whole, once the arguments were looked at. EMOLIB_STAND_IN_GB is the memory of the GPU, and
EMOLIB_STAND_IN_COLAB makes the process one of Colab's, where google.colab is imported already.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

_GB = float(os.environ.get("EMOLIB_STAND_IN_GB", "15.8"))


def _give_gpu(torch: Any) -> None:
    cuda = torch.cuda
    cuda.is_available = lambda: _asked_by_us()
    cuda.get_device_name = lambda *_: "Tesla T4"
    cuda.get_device_capability = lambda *_: (7, 5)
    cuda.is_bf16_supported = lambda *_, **__: False
    cuda.get_device_properties = lambda *_: types.SimpleNamespace(name="Tesla T4", total_memory=int(_GB * 1e9))
    cuda.mem_get_info = lambda *_: (int(_GB * 1e9), int(_GB * 1e9))
    cuda.max_memory_allocated = lambda *_: int(8e9)
    cuda.reset_peak_memory_stats = cuda.empty_cache = cuda.synchronize = lambda *_: None
    for owner in (torch.nn.Module, torch.Tensor):
        owner.to = _staying(owner.to)


def _asked_by_us() -> bool:
    """Whether a module of emolib, a notebook or a script asks."""
    return sys._getframe(2).f_globals.get("__name__", "").partition(".")[0] in ("emolib", "__main__")


def _staying(move: Callable[..., Any]) -> Callable[..., Any]:
    def to(self: Any, *arguments: Any, **options: Any) -> Any:
        kept = ["cpu" if str(argument).startswith("cuda") else argument for argument in arguments]
        if str(options.get("device", "")).startswith("cuda"):
            options["device"] = "cpu"
        return move(self, *kept, **options)

    return to


def _load_whole(auto: Any) -> None:
    """Have from_pretrained take its arguments for 4 bits, check them, and load the weights as they are."""
    whole = auto.AutoModelForCausalLM.from_pretrained.__func__

    def from_pretrained(cls: Any, *arguments: Any, **options: Any) -> Any:
        quantization = options.pop("quantization_config", None)
        device_map = options.pop("device_map", None)
        if quantization is not None:
            assert quantization.load_in_4bit
            assert quantization.bnb_4bit_quant_type == "nf4"
        if device_map is not None:
            assert set(device_map) == {""}, device_map
        options["dtype"] = "float32"  # a CPU has no fast float16
        return whole(cls, *arguments, **options)

    auto.AutoModelForCausalLM.from_pretrained = classmethod(from_pretrained)


def _know_tokenizer(base: Any) -> None:
    """llama.cpp's converter knows a tokenizer by what it makes of one text; the tiny Qwen2 has other words."""
    known = base.TextModel.get_vocab_base_pre

    def get_vocab_base_pre(self: Any, tokenizer: Any) -> str:
        return "qwen2" if type(tokenizer).__name__ == "Qwen2Tokenizer" else known(self, tokenizer)

    base.TextModel.get_vocab_base_pre = get_vocab_base_pre


_CHANGES = {
    "conversion.base": _know_tokenizer,
    "torch": _give_gpu,
    "transformers.models.auto.modeling_auto": _load_whole,
}


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of `_CHANGES` where they are, and changes them once they are loaded."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> Any:
        if name not in _CHANGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None:
            return None
        run = spec.loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            run(module)
            _CHANGES[name](module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Changed())
if os.environ.get("EMOLIB_STAND_IN_COLAB"):
    import google.colab  # noqa: F401
