"""The steps of the demo, each a call of the library whose result stays on disk.

    out/  corpus/  run/  figures/  gguf/  question.wav  answer.wav  turn.json  times.json  report.html

A step that has finished, as times.json says, is not run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emolib.demo.folder import DemoFolder
from emolib.demo.recipe import Recipe, embedded
from emolib.errors import UsageError
from emolib.files import write_json

if TYPE_CHECKING:
    from emolib.audio import AudioClip

__all__ = ["QUESTION", "prepare", "record_question", "run_demo"]

#: What the embedded voice says to the ready-made models: in words that the embedded recogniser hears rightly.
QUESTION = "They gave me the job this morning, and I cannot stop smiling!"
QUESTION_EMOTION = "joy"


@dataclass(frozen=True)
class Step:
    """One step: its name, what it does for the reader, what it leaves last, and the call that makes it."""

    name: str
    title: str
    result: Path
    make: Callable[[DemoFolder], None]

    def finished(self, folder: DemoFolder) -> bool:
        """True if the step ran to its end: an interrupted one may have left a part of its result."""
        return self.name in folder.seconds() and self.result.exists()


def run_demo(out: Path | str) -> Path:
    """Run every step that is not finished yet in the folder `out`, then write the report; its path.

    Takes a few minutes on two cores. Raises the EmolibError of the step that fails; what was
    finished before stays and the next call goes on from there.
    """
    from emolib.demo.page import write_report

    folder = prepare(out)
    write_report(folder)
    print(_closing(folder))
    return folder.report


def prepare(out: Path | str, until: str = "talk", recipe: Recipe | None = None) -> DemoFolder:
    """Run the steps up to and with the one named `until` that are not finished yet, by `recipe` (default: `embedded`).

    The names are clean, train, evaluate, plot, export, question, talk. A notebook calls this to
    stand on the results of the ones before it, whether or not they were run.
    """
    folder = DemoFolder(Path(out))
    steps = _steps(folder, recipe or embedded())
    names = [step.name for step in steps]
    if until not in names:
        raise UsageError(f"the demo has no step {until!r}; its steps are {', '.join(names)}")
    for number, step in enumerate(steps[: names.index(until) + 1], start=1):
        heading = f"[{number}/{len(steps)}] {step.title}"
        if step.finished(folder):
            print(f"{heading}: finished before", flush=True)
            continue
        print(heading, flush=True)
        started = time.monotonic()
        step.make(folder)
        write_json(folder.times, {**folder.seconds(), step.name: round(time.monotonic() - started, 1)})
    return folder


def _steps(folder: DemoFolder, recipe: Recipe) -> list[Step]:
    def step(name: str, title: str, result: Path, make: Callable[[DemoFolder, Recipe], None]) -> Step:
        return Step(name, title, result, lambda folder: make(folder, recipe))

    return [
        step("clean", "Clean the corpus", folder.corpus / "report.json", _clean),
        step("train", _training_title(folder, recipe), folder.run / "adapter", _train),
        step("evaluate", "Evaluate base model and adapter by strict exact match", folder.metrics, _evaluate),
        step("plot", "Draw the curves", folder.figures / "confusion_matrix.png", _plot),
        step("export", "Export for llama.cpp", folder.gguf / "manifest.json", _export),
        step("question", "Record a question with the embedded voice", folder.question, _record_question),
        step("talk", "Listen, understand, reply and speak with the ready-made models", folder.turn, _talk),
    ]


def _training_title(folder: DemoFolder, recipe: Recipe) -> str:
    """What is trained; where a run of another length is there already, that one, and how to have the other."""
    config, steps = folder.run / "config.json", recipe.settings.max_steps
    trained = steps
    if "train" in folder.seconds() and config.exists():
        trained = folder.read(config)["settings"]["max_steps"]
    title = f"Fine-tune {recipe.title}, {trained} steps"
    return title if trained == steps else f"{title}, not {steps} (those are trained once {folder.path} is deleted)"


def _clean(folder: DemoFolder, recipe: Recipe) -> None:
    from emolib.data import clean_corpus

    print(clean_corpus(list(recipe.sources), folder.corpus).table())


def _train(folder: DemoFolder, recipe: Recipe) -> None:
    from emolib.finetune import train

    print(train(folder.corpus, folder.run, recipe.settings).summary())


def _evaluate(folder: DemoFolder, _: Recipe) -> None:
    from emolib.evaluate import evaluate_run

    print(evaluate_run(folder.run, folder.corpus, baseline_on=folder.corpus).table())


def _plot(folder: DemoFolder, _: Recipe) -> None:
    from emolib.plots import plot_run

    for path in plot_run(folder.run, folder.figures):
        print(f"  {path}")


def _export(folder: DemoFolder, recipe: Recipe) -> None:
    from emolib.export import export_gguf

    print(export_gguf(folder.run, folder.gguf, recipe.quantisations).table())


def _record_question(folder: DemoFolder, _: Recipe) -> None:
    clip = record_question(folder.question)
    print(f"  {folder.question}: {clip.seconds:.1f} s")


def record_question(
    path: Path | str, text: str = QUESTION, emotion: str | None = QUESTION_EMOTION, intensity: float = 1.0
) -> AudioClip:
    """Have the embedded voice say `text` in the tone of `emotion`, and write it to `path` (WAV)."""
    from emolib.audio import write_wav
    from emolib.tts import SpeechRequest, SpeechSynthesizer, running_service

    with running_service() as url, SpeechSynthesizer(url) as synthesizer:
        clip = synthesizer.synthesize(SpeechRequest(text, emotion, intensity=intensity))
    write_wav(Path(path), clip)
    return clip


def _talk(folder: DemoFolder, _: Recipe) -> None:
    from emolib.dialogue import talk

    turn = talk(folder.question, folder.answer)
    write_json(folder.turn, turn.as_dict())
    print(turn.table())


def _closing(folder: DemoFolder) -> str:
    return f"""
Report: {folder.report} (the steps took {sum(folder.seconds().values()) / 60:.1f} minutes)

Try next:
  echo "nobody came to the station" | emolib classify --model {folder.run}
  emolib talk --in {folder.question} --out answer.wav --model {folder.run}
  emolib train --data your.csv --out runs/mine
"""
