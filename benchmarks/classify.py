"""Classification: emolib against transformers' `generate` and llama.cpp, on the same weights, in one run.

    python -m benchmarks.classify [--quick] [--json FILE]

The bundled adapter `carer`, merged into SmolLM2-135M in float32, on texts of CARER's validation split. The paper
classifies as the first peer does: the whole prompt, one text at a time, an answer generated freely. The second peer
generates for 32 texts at once, padded on the left. llama.cpp runs the same weights in q8_0, through the package's own
classifier. The sides take turns, on a part of the texts each, and the medians are compared.

`same_as_generate` is the share of texts that emolib gives the label which `generate` writes out.

Needs CARER in $EMOLIB_DATA/carer (default ../shared/data).
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._report import Report, run
from emolib.classify import EmotionClassifier
from emolib.data import load_split
from emolib.emotion_model import EmotionModel, load_emotion_model
from emolib.export import export_gguf

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("EMOLIB_DATA", ROOT.parent / "shared" / "data")) / "carer" / "val.txt"
MODEL = "carer"


def measure(report: Report, quick: bool) -> None:
    if not DATA.is_file():
        sys.exit(f"benchmarks.classify needs CARER's val.txt at {DATA}; set EMOLIB_DATA")
    texts = load_split(DATA).texts
    loaded = load_emotion_model(MODEL).merged()
    emolib = EmotionClassifier.load(MODEL)
    with tempfile.TemporaryDirectory() as folder:
        made = export_gguf(MODEL, folder, ["q8_0"])
        llama = EmotionClassifier.load(Path(folder) / made.files[0].file)
        sides: dict[str, tuple[int, Callable[[Sequence[str]], list[str]]]] = {
            "emolib": (256, lambda some: [scores.label for scores in emolib.classify(some)]),
            "generate, one at a time": (16, lambda some: [_generated(loaded, [text])[0] for text in some]),
            "generate, 32 at once": (64, lambda some: _generated(loaded, some[:32]) + _generated(loaded, some[32:])),
            "llama.cpp q8_0": (64, lambda some: [scores.label for scores in llama.classify(some)]),
        }
        speeds: dict[str, list[float]] = {name: [] for name in sides}
        answers: dict[str, dict[str, str]] = {name: {} for name in sides}
        for turn in range(2 if quick else 4):
            for name, (count, answer) in sides.items():
                some = texts[turn * 256 :][:count]
                began = time.perf_counter()
                found = answer(some)
                speeds[name].append(count / (time.perf_counter() - began))
                answers[name] |= dict(zip(some, found, strict=True))
    median = {name: statistics.median(values) for name, values in speeds.items()}
    for name in sides:
        shared = answers[name].keys() & answers["emolib"].keys()
        same = sum(answers[name][text] == answers["emolib"][text] for text in shared) / len(shared)
        report.rows.append({"what": name, "texts_per_second": median[name], "same_as_emolib": same})
    report.figures["texts_per_second"] = median["emolib"]
    report.figures["speedup_vs_generate_b1"] = median["emolib"] / median["generate, one at a time"]
    report.figures["speedup_vs_generate_b32"] = median["emolib"] / median["generate, 32 at once"]
    report.figures["speedup_vs_llama_cpp"] = median["emolib"] / median["llama.cpp q8_0"]
    report.figures["same_as_generate"] = report.rows[2]["same_as_emolib"]


def _generated(loaded: EmotionModel, texts: Sequence[str]) -> list[str]:
    """What `generate` writes after the whole prompt of each text."""
    import torch

    tokenizer: Any = loaded.tokenizer
    tokenizer.padding_side = "left"
    prompts = [loaded.source.prompt.render(text.strip()) for text in texts]
    inputs = tokenizer(prompts, return_tensors="pt", padding=True)
    with torch.inference_mode():
        output = loaded.model.generate(
            **inputs, max_new_tokens=8, do_sample=False, eos_token_id=loaded.encoder.end_id, pad_token_id=0
        )
    return [text.strip() for text in tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], True)]


if __name__ == "__main__":
    sys.exit(run(measure, "classify", ["emolib", "torch", "transformers", "xllamacpp"]))
