"""Fine-tuning in 4 bits on a CUDA GPU: plain TRL with PEFT, Unsloth, and the engine `prefix`, in one run.

    python -m benchmarks.gpu [--quick] [--json FILE]

The model has the shape of Qwen2.5-7B (`emolib/model_configs`) and random weights, written to disk once (15 GB): speed
and memory do not depend on what a model knows. The rows are the sample corpus's, the batch that of the paper (2 x 4)
and the largest of 8, 16, 32, 64 that fits. Each side is a process of its own; the first steps are not timed.

Where there is no CUDA GPU, a tiny model of the same family goes through TRL and `prefix` on the CPU, to show that the
script runs; the table then says "not measured", and there are no figures.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._report import Report, run
from benchmarks._training_sides import sft_trainer, timed_steps
from emolib.data import sample_corpus
from emolib.finetune import TrainSettings, preset, train
from emolib.finetune.training_data import TrainingData

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).parent.parent
SHAPE = ROOT / "emolib" / "model_configs" / "qwen2.5-7b.json"
TINY = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 128, "vocab_size": 49152,
}  # fmt: skip
SIDES = ("trl", "unsloth", "prefix")
LARGER = (8, 16, 32, 64)
WARM_UP = 3
_SHARD_BYTES = 4e9


def measure(report: Report, quick: bool) -> None:
    import torch

    cuda = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shape = json.loads(SHAPE.read_text(encoding="utf-8"))
        write_random_model(folder / "model", shape if cuda else {**shape, **TINY}, torch.float16)
        steps = WARM_UP + (5 if quick else 15)
        found = {(side, 2): _side(side, folder, 2, 4, steps) for side in SIDES if cuda or side != "unsloth"}
        for side in SIDES if cuda else ():
            # From small to large, so that the first that does not fit ends the search.
            for batch in LARGER:
                found[side, batch] = _side(side, folder, batch, 1, steps)
                if found[side, batch] is None:
                    break
    if not cuda:
        sides = ", ".join(side for (side, _), speed in found.items() if speed)
        report.rows.append({"what": "Qwen2.5-7B in 4 bits", "examples_per_second": "not measured: no CUDA GPU here"})
        report.rows.append({"what": "a tiny model on the CPU", "examples_per_second": f"{sides}: ran"})
        return
    report.rows.append({"what": torch.cuda.get_device_name(0)})
    for (side, batch), result in found.items():
        speed, peak = result or ("does not fit", "")
        report.rows.append({"what": side, "batch": batch, "examples_per_second": speed, "peak_gb": peak})
    _figures(report, found)


def _figures(report: Report, found: dict[tuple[str, int], tuple[float, float] | None]) -> None:
    for peer in ("trl", "unsloth"):
        for batch in (2, *LARGER):
            ours, theirs = found.get(("prefix", batch)), found.get((peer, batch))
            if ours and theirs:
                report.figures[f"speedup_vs_{peer}_b{batch}"] = ours[0] / theirs[0]
                report.figures[f"memory_ratio_vs_{peer}_b{batch}"] = ours[1] / theirs[1]
        best = {side: max(speed[0] for (name, _), speed in found.items() if name == side and speed) for side in SIDES}
        report.figures[f"speedup_vs_{peer}_largest"] = best["prefix"] / best[peer]


def write_random_model(folder: Path, shape: dict[str, Any], dtype: torch.dtype) -> None:
    """A model folder with `shape` as its config.json, random weights in shards, and the embedded tokenizer."""
    from safetensors.torch import save_file

    from emolib.models import DEFAULT_BASE, load_tokenizer

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(shape))
    load_tokenizer(DEFAULT_BASE).save_pretrained(folder)
    where, total = {}, 0
    for number, shard in enumerate(_random_shards(shape, dtype)):
        file = f"model-{number:05}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        where |= dict.fromkeys(shard, file)
        total += sum(tensor.nbytes for tensor in shard.values())
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _random_shards(shape: dict[str, Any], dtype: torch.dtype) -> Iterator[dict[str, torch.Tensor]]:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        config = AutoConfig.for_model(**shape)
        tensors = AutoModelForCausalLM.from_config(config).state_dict()
    generator = torch.Generator().manual_seed(0)
    shard: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if "norm" in name:
            shard[name] = torch.ones(tensor.shape, dtype=dtype)
        else:
            shard[name] = torch.empty(tensor.shape, dtype=dtype).normal_(std=0.02, generator=generator)
        if sum(entry.nbytes for entry in shard.values()) > _SHARD_BYTES:
            yield shard
            shard = {}
    yield shard


def _side(side: str, folder: Path, batch: int, accumulation: int, steps: int) -> tuple[float, float] | None:
    """Examples a second and the peak memory in GB (None where the batch does not fit the memory)."""
    command = [sys.executable, "-m", "benchmarks.gpu", side, str(folder), str(batch), str(accumulation), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        if "out of memory" in done.stderr.lower() or "does not fit" in done.stdout:
            return None
        sys.exit(f"benchmarks.gpu: {side} at batch {batch} failed\n{done.stderr[-2000:]}")
    speed, peak = map(float, done.stdout.split()[-2:])
    return speed, peak


def _settings(folder: Path, batch: int, accumulation: int, steps: int) -> TrainSettings:
    import torch

    cuda = {} if torch.cuda.is_available() else {"load_in_4bit": False, "optimizer": "adamw_torch"}
    return preset(
        "paper", base_model=str(folder / "model"), batch_size=batch, accumulation_steps=accumulation, max_steps=steps,
        warmup_steps=0, eval_steps=0, eval_examples=0, checkpoint_steps=10_000, tracking="off", max_length=512, **cuda,
    )  # fmt: skip


def run_side(side: str, folder: Path, batch: int, accumulation: int, steps: int) -> None:
    """One side in this process; prints examples a second and the peak memory in GB."""
    import torch

    chosen = _settings(folder, batch, accumulation, steps)
    corpus = sample_corpus("train")
    if side == "trl":
        ends = timed_steps(sft_trainer(folder / f"trl-{batch}", corpus.texts, corpus.labels, chosen))
    else:
        given = TrainingData(corpus.name, corpus.sha256, corpus.texts, corpus.labels, None, [], [])
        out = folder / f"{side}-{batch}"
        made = train(given, out, chosen.replace(engine=side, gradient_checkpointing=side == "unsloth"), resume=False)
        if made.config["micro_batch" if side == "prefix" else "engine"] not in ([batch, accumulation], "unsloth"):
            sys.exit("does not fit: the micro-batch was halved")
        ends = [line["seconds"] for line in made.log if "loss" in line]
        shutil.rmtree(out)
    seconds = (ends[-1] - ends[WARM_UP - 1]) / (len(ends) - WARM_UP)
    peak = torch.cuda.max_memory_reserved() / 1e9 if torch.cuda.is_available() else 0.0
    print(batch * accumulation / seconds, peak)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in SIDES:
        run_side(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:6]))
    else:
        sys.exit(run(measure, "gpu", ["emolib", "torch", "transformers", "trl", "peft", "bitsandbytes", "unsloth"]))
