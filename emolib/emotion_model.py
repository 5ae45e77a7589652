"""A base model with an adapter on it, found from a run folder, an adapter folder or a name.

An adapter folder holds what PEFT writes and, beside it, `emolib.json`:

    task            what it was trained for: "classify" (also when absent) or "chat"
    base_model      {"name", "sha256" or "revision"}: the base that it was trained on
    prompt          the name of the instruction template (`emolib.prompting.templates`)
    temperature     divides the label logits; fitted on validation data (1 = as trained)
    abstain_below   the confidence under which a text counts as neutral
    labels          the label set (`emolib.labels.LabelSet.as_dict`); the six emotions when absent
    load_in_4bit    whether the base was in 4 bits in training; on a GPU it then is again
    thresholds      of a multi-label model, the probability of each label from which a text has it
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.errors import MissingDependency, ModelError, UsageError
from emolib.files import expand_user, write_json
from emolib.labels import ABSTAIN_BELOW, CARER, LabelSet
from emolib.models import BaseModel, load_base, resolve_base, same_base
from emolib.prompting.templates import PAPER, Prompt, get_prompt
from emolib.quiet import quiet_transformers

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from emolib.prompting.encoding import PromptEncoder

__all__ = [
    "AdapterSource",
    "EmotionModel",
    "adapter_task",
    "bundled",
    "find_adapter",
    "load_emotion_model",
    "read_adapter_notes",
    "shape_of",
    "write_notes",
]

#: What an adapter folder says about itself beyond PEFT's own files.
NOTES = "emolib.json"

_BUNDLED = Path(__file__).parent / "adapters"

#: What an adapter of each task is for, and which one to name in place of another.
_TASKS = {
    "classify": ("to classify emotions", "name an emotion model, such as everyday"),
    "chat": ("to converse", "name a run of `emolib train --task chat`"),
}


@dataclass(frozen=True)
class AdapterSource:
    """Where an emotion model comes from: the base model's name, and the adapter folder (None = the base alone).

    `base_sha256` is the hash that the adapter was trained on, if it is known; `in_4_bits`, whether the base was in 4
    bits then.
    """

    base: str
    adapter: Path | None
    prompt: Prompt = PAPER
    base_sha256: str | None = None
    temperature: float = 1.0
    abstain_below: float = ABSTAIN_BELOW
    task: str = "classify"
    labels: LabelSet = CARER
    thresholds: tuple[float, ...] = ()
    in_4_bits: bool = False


@dataclass(frozen=True)
class EmotionModel:
    """A loaded base model, with its adapter if there is one, and everything that inference needs.

    `model` is in evaluation mode: a PEFT model, or the plain base. `model.disable_adapter()` gives the base back.
    """

    source: AdapterSource
    base: BaseModel
    model: Any
    tokenizer: PreTrainedTokenizerBase

    @cached_property
    def encoder(self) -> PromptEncoder:
        """The tokens of the prompt and the labels under this model's tokenizer."""
        from emolib.prompting.encoding import PromptEncoder, end_token_id

        end_id = end_token_id(self.model, self.tokenizer)
        longest = getattr(self.model.config, "max_position_embeddings", 2048)
        source = self.source
        return PromptEncoder(
            self.tokenizer, source.prompt, end_id=end_id, labels=source.labels, max_length=min(longest, 2048)
        )

    def without_adapter(self) -> AbstractContextManager[None]:
        """The base model alone, inside a `with` block."""
        return self.model.disable_adapter() if self.source.adapter else nullcontext()

    def merged(self) -> EmotionModel:
        """The same model with its adapter added to the base weights in place, which saves a sixth of the time.

        Only for float32: in fewer bits the sum would round the adapter away.
        """
        import torch

        quantised = getattr(self.model, "is_quantized", False)
        if self.source.adapter is None or self.model.dtype != torch.float32 or quantised:
            return self
        return dataclasses.replace(self, model=self.model.merge_and_unload())


def find_adapter(name: str | Path, *, task: str | None = "classify") -> AdapterSource:
    """Return what `name` means: a run folder, an adapter folder, a bundled adapter, or else a base model.

    InputError or ModelError if a folder is none of these; UsageError if the name is not known, or if the adapter was
    trained for another task than `task` (None: any).
    """
    source = _find(name)
    if task and source.adapter is not None and source.task != task:
        trained, asked = _TASKS.get(source.task, (f"for the task {source.task}", ""))[0], _TASKS[task]
        raise UsageError(f"the adapter {name} was trained {trained}, not {asked[0]}; {asked[1]}")
    return source


def adapter_task(adapter: Path) -> str:
    """Return the task that the adapter in the folder `adapter` was trained for, "classify" or "chat"."""
    return {**_run_notes(adapter.parent / "config.json"), **read_adapter_notes(adapter)}.get("task", "classify")


def _find(name: str | Path) -> AdapterSource:
    from emolib.finetune.run_folder import RunFolder

    path = expand_user(name)
    if (path / "adapter_config.json").is_file():
        return _adapter_source(path)
    if _is_run_folder(path):
        return _adapter_source(RunFolder.open(path).adapter)
    ready = _BUNDLED / str(name)
    if str(name).isidentifier() and (ready / "adapter_config.json").is_file():
        return _adapter_source(ready)
    if not (path / "config.json").is_file() and (isinstance(name, Path) or _looks_like_a_path(path)):
        RunFolder.open(path)  # says what is missing
    try:
        # A merged model (`emolib export --safetensors`) carries the notes of the adapter that is in it.
        return _source(resolve_base(name).name, None, read_adapter_notes(path))
    except UsageError as error:
        known = ", ".join(bundled())
        raise UsageError(
            f"no emotion model {str(name)!r}: it is no run folder or adapter folder"
            f"{f', none of the bundled {known}' if known else ''}, and {error}"
        ) from error


def bundled(task: str = "classify") -> list[str]:
    """Return the names of the adapters for `task` that ship with the package."""
    folders = (path.parent for path in _BUNDLED.glob("*/adapter_config.json"))
    return sorted(folder.name for folder in folders if adapter_task(folder) == task)


def load_emotion_model(
    name: str | Path | AdapterSource, *, dtype: torch.dtype | None = None, device: str | None = None
) -> EmotionModel:
    """Load what `find_adapter` finds, in evaluation mode: on a GPU in 4 bits if the adapter was trained so.

    ModelError if the adapter is damaged or belongs to another base model.
    """
    source = name if isinstance(name, AdapterSource) else find_adapter(name)
    base = resolve_base(source.base)
    _refuse_other_base(source, base)
    with quiet_transformers():
        model, tokenizer = load_base(source.base, dtype=dtype, device=device, in_4_bits=source.in_4_bits)
    if source.adapter is not None:
        model = _with_adapter(model, source)
    return EmotionModel(source, base, model.eval(), tokenizer)


def shape_of(source: AdapterSource) -> EmotionModel:
    """Return the base model of `source` with its tokenizer and shapes, and without any weight."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    from emolib.models import load_tokenizer, model_folder

    base = resolve_base(source.base)
    _refuse_other_base(source, base)
    tokenizer, folder = load_tokenizer(source.base), model_folder(base)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, local_files_only=True))
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return EmotionModel(source, base, model.eval(), tokenizer)


def read_adapter_notes(adapter: Path) -> dict[str, Any]:
    """The `emolib.json` of an adapter folder; empty if there is none."""
    path = adapter / NOTES
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON ({error}); export or train the adapter again") from error


def write_notes(adapter: Path, **changes: Any) -> None:
    """Add `changes` to the `emolib.json` of an adapter folder."""
    write_json(adapter / NOTES, {**read_adapter_notes(adapter), **changes})


def _looks_like_a_path(path: Path) -> bool:
    # "runs/first" could be a hub id as well: where a folder "runs" is here, the run is meant.
    return path.is_dir() or (len(path.parts) > 1 and path.parent.is_dir())


def _is_run_folder(path: Path) -> bool:
    try:
        return "model_type" not in json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _adapter_source(adapter: Path) -> AdapterSource:
    notes = {**_run_notes(adapter.parent / "config.json"), **read_adapter_notes(adapter)}
    base = notes.get("base_model") or {}
    recorded = base.get("name") or _peft_base(adapter)
    found = same_base(recorded)
    if found is None:
        raise ModelError(
            f"the adapter {adapter} was trained on the base model in {recorded}, which is not on this machine; copy"
            f' that folder here, and write {{"base_model": {{"name": "its new path"}}}} into {adapter / NOTES}'
        )
    source = _source(found, adapter, notes)
    return dataclasses.replace(source, base_sha256=base.get("sha256"))


def _source(base: str, adapter: Path | None, notes: Mapping[str, Any]) -> AdapterSource:
    # An export lists the names by themselves too, for others to read.
    labels = LabelSet.from_dict(notes.get("label_set", notes.get("labels")))
    return AdapterSource(
        base=base,
        adapter=adapter,
        prompt=get_prompt(notes.get("prompt", PAPER.name), labels),
        labels=labels,
        thresholds=tuple(map(float, notes.get("thresholds", ()))),
        temperature=float(notes.get("temperature", 1.0)),
        abstain_below=float(notes.get("abstain_below", ABSTAIN_BELOW)),
        task=notes.get("task", "classify"),
        in_4_bits=bool(notes.get("load_in_4bit")),
    )


def _run_notes(path: Path) -> dict[str, Any]:
    if not _is_run_folder(path.parent):
        return {}
    config = json.loads(path.read_text(encoding="utf-8"))
    in_4_bits = bool(config.get("settings", {}).get("load_in_4bit"))
    known = {name: config[name] for name in ("base_model", "prompt", "task", "labels") if name in config}
    return {**known, "load_in_4bit": in_4_bits}


def _peft_base(adapter: Path) -> str:
    path = adapter / "adapter_config.json"
    try:
        base = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON ({error}); train the adapter again") from error
    if not base:
        raise ModelError(f"{adapter} does not say which base model it belongs to; add base_model to its {NOTES}")
    return base


def _refuse_other_base(source: AdapterSource, base: BaseModel) -> None:
    if source.base_sha256 and base.sha256 and source.base_sha256 != base.sha256:
        raise ModelError(
            f"the adapter {source.adapter} was trained on another {source.base}"
            f" (SHA-256 {source.base_sha256[:12]}…, here {base.sha256[:12]}…); train it again on this one"
        )


def _with_adapter(model: PreTrainedModel, source: AdapterSource) -> Any:
    try:
        from peft import PeftModel
    except ImportError:
        raise MissingDependency("peft", extra="train") from None
    try:
        return PeftModel.from_pretrained(model, source.adapter)
    except Exception as error:  # PEFT, safetensors, torch and JSON each have their own kinds
        detail = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"the adapter {source.adapter} does not fit the base model {source.base}, or is damaged ({detail});"
            " train it again, or name its own base model"
        ) from error
