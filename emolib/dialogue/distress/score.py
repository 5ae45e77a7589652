"""A learned score of distress: logistic regression over hashed features, read from `weights.safetensors` by numpy.

`benchmarks._fit_distress` trains it. The file has the hashes of the features that count (sorted), two weights for each
(8 bits, for urgent and careful, against none), their scale, and a bias.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from emolib.dialogue.distress.features import hashed

__all__ = ["WEIGHTS", "DistressScore", "score"]

WEIGHTS = Path(__file__).parent / "weights.safetensors"

_DTYPES = {"U32": np.uint32, "I8": np.int8, "F32": np.float32}


@dataclass(frozen=True)
class DistressScore:
    """The probability that a text is urgent, and that it is in distress at all: `urgent` is a part of `distress`."""

    urgent: float
    distress: float


def score(text: str, shift: float = 0.0) -> DistressScore:
    """Return the score of normalised `text`, at most some hundred words: of longer ones the features say less.

    `shift` is added to the logits of distress.
    """
    model = _weights()
    families = [family for family in hashed(text) if family.size]
    if not families:
        return DistressScore(0.0, 0.0)
    found = np.concatenate(families)
    lengths = np.concatenate([np.full(family.size, family.size**-0.5, dtype=np.float32) for family in families])
    places = np.minimum(np.searchsorted(model["hashes"], found), len(model["hashes"]) - 1)
    known = model["hashes"][places] == found
    logits = lengths[known] @ model["weights"][places[known]] * model["scale"] + model["bias"] + shift
    odds = np.exp(np.clip(logits, -30, 30))
    urgent, careful = odds / (1 + odds.sum())
    return DistressScore(float(urgent), float(urgent + careful))


@cache
def _weights() -> Mapping[str, np.ndarray]:
    """The tensors of the file: 8 bytes with the length of the header, the header as JSON, and the data."""
    content = WEIGHTS.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    return {
        name: np.frombuffer(
            content[start + tensor["data_offsets"][0] : start + tensor["data_offsets"][1]], _DTYPES[tensor["dtype"]]
        ).reshape(tensor["shape"])
        for name, tensor in header.items()
        if name != "__metadata__"
    }
