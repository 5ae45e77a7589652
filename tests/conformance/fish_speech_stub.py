"""Fish-Speech's own HTTP application, from its PyPI package, over a model that makes tones.

Run by the Python of an environment made from environments/conformance.txt: PORT, then perhaps a key.
Only the models are stubs; routes, schema, content types, errors and the streaming are the real ones.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

RATE = 44_100


def stub(name: str, **attributes: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(attributes)
    sys.modules[name] = module
    return module


def installed(package: str) -> str:
    root = next(Path(path) for path in sys.path if (Path(path) / "tools" / "api_server.py").is_file())
    return str(root / package)


class ToneModel:
    """What the views ask of the engine: half a second of a tone a word; the word "fail" fails."""

    decoder_model = types.SimpleNamespace(sample_rate=RATE)

    def inference(self, request: Any) -> Iterator[Any]:
        from fish_speech.inference_engine.utils import InferenceResult, wav_chunk_header

        if "fail" in request.text:
            yield InferenceResult("error", None, RuntimeError("the model failed"))
            return
        tone = (0.3 * np.sin(2 * np.pi * 220 * np.arange(RATE // 2) / RATE)).astype(np.float32)
        if request.streaming:
            yield InferenceResult("header", (RATE, np.array(wav_chunk_header(sample_rate=RATE))), None)
        words = request.text.split()
        for _ in words if request.streaming else ():
            yield InferenceResult("segment", (RATE, tone), None)
        yield InferenceResult("final", (RATE, np.tile(tone, len(words))), None)


class ToneManager:
    def __init__(self, **_: Any) -> None:
        self.tts_inference_engine = ToneModel()


def application(key: str | None) -> Any:
    stub("torch", Tensor=object)
    stub("pyrootutils", setup_root=lambda *_, **__: None)
    for package in ("fish_speech/utils", "fish_speech/inference_engine"):
        stub(package.replace("/", "."), TTSInferenceEngine=ToneModel).__path__ = [installed(package)]
    stub("fish_speech.content_sequence", TextPart=object, VQPart=object)
    stub("tools.server.model_manager", ModelManager=ToneManager)
    stub("tools.server.model_utils", batch_vqgan_decode=None, cached_vqgan_batch_encode=None)
    sys.argv = ["api_server", *(["--api-key", key] if key else [])]
    from tools.api_server import API

    return API().app


if __name__ == "__main__":
    if importlib.util.find_spec("kui") is None:
        sys.exit("make conformance builds the environment that this needs")
    port, key = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    uvicorn.run(application(key), port=port, log_level="warning")
