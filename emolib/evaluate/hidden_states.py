"""Where texts lie inside the model: the hidden state that the answer is read from, in two dimensions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emolib.errors import InputError

if TYPE_CHECKING:
    from emolib.data import Corpus
    from emolib.emotion_model import EmotionModel

__all__ = ["HiddenStates", "principal_components", "project_hidden_states"]


@dataclass(frozen=True)
class HiddenStates:
    """N texts in two dimensions, before (adapter off) and after; `explained` is the share of the variance shown.

    `neighbours` is the share of texts whose nearest neighbour, in all dimensions, has the same label.
    """

    labels: Sequence[str]
    points: dict[str, np.ndarray]
    explained: dict[str, float]
    neighbours: dict[str, float]


def project_hidden_states(run: str | Path, corpus: Corpus, *, texts: int = 240, seed: int = 3407) -> HiddenStates:
    """Return the last layer's state at the end of the prompt of some `texts` of `corpus`, projected by PCA.

    InputError if the corpus has fewer than three texts.
    """
    from emolib.emotion_model import load_emotion_model

    if len(corpus) < 3:
        raise InputError(f"{corpus.name} has {len(corpus)} texts; a projection needs three or more")
    rows = sorted(random.Random(seed).sample(range(len(corpus)), min(texts, len(corpus))))
    labels = [corpus.labels[row] for row in rows]
    chosen = [corpus.texts[row] for row in rows]
    loaded = load_emotion_model(run)
    with loaded.without_adapter():
        before = _last_states(loaded, chosen)
    states = {"before: base model": before, "after: fine-tuned": _last_states(loaded, chosen)}
    points, explained, neighbours = {}, {}, {}
    for name, found in states.items():
        points[name], explained[name] = principal_components(found)
        neighbours[name] = _same_neighbour(found, labels)
    return HiddenStates(labels, points, explained, neighbours)


def principal_components(states: np.ndarray) -> tuple[np.ndarray, float]:
    """Return states [N, H] projected on their two directions of largest variance [N, 2], and its share."""
    centred = states - states.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    power = sizes**2
    return left[:, :2] * sizes[:2], float(power[:2].sum() / (power.sum() or 1.0))


def _last_states(loaded: EmotionModel, texts: Sequence[str]) -> np.ndarray:
    """Return the hidden states [N, H] from which the first token of the answer is predicted."""
    import torch

    from emolib.classify.torch_scorer import length_batches
    from emolib.prompting.encoding import pad_texts
    from emolib.prompting.prefix import run_prefix, run_suffixes

    suffixes = [loaded.encoder.suffix_ids(text) for text in texts]
    found: dict[int, Any] = {}
    with torch.inference_mode():
        prefix = run_prefix(loaded.model, loaded.encoder.prefix_ids)
        for rows in length_batches([len(ids) for ids in suffixes], 1024):
            input_ids, last = pad_texts([suffixes[row] for row in rows], pad_id=loaded.encoder.end_id)
            hidden = run_suffixes(loaded.model, prefix, input_ids)
            at_end = hidden[torch.arange(len(rows), device=hidden.device), last.to(hidden.device)]
            found.update(zip(rows, at_end.float().cpu().numpy(), strict=True))
    return np.stack([found[row] for row in range(len(texts))])


def _same_neighbour(states: np.ndarray, labels: Sequence[str]) -> float:
    """Return the share of rows whose nearest other row, by the cosine, has the same label."""
    unit = states - states.mean(axis=0)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -np.inf)
    return float(np.mean([labels[row] == labels[other] for row, other in enumerate(alike.argmax(axis=1))]))
