"""`emolib evaluate` and `emolib classify`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.cli.console import print_json
from emolib.cli.options import argument, command, given, option, option_of
from emolib.emotions import DEFAULT_EMOTION_MODEL
from emolib.errors import UsageError

if TYPE_CHECKING:
    from emolib.classify import EmotionClassifier

__all__ = ["classify", "evaluate"]


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Which run is evaluated, and on what."""

    run: Path = argument("a run folder")
    data: str | None = option(
        "a corpus file, or a folder made by `emolib clean` (default: --dialogue alone)", None, metavar="CORPUS"
    )
    dialogue: bool = option("measure how well it still holds a conversation, merged and switched off", False)
    calibrate_on: str | None = option(
        "corpus to fit the temperature on (default: the folder's validation)", None, metavar="CORPUS"
    )
    baseline_on: str | None = option(
        "corpus to train the baselines on, to compare with (default: no baselines)", None, metavar="CORPUS"
    )
    encoder: str = option(
        "sentence encoder of the second baseline: a folder, a hub id, off, or auto, which is multilingual-e5-small if"
        " it can be had",
        "auto",
        metavar="MODEL",
    )
    few_shot: int | None = option(
        "print what the baselines reach with 1, 2, 4, … up to so many rows per label of --baseline-on (default: all"
        " rows alone)",
        None,
        metavar="N",
    )
    against: Path | None = option("another run, evaluated on the same data, to compare with (default: none)", None)
    json: bool = option("print the metrics as JSON", False)


@command(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> None:
    """Evaluate a run."""
    from emolib.evaluate import compare_runs, evaluate_run, measure_continuity

    if not options.data and not options.dialogue:
        raise UsageError("say what to evaluate on: --data CORPUS, --dialogue, or both")
    found: dict[str, Any] = {}
    if options.data:
        found["metrics"] = evaluate_run(
            options.run,
            options.data,
            calibrate_on=options.calibrate_on,
            baseline_on=options.baseline_on,
            few_shot=options.few_shot,
            encoder=None if options.encoder == "off" else options.encoder,
        )
    if options.against:
        found["against"] = compare_runs(options.run, options.against)
    if options.dialogue:
        found["dialogue"] = measure_continuity(options.run)
    if options.json:
        parts = {name: part.as_dict() for name, part in found.items()}
        print_json({**parts.pop("metrics", {}), **parts})
    else:
        print("\n\n".join(part.table() for part in found.values()))


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions:
    """What is classified, with which model, and where the labels go."""

    model: str = option(
        "everyday, carer, a run folder, an adapter, a GGUF file or a llama-server's URL", DEFAULT_EMOTION_MODEL
    )
    adapter: str | None = option("the LoRA GGUF for a base GGUF (default: none)", None, metavar="PATH")
    source: Path | None = option(
        "a text per line, or JSON lines (.jsonl), or .gz of either (default: standard input)", None, flag="in"
    )
    out: Path | None = option(
        "folder for the parts, where a job that was stopped resumes (default: standard output)", None
    )
    part_rows: int | None = option_of("emolib.classify.bulk:classify_file", "part_rows", "rows per part")


@command(ClassifyOptions)
def classify(options: ClassifyOptions) -> None:
    """Classify texts."""
    from emolib.classify import EmotionClassifier, prediction

    if (options.source is None) != (options.out is None):
        raise UsageError("--in FILE and --out FOLDER go together; without them standard input is classified")
    classifier = EmotionClassifier.load(options.model, adapter=options.adapter)
    if options.source and options.out:
        _classify_file(options.source, options.out, classifier, options.part_rows)
        return
    for text, scores in classifier.classify_lines(sys.stdin):
        print_json({"text": text, **prediction(text, scores)}, indent=None)


def _classify_file(source: Path, out: Path, classifier: EmotionClassifier, part_rows: int | None) -> None:
    from tqdm import tqdm

    from emolib.classify import classify_file

    with tqdm(desc="classify", unit=" rows") as bar:
        summary = classify_file(
            source, out, classifier, **given(part_rows=part_rows), progress=lambda rows: bar.update(rows - bar.n)
        )
    print(summary.table())
