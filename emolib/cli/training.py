"""`emolib plan`, `emolib train` and `emolib plot`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.cli.console import print_json
from emolib.cli.options import Options, argument, command, option
from emolib.finetune.presets import PRESETS
from emolib.finetune.settings import TrainSettings
from emolib.finetune.tasks import TASKS, get_task

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["plan", "plot", "train"]

#: Settings that --set reaches and that have no option of their own; max_steps is --steps.
_SELDOM_CHANGED = (
    "load_in_4bit", "dtype", "lora_dropout", "target_modules", "gradient_checkpointing", "optimizer", "schedule",
    "weight_decay", "max_grad_norm", "max_steps", "eval_steps", "eval_examples", "checkpoint_steps", "start_from",
    "project",
)  # fmt: skip


def _by_task(name: str) -> str:
    """Return what each task has as its `name`, for the help."""
    return ", ".join(f"{task} {getattr(get_task(task), name)}" for task in TASKS)


_SETTINGS = Options(
    TrainSettings,
    skip=_SELDOM_CHANGED,
    flags={"base_model": ("--model",)},
    layered=True,
    title="settings (by default those of --preset; the paper's are shown)",
    default="paper: {}",
)


@dataclass(frozen=True, kw_only=True)
class SettingsOptions:
    """Where the settings come from, before single ones are changed."""

    preset: str = option(f"auto (by the hardware), {', '.join(PRESETS)}", "auto")
    set: tuple[str, ...] = option(
        "any setting of TrainSettings, such as dtype=float32 (default: none)", (), metavar="NAME=VALUE"
    )

    def with_changes(self, changes: Mapping[str, Any]) -> TrainSettings:
        """Return the settings of the preset with `changes`, and with those of --set over them."""
        from emolib.finetune import parse_settings, preset

        return preset(self.preset, **{**changes, **parse_settings(self.set)})


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What is trained on, for how long, and where it goes."""

    data: str = option(
        "a folder made by `emolib clean`, or a corpus file; for the task chat, conversations in JSON lines",
        metavar="CORPUS",
    )
    out: Path = option("the run folder")
    validation: str | None = option(
        "corpus for the evaluations during training (default: held out of --data)", None, metavar="CORPUS"
    )
    steps: int | None = option(
        f"optimizer steps; -1 = by --epochs (default: {_by_task('default_steps')}; -1 if --epochs is given)", None
    )
    resume: bool = option("resume a run that was stopped, or start it afresh", True)


@command(TrainOptions, SettingsOptions, _SETTINGS)
def train(options: TrainOptions, base: SettingsOptions, changes: Mapping[str, Any]) -> None:
    """Fine-tune."""
    from emolib.finetune import parse_settings, train

    settings = base.with_changes(changes)
    if "max_steps" not in parse_settings(base.set):
        by_default = -1 if "epochs" in changes else get_task(settings.task).default_steps
        settings = settings.replace(max_steps=by_default if options.steps is None else options.steps)
    print(settings.table())
    run = train(options.data, options.out, settings, validation=options.validation, resume=options.resume)
    print(run.summary())


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """The size of the training that is planned."""

    data: str | None = option(
        "what `emolib train --data` takes, for its number of rows (default: --rows)",
        None,
        metavar="CORPUS",
    )
    rows: int | None = option(f"rows to train on (default: {_by_task('planned_rows')})", None)
    tokens: int | None = option(
        f"tokens of the longest row, prompt and response included (default: {_by_task('planned_tokens')})", None
    )
    json: bool = option("print JSON", False)


@command(PlanOptions, SettingsOptions, _SETTINGS)
def plan(options: PlanOptions, base: SettingsOptions, changes: Mapping[str, Any]) -> None:
    """Plan a training."""
    from emolib.finetune import plan

    settings = base.with_changes(changes)
    rows = get_task(settings.task).count_rows(options.data) if options.data else options.rows
    found = plan(settings, rows=rows, tokens=options.tokens)
    if options.json:
        print_json(found.as_dict())
    else:
        print(found.table())


@dataclass(frozen=True, kw_only=True)
class PlotOptions:
    """Which runs are drawn, and where to."""

    run: Path = argument("a run folder")
    others: tuple[Path, ...] = argument("runs whose curves stand beside the first one's", ())
    out: Path = option("folder for the figures", Path("figures"))


@command(PlotOptions)
def plot(options: PlotOptions) -> None:
    """Draw the curves of a run."""
    from emolib.plots import plot_run

    for path in plot_run(options.run, options.out, *options.others):
        print(path)
