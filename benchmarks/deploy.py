"""Three ways to deploy a fine-tuned classifier beside a chat model, in one run.

    python -m benchmarks.deploy [--quick] [--json FILE]

torch + adapter     one model in torch; the adapter is on for emotion and off for chat
merged GGUF         the adapter added to the weights, in q8_0 and q4_k_m on llama.cpp; chat is what that left of it
base GGUF + LoRA    the base in q8_0 and the adapter beside it on one llama.cpp server, switched by each request

The adapter is the bundled `carer` on SmolLM2-135M, the texts are of CARER's validation split (in
$EMOLIB_DATA/carer, default ../shared/data). Each way is a process of its own, so that its peak memory (resident, with
the pages of mapped files; Linux only) and its load time are its own. Load time is from the start of the way's own
imports until the first text is classified. Chat is one streamed greedy reply of at most 64 tokens; the second of two
is timed. The ways take turns, three rounds of them, and the table has the medians.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._report import Report, run
from emolib.emotion_model import find_adapter
from emolib.export import export_gguf
from emolib.models import model_folder, resolve_base

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("EMOLIB_DATA", ROOT.parent / "shared" / "data")) / "carer" / "val.txt"
MODEL = "carer"
TEXTS = 64


def measure(report: Report, quick: bool) -> None:
    if not DATA.is_file():
        sys.exit(f"benchmarks.deploy needs CARER's val.txt at {DATA}; set EMOLIB_DATA")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        merged = {file.type: folder / file.file for file in export_gguf(MODEL, folder, ["q8_0", "q4_k_m"]).files}
        split = {
            file.kind: folder / "split" / file.file
            for file in export_gguf(MODEL, folder / "split", ["q8_0"], form="adapter").files
        }
        source = find_adapter(MODEL)
        base = model_folder(resolve_base(source.base)) / "model.safetensors"
        ways: dict[str, tuple[str, list[Path]]] = {
            "torch + adapter": ("torch", [base, source.adapter / "adapter_model.safetensors"]),
            "merged GGUF q8_0": ("llama", [merged["q8_0"]]),
            "merged GGUF q4_k_m": ("llama", [merged["q4_k_m"]]),
            "base GGUF q8_0 + LoRA": ("llama", [split["base"], split["adapter"]]),
        }
        found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for _ in range(1 if quick else 3):
            for way, (engine, files) in ways.items():
                found[way].append(_way(engine, files if engine == "llama" else []))
        for way, (_, files) in ways.items():
            medians = {name: statistics.median(each[name] for each in found[way]) for name in found[way][0]}
            report.rows.append({"way": way, "mb_on_disk": round(sum(f.stat().st_size for f in files) / 1e6), **medians})
    _figures(report)


def _way(engine: str, files: list[Path]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks._deploy_way", engine, str(DATA), str(TEXTS), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        sys.exit(f"benchmarks.deploy: {engine} failed\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _figures(report: Report) -> None:
    for name, row in zip(("torch", "q8_0", "q4_k_m", "lora"), report.rows, strict=True):
        report.figures[f"{name}_texts_per_second"] = row["texts_per_s"]
        report.figures[f"{name}_tokens_per_second"] = row["tokens_per_s"]
    report.figures["memory_ratio_lora_vs_torch"] = report.rows[3]["peak_mb"] / report.rows[0]["peak_mb"]


if __name__ == "__main__":
    sys.exit(run(measure, "deploy", ["emolib", "torch", "transformers", "xllamacpp", "cyllama"]))
