"""How the bundled adapter `companion` is trained: the marks of its corpus, and the command.

    python -m benchmarks._companion_recipe OUT
    emolib train --task chat --data OUT/train.jsonl --validation OUT/heldout.jsonl --out runs/companion \\
        --set epochs=2 eval_steps=100 eval_examples=48

In the corpus each message of the user carries the emotion that its author meant. In a conversation the mark is the tone
that the policy chooses, from what `everyday` hears. So the training file has the policy's tones, and of 40 % of the
messages the emotion is exchanged for one that `everyday` confuses it with, as often as it does so on the held-out half:
it is silent about most of such sentences, and a reply has to suit the words then.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emolib.classify import EmotionClassifier
from emolib.dialogue import choose_style
from emolib.dialogue.safety import CALM
from emolib.emotions import EMOTIONS
from emolib.labels import EmotionScores

_SAMPLE = Path(__file__).parent.parent / "emolib" / "data" / "sample"
_CONFUSED = 0.4
_SURE = 0.9
_SEED = 3407


def main() -> int:
    """Write train.jsonl and heldout.jsonl."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks._companion_recipe")
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    held_out, train = (_read(_SAMPLE / name) for name in ("replies_heldout.jsonl", "replies.jsonl"))
    chance = random.Random(_SEED)
    confusion = _confusion(held_out)
    chance.shuffle(train)
    _write(out / "train.jsonl", [_marked(messages, confusion, chance, _CONFUSED) for messages in train])
    _write(out / "heldout.jsonl", [_marked(messages, confusion, chance, 0.0) for messages in held_out])
    return 0


def _confusion(conversations: Sequence[Sequence[Mapping[str, str]]]) -> dict[str, Counter[str]]:
    """Return how often `everyday` hears each emotion as which."""
    messages = [message for messages in conversations for message in messages if message["role"] == "user"]
    heard = EmotionClassifier.load("everyday").classify([message["content"] for message in messages])
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for message, scores in zip(messages, heard, strict=True):
        found[message["emotion"]]["neutral" if scores.abstained else scores.label] += 1
    return found


def _marked(
    messages: Sequence[Mapping[str, str]], confusion: Mapping[str, Counter[str]], chance: random.Random, share: float
) -> list[dict[str, str]]:
    marked, felt = [], []
    for message in messages:
        if message["role"] == "user":
            emotion = message["emotion"]
            if chance.random() < share:
                emotion = chance.choices(list(confusion[emotion]), list(confusion[emotion].values()))[0]
            felt.append(_scores(emotion))
            message = {**message, "emotion": CALM.tone if emotion == CALM.tone else choose_style(felt).tone}
        marked.append(dict(message))
    return marked


def _scores(emotion: str) -> EmotionScores:
    if emotion not in EMOTIONS:
        return EmotionScores.from_sequence([1 / len(EMOTIONS)] * len(EMOTIONS))
    rest = (1 - _SURE) / (len(EMOTIONS) - 1)
    return EmotionScores({label: _SURE if label == emotion else rest for label in EMOTIONS})


def _read(path: Path) -> list[list[dict[str, str]]]:
    return [json.loads(line)["messages"] for line in path.read_text(encoding="utf-8").splitlines()]


def _write(path: Path, conversations: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    rows = (json.dumps({"messages": messages}, ensure_ascii=False) + "\n" for messages in conversations)
    path.write_text("".join(rows), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
