"""What a run records of itself, and whether a folder may be continued."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import emolib
from emolib.errors import UsageError
from emolib.files import write_json
from emolib.finetune.run_folder import RunFolder
from emolib.finetune.settings import TrainSettings
from emolib.finetune.tasks import get_task

if TYPE_CHECKING:
    from emolib.finetune.tasks.base import TaskData
    from emolib.models import BaseModel

__all__ = ["claim", "describe"]

_PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "safetensors", "bitsandbytes", "unsloth", "wandb")

#: Settings that may change between a run and its continuation: they do not change its weights.
_FREE = {"tracking", "project", "checkpoint_steps", "eval_steps", "eval_examples"}


def describe(settings: TrainSettings, base: BaseModel, data: TaskData) -> dict[str, Any]:
    """The content of config.json at the start of a run."""
    return {
        "base_model": base.as_dict(),
        **get_task(settings.task).notes(settings),
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

    UsageError where `resume` is asked for and the folder holds another run, or no run at all. Of several
    processes the main one decides.
    """
    if not _launched_together():
        return _claim(run, config, resume=resume)
    from accelerate import PartialState

    state = PartialState()
    if state.is_main_process:
        _claim(run, config, resume=resume)
    state.wait_for_everyone()
    return not run.has_adapter


def _claim(run: RunFolder, config: dict[str, Any], *, resume: bool) -> bool:
    if not resume:
        for folder in (run.adapter, run.checkpoints):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (run.log_path, run.metrics_path):
            file.unlink(missing_ok=True)
    elif run.config_path.is_file():
        _refuse_other_run(run, config)
        if run.has_adapter:
            return False
    elif run.path.is_file() or (run.path.is_dir() and any(run.path.iterdir())):
        raise UsageError(f"{run.path} exists and is no run folder; choose another --out")
    write_json(run.config_path, config)
    run.checkpoints.mkdir(exist_ok=True)
    return True


def _refuse_other_run(run: RunFolder, config: dict[str, Any]) -> None:
    for name, ours, theirs in _differences(config, run.config):
        raise UsageError(
            f"{run.path} holds a run with another {name} ({theirs}, and now {ours}); choose another --out,"
            " or start it afresh with --no-resume"
        )


def _differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    before = {"task": "classify", **theirs.get("settings", {})}  # the only task there once was
    compared = [(name, value, before.get(name)) for name, value in ours["settings"].items() if name not in _FREE]
    compared.append(("corpus", ours["data"]["sha256"], theirs.get("data", {}).get("sha256")))
    compared.append(("number of training rows", ours["data"]["rows"], theirs.get("data", {}).get("rows")))
    compared.append(("base model", ours["base_model"], theirs.get("base_model")))
    return [entry for entry in compared if entry[1] != entry[2]]


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
