"""What is said: replies of companion, of the base model, and of any other model, to messages held out for judging.

    python -m benchmarks.replies [--quick] [--json FILE] [--model NAME …]
    python -m benchmarks.replies --sheet FILE [--sheet-key FILE]      two replies to each of 200 messages, shuffled
    python -m benchmarks.replies --sheet-score KEY READINGS …         count what the readers wrote

The models are names of `Stack.reply`. Every model answers the same messages in the same run; hits@1 and perplexity are
by the model's own likelihood on torch, for the base model and for adapters. A sheet has 100 messages of held-out
conversations, with what was said before, and 100 that stand alone (`replies_messages.tsv`, written by somebody who had
not seen the corpus), each with two replies, A and B; the key says which model wrote which. Readers answer by the rubric
in benchmarks/replies_rubric.md, a JSON line per reply: {"id": 3, "reply": "A", "kind": 1, "to_the_point": 1,
"coherent": 1, "not_hurtful": 1}, and a line per pair: {"id": 3, "preferred": "A"}.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import random
import re
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from benchmarks._report import Report
from emolib.errors import InputError
from emolib.evaluate.replies import Exchange, held_out_exchanges, likelihoods, reply_scores
from emolib.prompting.chat import Message
from emolib.stack import open_reply_model

_PACKAGES = ("xllamacpp", "torch", "transformers")
_MESSAGES, _QUICK_MESSAGES = 200, 30
_LIKELIHOODS, _QUICK_LIKELIHOODS = 60, 15
_SHEET = 100
_ALONE = Path(__file__).parent / "replies_messages.tsv"
#: A reader's line: number, kind, to the point, coherent and not hurtful of A and of B, and the preferred one.
_READING = re.compile(r"(\d+) A([01]{4}) B([01]{4}) P=(A|B|neither)")
_RUBRIC = ("kind", "to_the_point", "coherent", "not_hurtful")


def main() -> int:
    """Measure, write a sheet, or score one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replies")
    parser.add_argument("--quick", action="store_true", help="fewer messages, the same figures")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--model", nargs="+", default=["companion", "base"], help="names of Stack.reply")
    parser.add_argument("--sheet", type=Path, help="write a sheet of the first two models for blind reading")
    parser.add_argument("--sheet-key", type=Path, help="where the key goes (default: beside the sheet)")
    parser.add_argument("--sheet-score", type=Path, nargs="+", metavar="FILE", help="the key, then the readings")
    options = parser.parse_args()
    if options.sheet_score:
        print(_score_sheet(options.sheet_score[0], options.sheet_score[1:]))
        return 0
    if options.sheet:
        _write_sheet(options.model[:2], options.sheet, options.sheet_key or options.sheet.with_suffix(".key.json"))
        return 0
    report = Report("replies", _PACKAGES)
    for name in options.model:
        row = _measure(name, options.quick)
        report.rows.append({"model": name, **row})
        if name == options.model[0]:
            report.figures.update(row)
    print(report.table())
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report.as_dict(), indent=2) + "\n", encoding="utf-8")
    return 0


def _measure(name: str, quick: bool) -> dict[str, float]:
    exchanges = held_out_exchanges(limit=_QUICK_MESSAGES if quick else _MESSAGES)
    replies, first_ms, rate = asyncio.run(_replies(name, exchanges))
    found = reply_scores(exchanges, replies).as_dict()
    on_torch = {"base": "smollm2-135m", "embedded": "companion"}.get(name, name)
    if not on_torch.startswith(("http", "gpt", "auto")) and not on_torch.endswith(".gguf"):
        few = exchanges[: _QUICK_LIKELIHOODS if quick else _LIKELIHOODS]
        found |= likelihoods(on_torch, few, others=exchanges).as_dict()
    return {name: round(value, 4) for name, value in found.items()} | {"first_token_ms": first_ms, "tokens_per_s": rate}


async def _replies(name: str, exchanges: Sequence[Exchange]) -> tuple[list[str], float, float]:
    """Return the replies, the median time to the first token, and the median tokens per second."""
    model = open_reply_model(name)
    model.start()
    replies, firsts, rates = [], [], []
    try:
        for exchange in exchanges:
            began, times, pieces = time.monotonic(), [], []
            async with aclosing(model.stream(exchange.history, None, exchange.history[-1].emotion)) as stream:
                async for piece in stream:
                    times.append(time.monotonic())
                    pieces.append(piece)
            replies.append("".join(pieces).strip())
            firsts.append(1000 * (times[0] - began))
            if len(times) > 1 and times[-1] > times[0]:
                rates.append((len(times) - 1) / (times[-1] - times[0]))
    finally:
        await model.aclose()
    return replies, round(statistics.median(firsts), 1), round(statistics.median(rates), 1)


def _write_sheet(names: Sequence[str], sheet: Path, key: Path) -> None:
    exchanges = [*held_out_exchanges(limit=_SHEET), *_messages_alone()]
    written = {name: asyncio.run(_replies(name, exchanges))[0] for name in names}
    chance = random.Random()
    rows: list[dict[str, Any]] = []
    keys: dict[str, dict[str, str]] = {}
    for number, exchange in enumerate(exchanges):
        first, second = chance.sample(list(names), 2) if len(names) == 2 else (names[0], names[0])
        before = [f"{message.role}: {message.content}" for message in exchange.history[:-1]]
        rows.append(
            {"id": number, "before": before, "message": exchange.message, "A": written[first][number],
             "B": written[second][number]}
        )  # fmt: skip
        keys[str(number)] = {"A": first, "B": second}
    sheet.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    key.write_text(json.dumps(keys, indent=1) + "\n", encoding="utf-8")
    print(f"{sheet}: {len(rows)} messages; {key} says which reply is whose")


def _messages_alone() -> list[Exchange]:
    """Return messages without a conversation and without a known reply, in random order."""
    with _ALONE.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    chosen = random.Random(_SHEET).sample(rows, _SHEET)
    return [Exchange((Message("user", row["message"], row["emotion"]),), "") for row in chosen]


def _score_sheet(key: Path, readings: Sequence[Path]) -> str:
    """Return the share of replies with all four yes (by the majority of readers), and of preferences, per model.

    The replies to messages of held-out conversations and to messages alone are counted by themselves too.
    """
    keys = json.loads(key.read_text(encoding="utf-8"))
    votes: dict[tuple[str, int], list[bool]] = defaultdict(list)
    singles: dict[str, Counter[str]] = defaultdict(Counter)
    preferred: Counter[str] = Counter()
    for number, verdicts, choice in (row for reading in readings for row in _verdicts(reading)):
        whose = keys[number]
        preferred[whose.get(choice, "neither")] += 1
        for letter, digits in verdicts.items():
            found = {name: digit == "1" for name, digit in zip(_RUBRIC, digits, strict=True)}
            votes[whose[letter], int(number)].append(all(found.values()))
            singles[whose[letter]].update({"read": 1, **found})
    lines = []
    for model in sorted({model for model, _ in votes}):
        judged = {number: sum(found) * 2 > len(found) for (name, number), found in votes.items() if name == model}
        read = singles[model]["read"]
        parts = ", ".join(f"{name} {singles[model][name] / read:.1%}" for name in _RUBRIC)
        lines.append(f"{model:<12} all four yes for {_share(judged.values())} of {len(judged)} replies ({parts})")
        held_out = [right for number, right in judged.items() if number < _SHEET]
        alone = [right for number, right in judged.items() if number >= _SHEET]
        lines.append(f"{'':<12} in held-out conversations {_share(held_out)}, to messages alone {_share(alone)}")
    chosen = sum(count for model, count in preferred.items() if model != "neither")
    lines += [
        f"{model:<12} preferred in {count / max(chosen, 1):.1%} of {chosen}" for model, count in preferred.items()
    ]
    return "\n".join(lines)


def _share(judged: Collection[bool]) -> str:
    return f"{sum(judged) / max(len(judged), 1):.1%}"


def _verdicts(reading: Path) -> Iterator[tuple[str, dict[str, str], str]]:
    """Yield number, verdicts and preference of each line "17 A1111 B1010 P=A"."""
    for line in reading.read_text(encoding="utf-8").splitlines():
        found = _READING.fullmatch(line.strip())
        if not found:
            raise InputError(f'{reading}: {line!r} is no verdict; write lines such as "17 A1111 B1010 P=A"')
        yield found[1], {"A": found[2], "B": found[3]}, found[4]


if __name__ == "__main__":
    sys.exit(main())
