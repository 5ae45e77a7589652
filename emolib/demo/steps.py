"""The steps of the demo, each a call of the library whose result stays on disk.

    out/  question.wav  answer.wav  answer_joy.wav  answer_fear.wav  ready_made.json
          corpus/  run/  comparison.json  figures/  gguf/  times.json  report.html

First the bundled models answer, then one is trained and compared with them. A step that has finished, as times.json
says, is not run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emolib.demo.folder import DemoFolder
from emolib.demo.ready_made import LINES, meet
from emolib.demo.recipe import Recipe, embedded
from emolib.dialogue.terminal import shown_emotion
from emolib.emotion_model import bundled
from emolib.errors import UsageError
from emolib.files import write_json

if TYPE_CHECKING:
    from emolib.audio import AudioClip
    from emolib.dialogue import Turn

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


def run_demo(out: Path | str, lines: Sequence[str] = LINES) -> Path:
    """Run every step that is not finished yet in the folder `out`, then write the report; its path.

    The bundled models answer `lines` first. Takes a few minutes on two cores. Raises the EmolibError of the step that
    fails; what was finished before stays and the next call goes on from there.
    """
    from emolib.demo.page import write_report

    folder = DemoFolder(Path(out))
    recipe = embedded()
    _run([*_ready_made_steps(folder, lines), *_training_steps(folder, recipe)], folder)
    write_report(folder)
    print(_closing(folder))
    return folder.report


def prepare(out: Path | str, until: str = "export", recipe: Recipe | None = None) -> DemoFolder:
    """Run the steps up to and with the one named `until` that are not finished yet, by `recipe` (default: `embedded`).

    The names are clean, train, evaluate, compare, plot, export. A notebook calls this to stand on the results of the
    ones before it, whether or not they were run.
    """
    folder = DemoFolder(Path(out))
    steps = _training_steps(folder, recipe or embedded())
    names = [step.name for step in steps]
    if until not in names:
        raise UsageError(f"the demo has no step {until!r}; its steps are {', '.join(names)}")
    _run(steps[: names.index(until) + 1], folder)
    return folder


def _run(steps: Sequence[Step], folder: DemoFolder) -> None:
    for number, step in enumerate(steps, start=1):
        heading = f"[{number}/{len(steps)}] {step.title}"
        if step.finished(folder):
            print(f"{heading}: finished before", flush=True)
            continue
        print(heading, flush=True)
        started = time.monotonic()
        step.make(folder)
        write_json(folder.times, {**folder.seconds(), step.name: round(time.monotonic() - started, 1)})


def _ready_made_steps(folder: DemoFolder, lines: Sequence[str]) -> list[Step]:
    def answer(folder: DemoFolder) -> None:
        found = meet(lines, folder.question, folder.answer, folder.tone, _show)
        write_json(folder.ready_made, found.as_dict())

    return [
        Step("question", "Record a question with the bundled voice", folder.question, _record_question),
        Step("answer", "Ask the bundled models: everyday hears, companion answers", folder.ready_made, answer),
    ]


def _training_steps(folder: DemoFolder, recipe: Recipe) -> list[Step]:
    def step(name: str, title: str, result: Path, make: Callable[[DemoFolder, Recipe], None]) -> Step:
        return Step(name, title, result, lambda folder: make(folder, recipe))

    return [
        step("clean", "Clean the corpus", folder.corpus / "report.json", _clean),
        step("train", _training_title(folder, recipe), folder.run / "adapter", _train),
        step("evaluate", "Evaluate base model and adapter by strict exact match", folder.metrics, _evaluate),
        step("compare", "Compare with the bundled adapters on the same texts", folder.comparison, _compare),
        step("plot", "Draw the curves", folder.figures / "confusion_matrix.png", _plot),
        step("export", "Export for llama.cpp", folder.gguf / "manifest.json", _export),
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
    from emolib.finetune.tracking import in_notebook

    table = evaluate_run(folder.run, folder.corpus, baseline_on=folder.corpus).table()
    # A notebook shows the tables itself, one after the other.
    print(table.partition("\n\n")[0] if in_notebook() else table)


def _compare(folder: DemoFolder, _: Recipe) -> None:
    """Judge the bundled adapters on the run's test texts: what an hour gives, and what the training began with."""
    from emolib.data import load_split
    from emolib.evaluate.line_up import classify_scores

    test, measured = load_split(folder.corpus, "test"), {}
    for name in bundled():
        measured[name] = classify_scores(name, test).as_dict()["accuracy"]
        print(f"  {name}: {measured[name]:.1%} right")
    write_json(folder.comparison, measured)


def _plot(folder: DemoFolder, _: Recipe) -> None:
    from emolib.plots import plot_run

    for path in plot_run(folder.run, folder.figures):
        print(f"  {path}")


def _export(folder: DemoFolder, recipe: Recipe) -> None:
    from emolib.export import export_gguf

    print(export_gguf(folder.run, folder.gguf, recipe.quantisations).table())


def _record_question(folder: DemoFolder) -> None:
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


def _show(turn: Turn) -> None:
    """Print a turn with the bundled models, for whoever watches."""
    print(f"  [{shown_emotion(turn.emotion)}] {turn.transcript}\n      {turn.reply}", flush=True)


def _closing(folder: DemoFolder) -> str:
    return f"""
Report: {folder.report} (the steps took {sum(folder.seconds().values()) / 60:.1f} minutes)

Try next:
  echo "nobody came to the station" | emolib classify --model {folder.run}
  emolib talk --in {folder.question} --out answer.wav --model {folder.run}
  emolib train --data your.csv --out runs/mine
"""
