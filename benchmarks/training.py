"""Fine-tuning: the engine `prefix` against TRL's SFTTrainer, in one run, on this machine.

    python -m benchmarks.training [--quick] [--json FILE]

Same model (SmolLM2-135M), same rows of CARER, same LoRA, float32, same effective batch, the same number of steps, no
evaluation and no gradient checkpointing on either side. TRL is set up as its documentation has it for prompt and
completion: the loss on the completion alone, padded batches. Its padding-free and packed batches need FlashAttention,
which a CPU lacks, and are then left out. Each side is a process of its own. `prefix` in
bfloat16 is reported apart, where the processor has instructions for it. Both sides draw their batches from the same
rows. `prefix` sorts them into batches of like lengths, so it goes through all of them, twice, and the second pass is
timed; TRL's batches are drawn at random and are alike, so a few stand for all. The more rows, the less padding is in a
sorted batch, as in a real training: 512 rows come close to the 16,000 of the whole file.

`peak_memory_ratio` is of the larger batch. `gradient_relative_error` is the relative distance between the two sides'
gradients of the first 32 rows, from the same adapter.

Needs CARER in $EMOLIB_DATA/carer (default ../shared/data).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._report import Report, run

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("EMOLIB_DATA", ROOT.parent / "shared" / "data")) / "carer" / "train.txt"


def measure(report: Report, quick: bool) -> None:
    if not DATA.is_file():
        sys.exit(f"benchmarks.training needs CARER's train.txt at {DATA}; set EMOLIB_DATA")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for batch, count in ((8, 128), (32, 256)) if quick else ((8, 512), (32, 512)):
            _compare(report, folder, batch, count)
        difference = _side("gradient", folder, 32, 32)
    report.figures["gradient_relative_error"] = difference[0]
    report.figures["loss_relative_error"] = difference[1]


def _compare(report: Report, folder: Path, batch: int, count: int) -> None:
    sides = {name: _side(name, folder, batch, count) for name in ("trl", "prefix")}
    if _has_bfloat16():
        sides["prefix in bfloat16"] = _side("bfloat16", folder, batch, count)
    for name, (seconds, megabytes) in sides.items():
        report.rows.append(
            {"what": name, "batch": batch, "examples_per_second": batch / seconds, "peak_mb": round(megabytes)}
        )
    report.figures[f"speedup_vs_trl_b{batch}"] = sides["trl"][0] / sides["prefix"][0]
    report.figures[f"examples_per_second_b{batch}"] = batch / sides["prefix"][0]
    report.figures["peak_memory_ratio"] = sides["prefix"][1] / sides["trl"][1]


def _side(side: str, folder: Path, batch: int, count: int) -> tuple[float, float]:
    """Seconds a step and the peak memory in MB; for "gradient" the two relative errors."""
    command = [sys.executable, "-m", "benchmarks._training_sides", side, str(folder), str(DATA), str(batch), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        sys.exit(f"benchmarks.training: {side} failed\n{done.stderr[-2000:]}")
    first, second = map(float, done.stdout.split())
    return first, second


def _has_bfloat16() -> bool:
    import torch

    return torch.ops.mkldnn._is_mkldnn_bf16_supported() and "bf16" in Path("/proc/cpuinfo").read_text()


if __name__ == "__main__":
    sys.exit(run(measure, "training", ["emolib", "torch", "transformers", "trl", "peft"]))
