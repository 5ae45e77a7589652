"""How the two bundled adapters are made, from their corpora to the files that ship.

    python -m benchmarks._bundled_recipe train carer|everyday [--out build/bundled]
    python -m benchmarks._bundled_recipe install [--out build/bundled] [--json FILE]

`train` builds the corpus and trains with the package's own `train`; stopped, it goes on where it was. `install` fits
what an adapter saves beside its weights (temperature, and the confidence under which a text counts as neutral), writes
float16 adapters to emolib/adapters, judges them with `benchmarks.bundled`, and writes their model cards.

carer:     CARER's 16,000 training rows after our cleaning, without those that a linear model finds mislabelled.
everyday:  GoEmotions' training comments whose labels fall into one group of `emolib.emotions.GOEMOTIONS`, and our
           own sentences. No row of CARER, so its licence is free. A neutral text has all six labels as its soft
           label, each alike: the adapter learns to be unsure, and abstains. Trained twice: on the comments with the
           split "train" of our sentences, then at half the learning rate on all our sentences but the test's, with as
           many comments beside them; the weights are taken at 0.7 of the way from the first to the second (Wortsman et
           al., 2022), which keeps most of what both know.

Needs CARER and GoEmotions in $EMOLIB_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks._bundled_data import (
    DATA,
    NAMES,
    ROOT,
    SEED,
    answers_of,
    carer_corpus,
    everyday_comments,
    everyday_corpora,
    macro_f1_of,
    require_data,
)
from benchmarks._report import Report
from benchmarks.bundled import measure
from emolib.classify import EmotionClassifier
from emolib.data import Corpus, load_split
from emolib.emotions import EMOTIONS, NEUTRAL
from emolib.evaluate.scores import fit_temperature
from emolib.files import write_json, write_text
from emolib.finetune import RunFolder, TrainSettings, preset, train
from emolib.finetune.training_data import TrainingData
from emolib.plots import run_charts
from emolib.tables import markdown_table

ADAPTERS = ROOT / "emolib" / "adapters"

_COMMON = {"batch_size": 32, "schedule": "cosine", "warmup_steps": 25, "checkpoint_steps": 20, "eval_steps": 100}
SETTINGS = preset("cpu", **_COMMON, epochs=1.0, eval_examples=256)
#: Of the second training of `everyday`.
_SECOND = {"learning_rate": 5e-4}
#: How far the weights of `everyday` go from its first training to its second.
_SECOND_SHARE = 0.7


def train_adapter(name: str, out: Path) -> None:
    """Train `name` into the run folder `out`/`name`."""
    out.mkdir(parents=True, exist_ok=True)
    if name == "carer":
        validation = out / "carer-clean"
        corpus = _kept(out / "carer.jsonl", lambda: carer_corpus(validation))
        _train(corpus, load_split(validation, "validation"), out / name, SETTINGS)
        return
    emotional = [row for row in everyday_comments()[1] if row[1] != NEUTRAL]
    held_out = Corpus("held back", *map(list, zip(*emotional, strict=True)))
    first, second = everyday_corpora()
    before = out / f"{name}-first"
    _train(first, held_out, before, SETTINGS)
    _train(second, held_out, out / name, SETTINGS.replace(**_SECOND, start_from=str(before)))
    _blend(RunFolder.open(before).adapter, RunFolder.open(out / name).adapter, _made(name, out))


def _made(name: str, out: Path) -> Path:
    """The adapter of `name` as it is installed."""
    return out / "everyday-between" if name == "everyday" else RunFolder.open(out / name).adapter


def _blend(first: Path, second: Path, target: Path) -> None:
    from safetensors.torch import load_file, save_file

    target.mkdir(parents=True, exist_ok=True)
    weights, further = (load_file(folder / "adapter_model.safetensors") for folder in (first, second))
    between = {key: tensor.float().lerp(further[key].float(), _SECOND_SHARE) for key, tensor in weights.items()}
    save_file(between, target / "adapter_model.safetensors", metadata={"format": "pt"})
    for name in ("adapter_config.json", "emolib.json"):
        write_json(target / name, json.loads((second / name).read_text(encoding="utf-8")))


def _train(corpus: Corpus, held_out: Corpus, run: Path, settings: TrainSettings) -> None:
    print(f"{run.name}: {len(corpus):,} rows", dict(Counter(corpus.labels)), file=sys.stderr)
    train(_training_data(corpus, held_out, settings.eval_examples), run, settings)


def _training_data(corpus: Corpus, held_out: Corpus, examples: int) -> TrainingData:
    chosen = random.Random(SEED).sample(range(len(held_out)), examples)
    return TrainingData(
        corpus.name,
        corpus.sha256,
        corpus.texts,
        corpus.labels,
        corpus.soft,
        [held_out.texts[index] for index in chosen],
        [held_out.labels[index] for index in chosen],
    )


def _kept(file: Path, make: Callable[[], Corpus]) -> Corpus:
    # Label issues take minutes, and a training that goes on needs the very same rows.
    if not file.is_file():
        corpus = make()
        rows = zip(corpus.texts, corpus.labels, strict=True)
        write_text(file, "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return load_split(file)


def install(report: Report, out: Path) -> None:
    """Put both adapters with their cards into the package, and judge them there."""
    for name in NAMES:
        classifier = EmotionClassifier.load(_made(name, out))
        rows, held_back = _validation_rows(), everyday_comments()[1]
        fit_on = rows if name == "carer" else [row for row in held_back if row[1] != NEUTRAL]
        classifier = replace(classifier, temperature=_temperature(classifier, fit_on))
        if name == "everyday":
            classifier = replace(classifier, abstain_below=_threshold(classifier, held_back))
        _install(name, _made(name, out), classifier)
        _draw(name, out / name)
    measure(report, quick=False)
    for name in NAMES:
        runs = [f"{name}-first", name] if name == "everyday" else [name]
        write_text(ADAPTERS / name / "README.md", _card(name, [RunFolder.open(out / run) for run in runs], report))


def _validation_rows() -> list[tuple[str, str]]:
    """The rows of CARER's validation split that a temperature is fitted on."""
    corpus = load_split(DATA / "carer" / "val.txt")
    rows = list(zip(corpus.texts, corpus.labels, strict=True))
    return random.Random(0).sample(rows, 500)


def _temperature(classifier: EmotionClassifier, rows: list[tuple[str, str]]) -> float:
    logits = classifier.scorer.label_logits([text for text, _ in rows])
    return round(fit_temperature(logits, np.array([EMOTIONS.index(label) for _, label in rows])), 4)


def _threshold(classifier: EmotionClassifier, rows: list[tuple[str, str]]) -> float:
    """The confidence under which abstaining gives the best macro-F1 over six labels and neutral."""
    scores = classifier.classify([text for text, _ in rows])
    gold = [label for _, label in rows]
    candidates = [step / 100 for step in range(25, 90)]
    return max(candidates, key=lambda threshold: macro_f1_of(gold, answers_of(scores, threshold)))


def _install(name: str, source: Path, classifier: EmotionClassifier) -> None:
    """The adapter in float16, and what goes with it, in the package."""
    import torch
    from safetensors.torch import load_file, save_file

    target = ADAPTERS / name
    target.mkdir(parents=True, exist_ok=True)
    weights = {key: tensor.to(torch.float16) for key, tensor in load_file(source / "adapter_model.safetensors").items()}
    save_file(weights, target / "adapter_model.safetensors", metadata={"format": "pt"})
    write_json(target / "adapter_config.json", json.loads((source / "adapter_config.json").read_text()))
    notes = json.loads((source / "emolib.json").read_text())
    write_json(
        target / "emolib.json",
        {**notes, "temperature": classifier.temperature, "abstain_below": classifier.abstain_below},
    )


def _draw(name: str, run: Path) -> None:
    """The curves of `run` beside the adapter."""
    for chart in run_charts(run):
        if chart.name in ("training_loss", "cross_entropy_loss"):
            (ADAPTERS / name / f"{chart.name}.png").write_bytes(chart.png())


#: Settings that say nothing about the weights.
_NOT_IN_CARDS = ("tracking", "project", "start_from")

_DATA_OF = {
    "carer": (
        "CARER (Saravia et al., 2018), the 16,000 training rows of `dair-ai/emotion`, cleaned with `emolib clean`,"
        " without the rows whose label a linear model finds wrong with a quality under 0.1. CARER may be used for"
        " education and research only, and so may this adapter."
    ),
    "everyday": (
        "GoEmotions (Demszky et al., 2020; CC BY 4.0): comments whose labels fall into one group of"
        " `emolib.emotions.GOEMOTIONS`, the frequent groups thinned out, and this project's own sentences"
        " (Apache-2.0). No row of CARER. A neutral comment was trained towards all six labels alike. Apache-2.0, with"
        " GoEmotions named. Trained first on the comments and a third of our sentences, then on all our sentences but"
        " the test's with as many comments; the weights are those at 0.7 of the way between the two."
    ),
}
_LIMITS = {
    "carer": (
        'CARER\'s texts are lower-case sentences that mostly begin with "i feel"; on other texts this adapter is far'
        " worse, as the table shows, and it never saw a neutral sentence."
    ),
    "everyday": (
        "Reddit comments and short written sentences, in English. It judges words, not people: irony, quotations and"
        " what is left unsaid escape it, and a label is no diagnosis."
    ),
}


def _card(name: str, runs: list[RunFolder], report: Report) -> str:
    columns = ["model", *(column for column in report.rows[0] if column != "model")]
    table = markdown_table(
        [column.replace("_", " ") for column in columns],
        [[f"{row[column]:.3f}" if column != "model" else row[column] for column in columns] for row in report.rows],
    )
    settings = {key: value for key, value in runs[-1].config["settings"].items() if key not in _NOT_IN_CARDS}
    return f"""# The bundled adapter `{name}`

A LoRA adapter for SmolLM2-135M-Instruct (float16) that names one of six emotions: sadness, joy, love, anger, fear,
surprise. `EmotionClassifier.load("{name}")` loads it.

**Data and licence.** {_DATA_OF[name]}

**Limits.** {_LIMITS[name]}

**Results**, of `python -m benchmarks.bundled`, both adapters beside a linear model on the same rows. Macro-F1
is over the six labels and neutral, which an adapter answers by abstaining below its confidence threshold.

{table}

**Training**: {"; then ".join(map(_steps, runs))}; on an AMD EPYC.

![training loss](training_loss.png) ![held-out cross-entropy](cross_entropy_loss.png)

```json
{json.dumps(settings, indent=2)}
```
"""


def _steps(run: RunFolder) -> str:
    trained = [line for line in run.log if "loss" in line]
    # A paused process still has its clock running: the median step stands for all of them.
    seconds = statistics.median(after["seconds"] - before["seconds"] for before, after in pairwise(trained))
    size = run.config["settings"]["batch_size"]
    rows = run.config["data"]["rows"]
    minutes = seconds * len(trained) / 60
    return f"{len(trained):,} steps of {size} texts ({rows:,} rows once), {minutes:.0f} minutes by the median step"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("train", "install"):
        added = commands.add_parser(command)
        added.add_argument("--out", type=Path, default=ROOT / "build" / "bundled")
        if command == "train":
            added.add_argument("name", choices=NAMES)
        else:
            added.add_argument("--json", type=Path, help="write the result to this file")
    options = parser.parse_args()
    require_data()
    if options.command == "train":
        train_adapter(options.name, options.out)
        return
    report = Report("bundled", ["emolib", "torch", "transformers", "peft", "scikit-learn"])
    install(report, options.out)
    print(report.table())
    if options.json:
        write_json(options.json, report.as_dict())


if __name__ == "__main__":
    main()
