"""Label scores from a torch model: the prompt's constant part is run once, then one pass over each text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from emolib.emotion_model import EmotionModel
    from emolib.prompting.encoding import PromptEncoder
    from emolib.prompting.prefix import Prefix

__all__ = ["TorchScorer", "length_batches"]

#: Tokens of texts that are run at once: enough to keep two cores or a GPU busy.
_BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}
#: Up to so many tokens one core is as fast as two, and in a dialogue the other one is the reply model's.
_ONE_CORE_TOKENS = 48


@dataclass(frozen=True)
class TorchScorer:
    """Scores from the logits of the tokens that tell the labels apart (`emolib.prompting.label_trie`)."""

    model: Any
    encoder: PromptEncoder
    prefix: Prefix
    batch_tokens: int

    @classmethod
    def of(cls, loaded: EmotionModel) -> TorchScorer:
        """The scorer of a loaded model, which keeps its adapter apart."""
        import torch

        from emolib.prompting.prefix import run_prefix

        with torch.inference_mode():
            prefix = run_prefix(loaded.model, loaded.encoder.prefix_ids)
        return cls(loaded.model, loaded.encoder, prefix, _BATCH_TOKENS.get(loaded.model.device.type, 4096))

    def label_logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return the scores [N, K] of `texts` in the order of the labels, in float32."""
        import torch

        from emolib.prompting.encoding import pad_texts
        from emolib.prompting.prefix import label_scores

        suffixes = [self.encoder.suffix_ids(text) for text in texts]
        scores = np.empty((len(texts), len(self.encoder.labels)), dtype=np.float32)
        with torch.inference_mode(), _cores_for(sum(map(len, suffixes))):
            for rows in length_batches([len(ids) for ids in suffixes], self.batch_tokens):
                input_ids, last = pad_texts([suffixes[row] for row in rows], pad_id=self.encoder.end_id)
                scores[rows] = label_scores(self.model, self.encoder, self.prefix, input_ids, last)
        return scores


@contextmanager
def _cores_for(tokens: int) -> Iterator[None]:
    """One core for a short text, all of torch's for more."""
    import torch

    before = torch.get_num_threads()
    if tokens > _ONE_CORE_TOKENS or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def length_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Row numbers in batches of similar length, each of at most `batch_tokens` padded tokens (or one row)."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and lengths[order[end]] * (end + 1 - start) <= batch_tokens:
            end += 1
        yield order[start:end]
        start = end
