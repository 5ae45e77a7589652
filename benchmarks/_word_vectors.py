"""How emolib/reply_examples/word_vectors.safetensors is made: the input embeddings of SmolLM2-135M, a vector per word.

    python -m benchmarks._word_vectors

The words are those of the corpus of replies and those that are one token of the model. A word's vector is the mean of
its tokens' embeddings, centred and without the three strongest directions (Mu and Viswanath 2018, "All-but-the-Top"),
projected to the 96 strongest of the rest, in int8. The weights are Apache-2.0, and so is the file.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from emolib.models import load_base

_ROOT = Path(__file__).parent.parent / "emolib"
_DIMENSIONS = 96
_STRONGEST = 3


def main() -> int:
    """Write the file."""
    model, tokenizer = load_base("smollm2-135m")[:2]
    embeddings = model.get_input_embeddings().weight.detach().float().numpy()
    said = (_ROOT / "data" / "sample" / "replies.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [message["content"] for line in said for message in json.loads(line)["messages"]]
    own = {word for text in texts for word in re.findall(r"[\w']+", text.lower().replace("’", "'"))}
    plain = {token[1:] for token in tokenizer.get_vocab() if re.fullmatch(r"Ġ[a-z']{2,}", token)}
    words = sorted(own | plain)
    centred = embeddings - embeddings.mean(0)
    used = sorted({token for word in own for token in tokenizer(" " + word).input_ids})
    directions = np.linalg.svd(centred[used], full_matrices=False)[2]
    projected = centred @ directions[_STRONGEST : _STRONGEST + _DIMENSIONS].T
    projected /= np.linalg.norm(projected, axis=1, keepdims=True)
    rows = np.stack([projected[tokenizer(" " + word).input_ids].mean(0) for word in words])
    rows /= np.abs(rows).max(axis=1, keepdims=True)
    table = {
        "words": np.frombuffer("\n".join(words).encode(), np.uint8),
        "vectors": np.round(rows * 127).astype(np.int8),
    }
    save_file(table, _ROOT / "reply_examples" / "word_vectors.safetensors")
    print(f"{len(words):,} words")
    return 0


if __name__ == "__main__":
    sys.exit(main())
