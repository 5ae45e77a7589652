"""The same sentences before and after a training: what the base model writes, and what the adapter makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emolib.classify.classifier import softmax
from emolib.errors import UsageError
from emolib.tables import Table, percent

if TYPE_CHECKING:
    from emolib.emotion_model import EmotionModel
    from emolib.evaluate.decoding import Answers

__all__ = ["before_and_after", "free_answers"]

_MOST_CHARACTERS = 40


def free_answers(loaded: EmotionModel, texts: Sequence[str], *, max_new_tokens: int = 8) -> Answers:
    """Return what a loaded model writes after the prompt of each text, greedily and freely, and its label scores."""
    import torch

    from emolib.evaluate.decoding import answer_batch
    from emolib.prompting.prefix import run_prefix

    encoder = loaded.encoder
    with torch.inference_mode():
        prefix = run_prefix(loaded.model, encoder.prefix_ids)
        suffixes = [encoder.suffix_ids(text) for text in texts]
        return answer_batch(loaded.model, encoder, prefix, suffixes, max_new_tokens=max_new_tokens)


def before_and_after(run: str | Path, texts: Sequence[str], start: str = "") -> Table:
    """Return a table of `texts`: the answer of the base model, of the adapter `start` if one is named, and of `run`.

    Behind the answer of `run` stands its confidence. UsageError for no texts.
    """
    from emolib.emotion_model import load_emotion_model

    if not texts:
        raise UsageError("there are no texts to compare; give a list with at least one sentence")
    tuned = load_emotion_model(run)
    after = free_answers(tuned, texts)
    with tuned.without_adapter():
        columns = {"base model": free_answers(tuned, texts).generated}
    if start:
        columns[f"start: {start}"] = free_answers(load_emotion_model(start), texts).generated
    confidences = softmax(after.label_logits / tuned.source.temperature).max(axis=1)
    columns["after training"] = after.generated
    columns["confidence"] = [percent(float(confidence)) for confidence in confidences]
    rows = zip(texts, *(map(_short, answers) for answers in columns.values()), strict=True)
    return Table(["sentence", *columns], [list(row) for row in rows])


def _short(answer: str) -> str:
    text = answer.strip()
    return f"{text[:_MOST_CHARACTERS]}…" if len(text) > _MOST_CHARACTERS else text or "(nothing)"
