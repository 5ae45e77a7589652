"""What a run records of itself, and whether a folder may be continued."""

from __future__ import annotations

import math
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import emolib
from emolib.errors import InputError, UsageError
from emolib.files import write_json
from emolib.finetune.checkpoints import last_checkpoint
from emolib.finetune.run_folder import RunFolder
from emolib.finetune.settings import TrainSettings
from emolib.finetune.tasks import get_task
from emolib.labels import LabelSet

if TYPE_CHECKING:
    from emolib.finetune.tasks.base import TaskData
    from emolib.models import BaseModel

__all__ = ["claim", "describe"]

_PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "safetensors", "bitsandbytes", "unsloth", "wandb")

#: Settings that a run may have more of when it goes on.
_LENGTH = {"max_steps", "epochs"}
#: Settings that may change between a run and its continuation: they do not change its weights.
_FREE = {"tracking", "project", "checkpoint_steps", "eval_steps", "eval_examples"}


def describe(settings: TrainSettings, base: BaseModel, data: TaskData) -> dict[str, Any]:
    """The content of config.json at the start of a run."""
    return {
        "base_model": base.as_dict(),
        **get_task(settings.task).notes(settings, data),
        "settings": settings.as_dict(),
        "data": {"name": data.name, "sha256": data.sha256, "rows": data.rows, **_rejected(data)},
        "held_out": {"rows": data.held_out_rows},
        "versions": _versions(),
        "machine": _machine(),
    }


def _rejected(data: TaskData) -> dict[str, int]:
    return {"rejected": len(data.rejects)} if data.rejects else {}


def claim(run: RunFolder, config: dict[str, Any], *, resume: bool) -> bool:
    """Make `run` ours; False where it is finished already with this very `config`.

    What a run has recorded of its precision goes into `config`. A finished run that is asked for more steps goes on;
    what it was until then is kept in a folder of its own. UsageError where the folder holds another run and `resume`
    is asked for, or no run at all. Of several processes the main one decides.
    """
    if not _launched_together():
        return _claim(run, config, resume=resume)
    from accelerate import PartialState

    state = PartialState()
    if state.is_main_process:
        _claim(run, config, resume=resume)
    state.wait_for_everyone()
    _keep_precision(RunFolder(run.path), config)
    return not run.has_adapter


def _claim(run: RunFolder, config: dict[str, Any], *, resume: bool) -> bool:
    if not _is_run(run):
        if run.path.is_file() or (run.path.is_dir() and any(run.path.iterdir())):
            raise UsageError(f"{run.path} exists and is no run folder; choose another --out")
    elif not resume:
        for path in (run.checkpoints, run.log_path, *_results(run)):
            _remove(path)
    else:
        _refuse_other_run(run, config)
        if run.has_adapter:
            if _total_steps(config) == _total_steps(run.config):
                return False
            _set_aside(run)
        _keep_precision(run, config)
    write_json(run.config_path, config)
    run.checkpoints.mkdir(exist_ok=True)
    return True


def _is_run(run: RunFolder) -> bool:
    """Whether `emolib train` made this folder: its config.json says what was trained and how."""
    try:
        return run.config_path.is_file() and {"base_model", "settings"} <= run.config.keys()
    except (InputError, AttributeError):
        return False


def _results(run: RunFolder) -> list[Path]:
    """Return what belongs to the weights of a run: they, and every judgement of them."""
    judgements = [run.path / name for name in ("predictions.json", "continuity.json")]
    return [run.adapter, run.metrics_path, run.figures, *judgements]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _set_aside(run: RunFolder) -> None:
    """Move the results of a finished run that goes on into a folder inside it."""
    checkpoint = last_checkpoint(run.checkpoints)
    if checkpoint is None:
        raise UsageError(
            f"{run.path} is finished and has no checkpoint to go on from; train another run from its adapter:"
            f" --set start_from={run.path} --out OTHER"
        )
    folder = run.path / f"until-{checkpoint.name.removeprefix('checkpoint-')}-steps"
    _remove(folder)
    folder.mkdir()
    for path in _results(run):
        if path.exists():
            os.replace(path, folder / path.name)


def _keep_precision(run: RunFolder, config: dict[str, Any]) -> None:
    if "precision" in run.config:
        config["precision"] = run.config["precision"]


def _refuse_other_run(run: RunFolder, config: dict[str, Any]) -> None:
    for name, ours, theirs in _differences(config, run.config):
        raise UsageError(
            f"{run.path} holds a run with another {name} ({theirs}, and now {ours}); choose another --out,"
            " or start it afresh with --no-resume"
        )


def _differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    before = {"task": "classify", **theirs.get("settings", {})}  # the only task there once was
    goes_on = _total_steps(ours) >= _total_steps(theirs)
    compared = [
        (name, value, before.get(name))
        for name, value in ours["settings"].items()
        if name not in _FREE and not (goes_on and name in _LENGTH)
    ]
    compared.append(("corpus", ours["data"]["sha256"], theirs.get("data", {}).get("sha256")))
    compared.append(("number of training rows", ours["data"]["rows"], theirs.get("data", {}).get("rows")))
    compared.append(("label set", _names(ours), _names(theirs)))
    compared.append(("base model", ours["base_model"], theirs.get("base_model")))
    return [entry for entry in compared if entry[1] != entry[2]]


def _names(config: dict[str, Any]) -> str:
    """Return the labels of a classification run; before there were others they were the six."""
    return LabelSet.from_dict(config.get("labels")).shown()


def _total_steps(config: dict[str, Any]) -> int:
    """Return the optimiser steps of a run on one device; 0 if its config does not say."""
    settings = config.get("settings", {})
    if settings.get("max_steps", 0) > 0:
        return settings["max_steps"]
    try:
        batch = settings["batch_size"] * settings["accumulation_steps"]
        return math.ceil(math.ceil(config["data"]["rows"] / batch) * settings["epochs"])
    except KeyError:
        return 0


def _launched_together() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _versions() -> dict[str, str]:
    found = {"emolib": emolib.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _machine() -> dict[str, Any]:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
    }
