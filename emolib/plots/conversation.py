"""A spoken turn as figures: where its time goes, and which emotion was heard in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emolib.errors import InputError
from emolib.plots.chart import BLUE, GREY, ORANGE, Chart, panels

__all__ = ["clauses", "emotion_bars", "latency_waterfall"]

_ROWS = ("endpoint", "recognise", "classify", "reply", "speak", "play")
_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1}
#: One colour a source.
_SOURCES = (BLUE, ORANGE, "#009E73", GREY)
_MARKS = {"first_token": "first token", "first_sound": "first sound"}


def latency_waterfall(turn: Mapping[str, Any]) -> Chart:
    """The stages of one turn of a trace (`emolib talk --trace`) on a line each, overlapping as they did.

    Time runs from the end of the speech. InputError for a turn without stages.
    """
    spans = [span for span in turn.get("spans", ()) if span["stage"] in _ROWS]
    if not spans:
        raise InputError("this turn has no stages to draw; name a turn of a trace that `emolib talk --trace` wrote")
    figure, (axes,) = panels(["One turn"], "milliseconds since the end of the speech", "", grid=False)
    rows = [stage for stage in _ROWS if any(span["stage"] == stage for span in spans)]
    shortest = max(span["end_ms"] for span in spans) / 200
    for span in spans:
        length = max(span["end_ms"] - span["start_ms"], shortest)
        colour = ORANGE if span["stage"] == "play" else BLUE
        axes.barh(
            rows.index(span["stage"]),
            length,
            left=span["start_ms"],
            height=0.5,
            color=colour,
            edgecolor="white",
            lw=0.5,
        )
    for line, (mark, name) in enumerate(_MARKS.items()):
        if (moment := turn.get("marks_ms", {}).get(mark)) is not None:
            axes.axvline(moment, color=GREY, linestyle=":", linewidth=1)
            axes.text(moment, -0.9 + 0.28 * line, f" {name}, {moment} ms", fontsize=8, color=GREY, bbox=_PAPER)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -1.1)
    axes.set_xlim(left=min(0, *(span["start_ms"] for span in spans)))
    columns = ("stage", "start_ms", "end_ms")
    return Chart("latency_waterfall", figure, columns, tuple(tuple(span[key] for key in columns) for span in spans))


def emotion_bars(scores: Mapping[str, Mapping[str, float]]) -> Chart:
    """Draw the probability of each emotion by each source: words, voice, both, for example.

    `scores` maps the name of a source to probabilities by emotion; an emotion that a source does not know is 0.
    InputError if there is no source.
    """
    if not scores:
        raise InputError("there are no emotion scores to draw")
    emotions = list(dict.fromkeys(name for source in scores.values() for name in source))
    figure, (axes,) = panels(["Emotion by source"], "", "probability")
    width = 0.8 / len(scores)
    for place, ((name, source), colour) in enumerate(zip(scores.items(), _SOURCES * len(scores), strict=False)):
        left = [x + (place - (len(scores) - 1) / 2) * width for x in range(len(emotions))]
        axes.bar(left, [source.get(emotion, 0.0) for emotion in emotions], width=0.92 * width, color=colour, label=name)
    axes.set_xticks(range(len(emotions)), emotions)
    axes.set_ylim(0, 1.05)
    axes.legend(frameon=False)
    points = tuple((e, *(round(source.get(e, 0.0), 4) for source in scores.values())) for e in emotions)
    return Chart("emotion_bars", figure, ("emotion", *scores), points)


def clauses(moments: Sequence[tuple[str, int]]) -> Chart:
    """Draw each clause over the characters that it holds, and the character at which it was known to be whole.

    `moments` are those of `emolib.dialogue.segment.clause_moments`. InputError if there is none.
    """
    if not moments:
        raise InputError("there is no clause to draw; give a text")
    figure, (axes,) = panels(["Clauses of a stream"], "characters written", "clause", grid=False)
    points: list[tuple[int, int, int, int]] = []
    start = 0
    for number, (clause, known_at) in enumerate(moments, 1):
        first, label = number == 1, "waits for the next characters"
        axes.barh(number, len(clause), left=start, height=0.5, color=BLUE, label="the clause" if first else None)
        axes.barh(number, known_at - start - len(clause), left=start + len(clause), height=0.5, color=ORANGE,
                  label=label if first else None)  # fmt: skip
        points.append((number, start, start + len(clause), known_at))
        start += len(clause)
    axes.set_yticks(range(1, len(moments) + 1))
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=8)
    return Chart("clauses", figure, ("clause", "start", "end", "known_at"), tuple(points))
