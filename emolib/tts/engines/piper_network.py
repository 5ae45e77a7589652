"""The network of a Piper voice in two halves, so that its sound comes piece by piece.

VITS (Kim, Kong and Son 2021, "Conditional variational autoencoder with adversarial learning for end-to-end
text-to-speech") makes a sequence of hidden frames from the phonemes, and its generator, most of the work, makes 256
samples from each of them. A sample depends on no more than a dozen frames around its own, so a piece of the frames with
some more on either side gives the same sound as the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import numpy as np

from emolib.errors import MissingDependency, StorageError

__all__ = ["PiperNetwork"]

#: Where the generator begins, in every export of Piper's.
_GENERATOR = "/dec/conv_pre/Conv"
#: Frames that a piece is given on either side: the generator of the medium voices looks at 10, of the high ones at 13.
_AROUND = 13
#: Frames of the pieces before the last, of 12 ms each, by the least length of the whole. Each costs 2 x _AROUND more,
#: and the last must be there before the ones before it were heard.
_CUTS = ((320, (32, 128)), (96, (32,)), (0, ()))


class PiperNetwork:
    """The voice in the file `voice` on onnxruntime.

    A voice of another make, such as one of several speakers, is left whole, and gives its sound in one piece.
    """

    def __init__(self, voice: Path, options: Any) -> None:
        try:
            import onnx
            import onnxruntime
            from onnx.utils import Extractor
        except ImportError as error:
            raise MissingDependency(f"the package {error.name}", extra="tts") from error

        def session(model: Any) -> Any:
            # Through a file: of a model that is given as bytes, onnxruntime keeps them as long as the session.
            try:
                with TemporaryDirectory() as folder:
                    path = f"{folder}/half.onnx"
                    onnx.save(model, path)
                    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            except OSError as error:
                raise StorageError(f"the voice needs 70 MB in {gettempdir()} while it is loaded: {error}") from error

        model = onnx.load(str(voice))
        self._frames = _frames_of(model)
        self._generator = None
        if self._frames is None:
            self._first = onnxruntime.InferenceSession(str(voice), options, providers=["CPUExecutionProvider"])
            return
        halves = Extractor(model)
        inputs = [entry.name for entry in model.graph.input]
        self._generator = session(halves.extract_model([self._frames], [model.graph.output[0].name]))
        self._first = session(halves.extract_model(inputs, [self._frames]))

    def sound(self, inputs: dict[str, np.ndarray]) -> Iterator[tuple[np.ndarray, bool]]:
        """The sound of one run of phonemes, given as Piper's inputs: float32 pieces, and of each whether it ends it."""
        found = self._first.run(None, inputs)[0]
        if self._generator is None:
            yield np.atleast_1d(found.squeeze()), True
            return
        count = found.shape[-1]
        pieces = next(lengths for least, lengths in _CUTS if count >= least)
        for start, end in pairwise([*accumulate(pieces, initial=0), count]):
            before = min(start, _AROUND)
            frames = found[:, :, start - before : end + _AROUND]
            samples = self._generator.run(None, {self._frames: frames})[0].squeeze()
            hop = len(samples) // frames.shape[-1]
            yield samples[before * hop : (before + end - start) * hop], end == count


def _frames_of(model: Any) -> str | None:
    """What the generator makes the sound of; None where it is not found, or wants more than that."""
    generator = [node for node in model.graph.node if node.name.startswith("/dec/")]
    first = next((node for node in generator if node.name == _GENERATOR), None)
    if first is None:
        return None
    known = {entry.name for entry in model.graph.initializer} | {name for node in generator for name in node.output}
    wanted = {name for node in generator for name in node.input} - known - {""}
    return first.input[0] if wanted == {first.input[0]} else None
