"""The run folder: the contract between training, plots, evaluation and export.

RUN/config.json    every setting, the base model with its hash, the data with its hash, versions, machine
RUN/log.jsonl      a line a step: step, loss, grad_norm, learning_rate, memory_gb, seconds; evaluation lines
                   carry step, eval_loss, and eval_accuracy (task classify) or eval_perplexity (task chat)
RUN/rejects.jsonl  the rows of a corpus of conversations that cannot be used, each with its reason
RUN/adapter/       PEFT's adapter_config.json and adapter_model.safetensors
RUN/checkpoints/   what a stopped run continues from
RUN/metrics.json   written by the evaluation, with its figures in RUN/figures/
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.errors import InputError, ModelError
from emolib.files import write_text
from emolib.tables import Table

if TYPE_CHECKING:
    from emolib.data.table import Reject

__all__ = ["RunFolder", "compare_losses"]


@dataclass(frozen=True)
class RunFolder:
    """A folder that `emolib train` wrote.

    `config` is the parsed config.json, `log` the lines of log.jsonl in order, `adapter` the folder of the
    trained adapter and `metrics_path` where the evaluation writes.
    """

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """The finished run at `path`.

        Raises InputError where there is no run folder, ModelError where it holds no adapter (yet).
        """
        run = cls(Path(path))
        if not run.config_path.is_file():
            what = "is not a run folder (it has no config.json)" if run.path.exists() else "does not exist"
            raise InputError(f"{run.path} {what}; make one with: emolib train --data CORPUS --out {run.path}")
        if not run.has_adapter:
            raise ModelError(
                f"the run folder {run.path} has no finished adapter; finish its training with the same"
                " `emolib train` command, which continues from the last checkpoint"
            )
        return run

    @property
    def config_path(self) -> Path:
        """`config.json`."""
        return self.path / "config.json"

    @property
    def log_path(self) -> Path:
        """`log.jsonl`."""
        return self.path / "log.jsonl"

    @property
    def adapter(self) -> Path:
        """The folder of the trained adapter."""
        return self.path / "adapter"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics_path(self) -> Path:
        """`metrics.json`, written by the evaluation."""
        return self.path / "metrics.json"

    @property
    def figures(self) -> Path:
        """The folder of the figures that the evaluation draws."""
        return self.path / "figures"

    @property
    def has_adapter(self) -> bool:
        """True where the training has finished."""
        return (self.adapter / "adapter_config.json").is_file()

    @cached_property
    def config(self) -> dict[str, Any]:
        """The parsed `config.json`."""
        try:
            return json.loads(self.config_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{self.config_path} is not valid JSON ({error}); train the run again") from error

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of `log.jsonl`; a last line cut short by a kill is left out."""
        if not self.log_path.exists():
            return []
        lines = []
        for line in self.log_path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
        return lines

    def write_rejects(self, rejects: Sequence[Reject]) -> None:
        """Write the rows that cannot be used to `rejects.jsonl`; without any, there is no such file."""
        path = self.path / "rejects.jsonl"
        if not rejects:
            path.unlink(missing_ok=True)
        else:
            rows = (json.dumps(asdict(reject), ensure_ascii=False) for reject in rejects)
            write_text(path, "".join(row + "\n" for row in rows))

    def cost(self) -> Table:
        """Return what the training took: time, memory, and the size of the adapter beside its base model."""
        steps = [line for line in self.log if "loss" in line]
        if not steps:
            raise InputError(f"{self.path} has not trained a step yet; train it first")
        known = self.config.get("parameters", {})
        size = sum(file.stat().st_size for file in self.adapter.iterdir()) if self.has_adapter else 0
        rows = [
            ("steps", f"{steps[-1]['step']:,}"),
            ("time", f"{steps[-1]['seconds']:.0f} s"),
            ("time per step", f"{steps[-1]['seconds'] / steps[-1]['step']:.1f} s"),
            ("memory, at most", f"{max(line.get('memory_gb', 0.0) for line in steps):.1f} GB"),
            ("precision", self.config.get("precision", {}).get("dtype", "")),
            ("parameters of the base model", f"{known.get('base', 0):,}"),
            ("parameters that were trained", f"{known.get('trainable', 0):,}"),
            ("adapter on disk", f"{size / 1e6:.1f} MB"),
        ]
        return Table(["this training", ""], rows)

    def summary(self) -> str:
        """A few lines for people: steps, losses, evaluation, adapter."""
        steps = [line for line in self.log if "loss" in line]
        evaluations = [line for line in self.log if "eval_loss" in line]
        lines = [f"run       {self.path}"]
        if steps:
            lines.append(
                f"steps     {steps[-1]['step']} in {steps[-1]['seconds']:.0f} s,"
                f" loss {steps[0]['loss']:.3f} -> {steps[-1]['loss']:.3f}"
            )
            if memory := max(line.get("memory_gb", 0.0) for line in steps):
                lines.append(f"memory    {memory:.1f} GB at most")
        if evaluations:
            lines.append(_held_out(evaluations[0], evaluations[-1]))
        if self.has_adapter:
            size = sum(file.stat().st_size for file in self.adapter.iterdir() if file.is_file())
            lines.append(f"adapter   {self.adapter} ({size / 1e6:.1f} MB)")
        return "\n".join(lines)


def compare_losses(runs: Mapping[str, RunFolder]) -> Table:
    """Return the first and the last loss of each run, in training and on held-out texts; a dash where none is known."""
    header = ["run", "training loss, first", "last", "held-out loss, first", "last"]
    rows = []
    for title, run in runs.items():
        log, shown = run.log, []
        for key in ("loss", "eval_loss"):
            values = [line[key] for line in log if key in line]
            shown += [f"{values[0]:.2f}", f"{values[-1]:.2f}"] if values else ["–", "–"]
        rows.append([title, *shown])
    return Table(header, rows)


def _held_out(first: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    """The first and the last evaluation in a line."""
    parts = [f"cross-entropy {first['eval_loss']:.3f} -> {last['eval_loss']:.3f}"]
    for name, form in (("accuracy", ".1%"), ("perplexity", ".1f")):
        if f"eval_{name}" in first:
            parts.append(f"{name} {first[f'eval_{name}']:{form}} -> {last[f'eval_{name}']:{form}}")
    return f"held out  {', '.join(parts)} ({last.get('eval_examples', '?')} examples)"
