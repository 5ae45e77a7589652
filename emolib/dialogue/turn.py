"""One turn of a conversation when it is over: one schema, whichever way it was asked and wherever it is printed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolib.dialogue.policy import Voice
from emolib.dialogue.safety import Distress
from emolib.dialogue.trace import Trace
from emolib.errors import InputError
from emolib.files import write_text
from emolib.labels import EmotionScores

if TYPE_CHECKING:
    from emolib.chat import Understanding

__all__ = ["FALLBACK", "SCHEMA", "Turn", "latency_table", "read_trace", "write_trace"]

#: What is said when the reply model gives nothing that can be spoken.
FALLBACK = "I am sorry, I could not find an answer just now. Could you say that again?"

#: Name and version of `Turn.as_dict`.
SCHEMA = "emolib.turn/1"

#: What a session's latency is summarised by, in the order of a turn.
_MARKS = ("first_token", "first_sound")


@dataclass(frozen=True)
class Turn:
    """A turn that is over.

    `transcript` is what the speaker said or typed; `words` and `voice_emotion` are what was felt in the words and heard
    in the voice (None: nothing), `emotion` what was made of both. `reply` is what was heard of the answer (in text:
    shown), `written` all that was made of it, `reply_from` what wrote it. `prepared`: the answer was begun in the pause
    before the end was known, and `discarded` is how many such answers were not used. `problems` name what failed.
    `pieces` counts the pieces of the reply model's stream. Times of the `trace` count from the end of the speech, or
    from the line of text.
    """

    number: int
    transcript: str
    emotion: EmotionScores
    tone: str
    voice: Voice
    distress: Distress
    reply: str
    written: str
    reply_from: str
    interrupted: bool
    prepared: bool
    problems: tuple[str, ...]
    trace: Trace
    words: EmotionScores | None = None
    voice_emotion: Mapping[str, float] | None = None
    understanding: Understanding | None = None
    pieces: int = 0
    discarded: int = 0
    stack: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the turn as JSON; the keys are those of SCHEMA and are described in docs/turn.md."""
        return {
            "schema": SCHEMA,
            "turn": self.number,
            "transcript": self.transcript,
            "emotion": "neutral" if self.emotion.abstained else self.emotion.label,
            "probabilities": self.emotion.as_dict(),
            "words": _scores(self.words),
            "voice_emotion": _rounded(self.voice_emotion) if self.voice_emotion else None,
            "contradiction": self.contradiction,
            "understanding": self.understanding.model_dump() if self.understanding else None,
            "distress": self.distress.value,
            "tone": self.tone,
            "voice": {"emotion": self.voice.emotion or "neutral", "intensity": self.voice.intensity},
            "reply": self.reply,
            "written": self.written,
            "reply_from": self.reply_from,
            "interrupted": self.interrupted,
            "prepared": self.prepared,
            "discarded": self.discarded,
            "problems": list(self.problems),
            "latency_ms": self.trace.busy_ms(),
            **self.trace.as_dict(),
            "stack": dict(self.stack),
        }

    def table(self) -> str:
        """Return the turn as lines for people."""
        times = self.trace.busy_ms() | self.trace.marks_ms()
        rows = [
            ("heard", self.transcript),
            ("emotion", _described(self.emotion)),
            ("words", _described(self.words) if self.words and self.voice_emotion else ""),
            ("voice", _ranked(self.voice_emotion) if self.voice_emotion else ""),
            ("contrary", self.contradiction or ""),
            ("topic", f"{self.understanding.topic}; needs {self.understanding.need}" if self.understanding else ""),
            ("reply", self.reply),
            ("by", self.reply_from),
            ("tone", self.tone),
            ("spoken", f"{self.voice.emotion or 'neutral'}, intensity {self.voice.intensity:.2f}"),
            ("problems", "; ".join(self.problems)),
            ("ms", ", ".join(f"{stage} {milliseconds}" for stage, milliseconds in times.items())),
        ]
        return "\n".join(f"{name:<8} {value}" for name, value in rows if value)

    @property
    def contradiction(self) -> str | None:
        """What words and voice say if they contradict each other ("words: joy, voice: sadness"), else None."""
        from emolib.speech import contradiction

        return contradiction(self.words, self.voice_emotion) if self.words else None

    @property
    def speed(self) -> str:
        """The time to the first token and the tokens per second, for people."""
        first = self.trace.marks.get("first_token")
        if first is None:
            return "no token"
        shown = f"first token after {first * 1000:.0f} ms"
        seconds = self.trace.marks.get("last_token", first) - first
        return f"{shown}, {(self.pieces - 1) / seconds:.1f} tokens/s" if seconds > 0 else shown


def write_trace(turns: Sequence[Turn | Mapping[str, Any]], path: Path) -> None:
    """Write the turns, or their `Turn.as_dict`, as JSON lines. StorageError when it cannot be written."""
    records = [turn.as_dict() if isinstance(turn, Turn) else turn for turn in turns]
    write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def read_trace(path: Path) -> list[dict[str, Any]]:
    """Return the turns that `write_trace` wrote, each as `Turn.as_dict`.

    Raises InputError when there is no such file, and for a line that is no turn of this schema.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); save a conversation first") from None
    # Not splitlines: JSON leaves U+2028 and its like inside a line as they are.
    lines = [(number, line) for number, line in enumerate(content.split("\n"), 1) if line.strip()]
    return [_read_turn(line, f"{path}, line {number}") for number, line in lines]


#: What a saved turn is read for, and the type of each.
_READ: dict[str, type | tuple[type, ...]] = {
    "transcript": str, "emotion": str, "probabilities": dict, "reply": str, "voice": dict, "interrupted": bool,
    "problems": list,
}  # fmt: skip


def _read_turn(line: str, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise InputError(f"{place} is no turn; each line has the schema {SCHEMA}")
    if wrong := [name for name, kind in _READ.items() if not isinstance(record.get(name), kind)]:
        raise InputError(f"{place}: the turn has no valid {', '.join(wrong)}")
    return record


def latency_table(turns: Sequence[Turn]) -> str:
    """Return the median and the 95th percentile of a session's latencies, as lines for people."""
    lines = []
    for mark in _MARKS:
        times = sorted(turn.trace.marks[mark] for turn in turns if mark in turn.trace.marks)
        if times:
            p95 = times[min(len(times) - 1, round(0.95 * (len(times) - 1)))]
            lines.append(f"{mark:<12} p50 {1000 * statistics.median(times):6.0f} ms   p95 {1000 * p95:6.0f} ms")
    return "\n".join(lines)


def _scores(scores: EmotionScores | None) -> dict[str, Any] | None:
    if scores is None:
        return None
    return {"emotion": "neutral" if scores.abstained else scores.label, "probabilities": scores.as_dict()}


def _rounded(voice: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in voice.items()}


def _described(scores: EmotionScores) -> str:
    return f"{scores.label} ({'unsure, taken as neutral' if scores.abstained else f'{scores.confidence:.0%}'})"


def _ranked(classes: Mapping[str, float]) -> str:
    best = sorted(classes.items(), key=lambda entry: -entry[1])[:3]
    return ", ".join(f"{name.lower()} {share:.0%}" for name, share in best)
