"""Following a run: the log file always, a progress bar in a terminal, Weights & Biases where it is wanted."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import netrc
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from emolib.errors import MissingDependency
from emolib.files import expand_user, home_folder, write_text
from emolib.finetune.run_folder import RunFolder
from emolib.finetune.settings import TrainSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Follower",
    "LivePlot",
    "LogFile",
    "NoTracker",
    "Progress",
    "WandbTracker",
    "draw_curves",
    "followers",
    "is_logged_in",
    "make_tracker",
]


_log = logging.getLogger(__name__)

#: How long a run waits for Weights & Biases at its start, in seconds.
_ONLINE_SECONDS = 20
#: Where `wandb login` logs in.
_WANDB_HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")


class LogFile:
    """Appends to a run's log.jsonl; `step` is the step that a continued run starts from.

    Lines of later steps, which a killed run wrote after its last checkpoint, are taken out first. `seconds`
    in every line is the time spent in training until then, pauses between continuations not counted.
    """

    def __init__(self, run: RunFolder, step: int) -> None:
        kept = [line for line in run.log if 0 < step >= line["step"]]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        # What a kill left of a last line goes too: the next one would be joined to it.
        if run.log_path.exists() and run.log_path.read_bytes() != text.encode():
            write_text(run.log_path, text)
        self._path = run.log_path
        self._before = kept[-1]["seconds"] if kept else 0.0
        self._start = time.monotonic()

    def write(self, **values: Any) -> dict[str, Any]:
        """Append a line with `seconds`, and return it."""
        line = {**values, "seconds": round(self._before + time.monotonic() - self._start, 3)}
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line


class Follower(Protocol):
    """Something that is shown each line of the log."""

    def show(self, line: dict[str, Any]) -> None:
        """Take a line; `line["step"]` is its step."""

    def close(self) -> None:
        """The training has ended."""


def followers(run: RunFolder, settings: TrainSettings, config: dict[str, Any], total: int, done: int) -> list[Follower]:
    """What follows a run of `total` steps, `done` of them behind it: bar or plot, and the tracking."""
    display = LivePlot(run, total) if in_notebook() else Progress(total, done)
    return [display, make_tracker(run, settings, config)]


class Progress:
    """A progress bar on standard error with the loss and the held-out accuracy or perplexity."""

    def __init__(self, total: int, done: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, initial=done, desc="training", unit="step", file=sys.stderr, dynamic_ncols=True)
        self._shown: dict[str, str] = {}

    def show(self, line: dict[str, Any]) -> None:
        """Move to the step of `line`."""
        if "loss" in line:
            self._shown["loss"] = f"{line['loss']:.3f}"
            self._bar.update(max(0, line["step"] - self._bar.n))
        if "eval_accuracy" in line:
            self._shown["held-out accuracy"] = f"{line['eval_accuracy']:.1%}"
        if "eval_perplexity" in line:
            self._shown["held-out perplexity"] = f"{line['eval_perplexity']:.1f}"
        self._bar.set_postfix(self._shown, refresh=False)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


def in_notebook() -> bool:
    """True in a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and shell.has_trait("kernel")


class LivePlot:
    """A progress bar and the curves in the notebook; both change in place while the training runs.

    A short run gets the bar alone.
    """

    _SECONDS = 3.0
    #: Share of the time that drawing may take.
    _SHARE = 0.05
    #: Steps from which on a run has a curve worth drawing.
    _LONG = 20

    def __init__(self, run: RunFolder, total: int) -> None:
        from IPython.display import display

        self._run, self._total = run, total
        self._drawn = self._cost = 0.0
        self._step = run.log[-1]["step"] if run.log else 0
        self._started = time.monotonic()
        self._before = self._step
        self._bar = display(self._progress(), display_id=True)
        self._curves = display(_Picture(run, total), display_id=True) if total >= self._LONG else None

    def show(self, line: dict[str, Any]) -> None:
        """Move the bar, and draw again if the last time was long enough ago."""
        self._step = line["step"]
        self._bar.update(self._progress())
        if time.monotonic() - self._drawn > max(self._SECONDS, self._cost / self._SHARE):
            self._draw()

    def close(self) -> None:
        """Draw the last state."""
        self._bar.update(self._progress())
        self._draw()

    def _draw(self) -> None:
        if self._curves is None:
            return
        started = time.monotonic()
        self._curves.update(_Picture(self._run, self._total))
        self._drawn = time.monotonic()
        self._cost = self._drawn - started

    def _progress(self) -> _Bar:
        elapsed = time.monotonic() - self._started
        done = self._step - self._before
        left = elapsed / done * (self._total - self._step) if done else 0.0
        return _Bar(self._step, self._total, elapsed, left)


@dataclass(frozen=True)
class _Bar:
    """A progress bar: characters, so that every notebook shows it, the committed one included."""

    step: int
    total: int
    elapsed: float
    left: float

    def __repr__(self) -> str:
        filled = round(30 * self.step / max(1, self.total))
        rest = f", {_minutes(self.left)} left" if self.step < self.total else ""
        bar = "█" * filled + "░" * (30 - filled)
        return f"{bar} step {self.step} of {self.total}, {_minutes(self.elapsed)}{rest}"


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


@dataclass(frozen=True)
class _Picture:
    """The curves as they stand now, as an image that any notebook can show."""

    run: RunFolder
    total: int

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        draw_curves(self.run, self.total).savefig(picture, format="png", dpi=110)
        return picture.getvalue()

    def __repr__(self) -> str:
        return "Training loss and held-out accuracy"


def draw_curves(run: RunFolder, total: int | None = None) -> Figure:
    """Training loss and held-out accuracy, or held-out loss without one, over the steps of `run` so far.

    The axis reaches to the step `total`, if it is known.
    """
    from matplotlib.figure import Figure

    lines = run.log
    steps = [line for line in lines if "loss" in line]
    evaluations = [line for line in lines if "eval_loss" in line]
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot([line["step"] for line in steps], [line["loss"] for line in steps], label="training loss")
    axes.set(xlabel="optimiser step", ylabel="loss (nats per token)", ylim=(0, None))
    if total:
        axes.set_xlim(0, total + 1)
    at = [line["step"] for line in evaluations]
    if all("eval_accuracy" in line for line in evaluations):
        right = axes.twinx()
        accuracies = [line["eval_accuracy"] for line in evaluations]
        right.plot(at, accuracies, "o--", color="tab:green", label="held-out accuracy")
        right.set(ylabel="accuracy", ylim=(0, 1))
    else:
        axes.plot(at, [line["eval_loss"] for line in evaluations], "o--", color="tab:green", label="held-out loss")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


class NoTracker:
    """Follows nothing."""

    def show(self, line: dict[str, Any]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class WandbTracker:
    """Weights & Biases: the configuration, every line of the log, and the curves as images at the end."""

    def __init__(self, run: RunFolder, settings: TrainSettings, config: dict[str, Any], mode: str) -> None:
        import wandb

        self._wandb = wandb
        self._folder = run

        def begin(mode: str) -> Any:
            return wandb.init(
                project=settings.project,
                name=run.path.name,
                config=config,
                mode=mode,
                dir=str(run.path),
                settings=wandb.Settings(silent=True, console="off", disable_git=True, init_timeout=_ONLINE_SECONDS),
            )

        try:
            self._run = begin(mode)
        except wandb.Error as error:
            if mode == "offline":
                raise
            _log.warning(
                "Weights & Biases cannot be used online (%s): the run is logged offline;"
                " send it later with: wandb sync %s",
                (str(error).strip().splitlines() or [type(error).__name__])[0],
                run.path / "wandb" / "offline-run-*",
            )
            self._run = begin("offline")

    def show(self, line: dict[str, Any]) -> None:
        """Send one line."""
        self._run.log({key: value for key, value in line.items() if key != "step"}, step=line["step"])

    def close(self) -> None:
        """Send the curves and end the run."""
        from PIL import Image

        picture = io.BytesIO()
        draw_curves(self._folder).savefig(picture, format="png", dpi=150)
        self._run.log({"figures/curves": self._wandb.Image(Image.open(picture))})
        self._run.finish()


def make_tracker(run: RunFolder, settings: TrainSettings, config: dict[str, Any]) -> Follower:
    """The tracker that `settings.tracking` asks for.

    "auto" is the environment's WANDB_MODE, else online for a user whom wandb knows, else offline: files in the
    run folder that `wandb sync` can send later. Without the package it is none. Where the service does not answer
    or refuses the key, a warning says so and the run is logged offline.
    """
    mode = settings.tracking
    try:
        if mode == "auto":
            mode = os.environ.get("WANDB_MODE") or _own_mode()
        if mode in ("off", "disabled"):
            return NoTracker()
        return WandbTracker(run, settings, config, mode)
    except ImportError:
        if settings.tracking == "auto":
            return NoTracker()
        raise MissingDependency("wandb", extra="train") from None


def _own_mode() -> str:
    """Return the mode that wandb's own settings ask for: `wandb offline`, or online after `wandb login`."""
    import wandb

    own = wandb.setup().settings
    if own.mode and own.mode != "online":
        return own.mode
    return "online" if own.api_key or is_logged_in(os.environ, own.base_url) else "offline"


def is_logged_in(environ: Mapping[str, str], base_url: str | None = None) -> bool:
    """Whether wandb would find a key: in the environment, or in the netrc where `wandb login` leaves it."""
    if environ.get("WANDB_API_KEY") or environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    named = environ.get("NETRC")
    files = [expand_user(named)] if named else [home_folder() / name for name in (".netrc", "_netrc")]
    hosts = {urlsplit(base_url or environ.get("WANDB_BASE_URL") or "").hostname, *_WANDB_HOSTS}
    for path in files:
        with contextlib.suppress(OSError, netrc.NetrcParseError):
            if hosts & netrc.netrc(path).hosts.keys():
                return True
    return False
