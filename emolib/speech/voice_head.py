"""The emotion of a voice from what Whisper's encoder computes anyway: pooled frames and one linear layer.

The weights were fitted on acted speech by `benchmarks._voice_head`; `weights/README.md` is their card.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from emolib.emotions import NEUTRAL
from emolib.errors import MissingDependency, ModelError
from emolib.speech.whisper_encoder import EncodedSpeech

__all__ = ["HEAD_FILE", "VOICE_CLASSES", "VoiceHead", "bundled_head", "load_heads", "pooled"]

#: The classes in their order: what a voice can tell of our six emotions, and neutral.
VOICE_CLASSES = ("sadness", "joy", "anger", "fear", "surprise", NEUTRAL)

HEAD_FILE = Path(__file__).parent / "weights" / "voice_head.safetensors"

#: Frames within so many dB of the loud ones (95th percentile) are speech.
_SPEECH_DB = 30.0
_TAIL_PARTS = 3
_PARTS = ("weights", "bias", "classes")


@dataclass(frozen=True, eq=False)
class VoiceHead:
    """A linear layer over pooled encoder frames, softmax over its rows, and their sums as our classes.

    `weights` has shape (rows, features), `bias` and `classes` (rows,): the place in `VOICE_CLASSES` of each row.
    """

    weights: np.ndarray
    bias: np.ndarray
    classes: np.ndarray

    def probabilities(self, speech: EncodedSpeech) -> dict[str, float]:
        """Return the calibrated probability of each of `VOICE_CLASSES`."""
        return dict(zip(VOICE_CLASSES, self.scores(pooled(speech)[None])[0].tolist(), strict=True))

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return probabilities of shape (clips, classes) from pooled features of shape (clips, features)."""
        logits = features @ self.weights.T + self.bias
        rows = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = np.stack([rows[:, self.classes == place].sum(axis=1) for place in range(len(VOICE_CLASSES))], axis=1)
        return scores / scores.sum(axis=1, keepdims=True)


def pooled(speech: EncodedSpeech) -> np.ndarray:
    """Return the features of a clip, float32 of shape (6 × width,).

    These are mean and standard deviation over the frames with speech, so that pauses do not count; the mean over the
    silence before the clip; and that over each third of the silence after it. The encoder attends to the whole clip,
    so its output for silence sums it up. They hardly depend on the level of the clip: Whisper's features are relative
    to the loudest frame.
    """
    output = speech.output.astype(np.float32)
    clip, levels = output[speech.clip], speech.levels_db[speech.clip]
    spoken = clip[levels >= np.percentile(levels, 95) - _SPEECH_DB]
    tail = np.array_split(output[speech.clip.stop + 2 :], _TAIL_PARTS)
    lead = output[: speech.clip.start]
    parts = (spoken.mean(axis=0), spoken.std(axis=0), lead.mean(axis=0), *(part.mean(axis=0) for part in tail))
    return np.concatenate(parts)


@lru_cache(maxsize=1)
def bundled_head() -> VoiceHead:
    """Return the bundled head, for the encoder of the embedded Whisper tiny.en. ModelError if its file is damaged."""
    return load_heads(HEAD_FILE)["all"]


def load_heads(path: Path) -> dict[str, VoiceHead]:
    """Return the heads of a safetensors file by name. ModelError if it is damaged, empty or missing."""
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise MissingDependency("the package safetensors", extra="speech") from error
    try:
        arrays = load_file(path)
        names = sorted({name.partition(".")[0] for name in arrays})
        heads = {name: VoiceHead(*(arrays[f"{name}.{part}"] for part in _PARTS)) for name in names}
    except Exception as error:  # safetensors has its own kinds
        raise _unusable(path, str(error) or type(error).__name__) from error
    if not heads:
        raise _unusable(path, "it holds no weights")
    return {name: VoiceHead(head.weights.astype(np.float32), head.bias, head.classes) for name, head in heads.items()}


def _unusable(path: Path, reason: str) -> ModelError:
    return ModelError(f"the voice head {path} cannot be loaded: {reason}; install emolib again")
