"""Sound as figures: its wave, its spectrum, who hears speech in it, where it ends, its pitch, and its order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emolib.errors import InputError
from emolib.plots.chart import BLUE, GREY, ORANGE, Chart, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from emolib.audio import AudioClip
    from emolib.speech import Activity, Hearing

__all__ = [
    "endpoint",
    "noise_floor",
    "pitch_curves",
    "spectrogram",
    "speech_order",
    "speech_probabilities",
    "waveform",
]

_SECONDS = "seconds"
#: Points of a drawn wave: each is the lowest and the highest sample of a stretch.
_WAVE_POINTS = 1000
_WINDOW_S, _HOP_S = 0.032, 0.02
_BANDS = 64
_RANGE_DB = 60.0
#: Okabe and Ito's colours again, for up to eight curves.
_COLOURS = ("#000000", "#0072B2", "#E69F00", "#CC79A7", "#D55E00", "#009E73", "#56B4E9", "#8a8a8a")
_SPOKEN = {"color": "#56B4E9", "alpha": 0.18, "linewidth": 0}

#: Stretches of time, in seconds.
Stretches = Sequence[tuple[float, float]]


def waveform(clip: AudioClip, spoken: Stretches = ()) -> Chart:
    """Draw the pressure of the sound over time; the stretches of speech, if they are known, are shaded.

    InputError for a clip without samples.
    """
    figure, (axes,) = panels(["Waveform"], _SECONDS, "amplitude (1 is full scale)")
    points = _draw_wave(axes, clip)
    _shade(axes, spoken)
    axes.set_xlim(0, clip.seconds)
    return Chart("waveform", figure, ("seconds", "lowest", "highest"), points)


def spectrogram(clip: AudioClip) -> Chart:
    """Draw how loud each frequency is over time, in dB below the loudest point.

    Windows of 32 ms, one every 20 ms, averaged into 64 bands from 0 Hz to half the sample rate. InputError for a clip
    shorter than a window.
    """
    levels = _band_levels(clip)
    height = clip.sample_rate / 2
    figure, (axes,) = panels(["Spectrogram"], _SECONDS, "frequency (kHz)", grid=False)
    extent = (0, len(levels) * _HOP_S, 0, height / 1000)
    # In steps of 3 dB the eye sees the same, and the picture is a third as large.
    steps = 3 * np.round(levels.T / 3)
    image = axes.imshow(
        steps,
        interpolation="nearest",
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="magma",
        vmin=-_RANGE_DB,
        vmax=0,
    )
    figure.colorbar(image, ax=axes, label="dB below the loudest point")
    bands = tuple(f"{round(band * height / _BANDS)} Hz" for band in range(_BANDS))
    points = tuple((round(row * _HOP_S, 3), *np.round(level, 1).tolist()) for row, level in enumerate(levels))
    return Chart("spectrogram", figure, ("seconds", *bands), points)


def noise_floor(activity: Activity, spoken: Stretches = ()) -> Chart:
    """Draw the level of each frame, the noise floor as it was followed, and the gate that speech has to exceed."""
    figure, (axes,) = panels(["Level and noise floor"], _SECONDS, "level (dB of full scale)")
    axes.plot(activity.seconds, activity.levels_dbfs, color=BLUE, linewidth=1, label="level of each frame")
    axes.plot(activity.seconds, activity.floor_dbfs, color=ORANGE, label="noise floor")
    axes.axhline(activity.gate_dbfs, color=GREY, linestyle=":", label="gate at calibration")
    _shade(axes, spoken, "somebody speaks")
    axes.set_xlim(0, activity.seconds[-1])
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    axes.set_ylim(top=axes.get_ylim()[1] + 12)
    rows = zip(activity.seconds, activity.levels_dbfs, activity.floor_dbfs, strict=True)
    points = tuple((round(at, 2), round(level, 2), round(floor, 2)) for at, level, floor in rows)
    return Chart("noise_floor", figure, ("seconds", "level_dbfs", "floor_dbfs"), points)


def speech_probabilities(clip: AudioClip, activity: Activity, spoken: Stretches = ()) -> Chart:
    """Draw the wave of `clip`, and under it the probability of speech that each detector gives each frame.

    What lies above the dotted line at 0.5 is taken for speech.
    """
    names = list(activity.probabilities)
    figure, rows = _stacked(["sound", *names])
    _draw_wave(rows[0], clip)
    for axes, name in zip(rows[1:], names, strict=True):
        axes.fill_between(activity.seconds, activity.probabilities[name], step="pre", color=BLUE, linewidth=0)
        axes.axhline(0.5, color=GREY, linewidth=1, linestyle=":")
        axes.set_ylim(0, 1.05)
    for axes in rows:
        _shade(axes, spoken)
    rows[0].set_title("Probability of speech (shaded: somebody speaks)", loc="left", fontweight="bold")
    rows[-1].set_xlim(0, clip.seconds)
    columns = np.column_stack([activity.seconds, *(activity.probabilities[name] for name in names)])
    return Chart("speech_probabilities", figure, ("seconds", *names), tuple(map(tuple, np.round(columns, 4).tolist())))


def endpoint(clip: AudioClip, hearing: Hearing) -> Chart:
    """Draw the wave with the end of each utterance, and under it the silence so far beside the silence that ends it.

    The utterance ends where the two meet. InputError if no utterance was heard.
    """
    if not hearing.pauses:
        raise InputError("no utterance was heard in this recording; speak nearer to the microphone")
    figure, (wave, clock) = _stacked(["sound", "silence (s)"], height=4.4)
    _draw_wave(wave, clip)
    at, silence, wait = (np.array(values) for values in zip(*_with_gaps(hearing), strict=True))
    clock.plot(at, silence, color=BLUE, label="silence so far")
    clock.plot(at, wait, color=ORANGE, linestyle="--", label="silence that ends the utterance")
    for number, end in enumerate(hearing.ends):
        known, spoken = (position / end.clip.sample_rate for position in (end.known_at, end.end))
        wave.axvline(spoken, color=GREY, linestyle=":", label=None if number else "last speech")
        for axes in (wave, clock):
            axes.axvline(known, color=ORANGE, linewidth=1, label="endpoint" if axes is wave and not number else None)
    low, high = wave.get_ylim()
    wave.set_ylim(low, high + 0.6 * (high - low))
    for axes in (wave, clock):
        axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    clock.set_ylim(0, max(1.3 * float(np.nanmax(wait)), 0.1))
    clock.set_xlim(0, clip.seconds)
    wave.set_title("Where the utterance ends", loc="left", fontweight="bold")
    points = tuple((round(one.at, 2), round(one.silence_s, 3), round(one.wait_s, 3)) for one in hearing.pauses)
    return Chart("endpoint", figure, ("seconds", "silence_s", "wait_s"), points)


def pitch_curves(clips: Mapping[str, AudioClip]) -> Chart:
    """Draw the fundamental frequency of each clip over time, with its median in the legend.

    InputError if there is no clip.
    """
    from emolib.speech import pitch_track

    if not clips:
        raise InputError("there is no clip whose pitch could be drawn")
    figure, (axes,) = panels(["Pitch"], _SECONDS, "fundamental frequency (Hz)")
    points: list[tuple[str, float, float]] = []
    for (name, clip), colour in zip(clips.items(), _cycled(len(clips)), strict=True):
        seconds, hz = pitch_track(clip)
        voiced = np.isfinite(hz)
        median = f"{np.median(hz[voiced]):.0f} Hz" if voiced.any() else "no pitch"
        axes.plot(seconds[voiced], hz[voiced], color=colour, linewidth=0.7, alpha=0.4)
        axes.plot(seconds, hz, color=colour, linewidth=2, label=f"{name}, {median}")
        points += [(name, round(at, 3), round(value, 1)) for at, value in zip(seconds[voiced], hz[voiced], strict=True)]
    axes.set_yscale("log")
    ticks = [60, 80, 100, 125, 160, 200, 250, 320]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    if points:
        axes.set_ylim(0.9 * min(point[2] for point in points), 1.1 * max(point[2] for point in points))
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), title="tone, median")
    return Chart("pitch_curves", figure, ("name", "seconds", "hz"), tuple(points))


def speech_order(spoken: Sequence[Mapping[str, Any]]) -> Chart:
    """Draw, for each sentence in the order of the text, when it was asked for, ready and heard.

    Each mapping has `number`, `asked_s`, `ready_s`, `heard_s` and `heard_until_s`. InputError if there is none.
    """
    if not spoken:
        raise InputError("there is no sentence whose order could be drawn")
    figure, (axes,) = panels(["Order under load"], "seconds since the first request", "sentence", grid=False)
    for row in spoken:
        at, first = row["number"], row["number"] == spoken[0]["number"]
        spans = (
            ("asked_s", "ready_s", "synthesised", BLUE, 0.18),
            ("heard_s", "heard_until_s", "heard", ORANGE, -0.18),
        )
        for start, end, label, colour, offset in spans:
            length = row[end] - row[start]
            axes.barh(at - offset, length, left=row[start], height=0.32, color=colour, label=label if first else None)
    axes.set_yticks([row["number"] for row in spoken], [str(row["number"] + 1) for row in spoken])
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=8)
    columns = ("number", "asked_s", "ready_s", "heard_s", "heard_until_s")
    return Chart("speech_order", figure, columns, tuple(tuple(row[name] for name in columns) for row in spoken))


def _stacked(labels: Sequence[str], height: float = 6.0) -> tuple[Figure, list[Axes]]:
    """Return a figure with a narrow panel for each of `labels`, one under the other, over the same seconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, height), dpi=120, layout="constrained")
    drawn = figure.subplots(len(labels), 1, sharex=True)
    for axes, label in zip(drawn, labels, strict=True):
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    drawn[-1].set_xlabel(_SECONDS)
    return figure, list(drawn)


def _draw_wave(axes: Axes, clip: AudioClip) -> tuple[tuple[float, float, float], ...]:
    """Draw the lowest and the highest sample of each stretch, and return them with the second of its middle."""
    if not len(clip):
        raise InputError(f"{clip.name} holds no samples; record it again")
    pieces = np.array_split(clip.samples, min(_WAVE_POINTS, len(clip)))
    ends = np.cumsum([len(piece) for piece in pieces]) / clip.sample_rate
    seconds = ends - np.array([len(piece) for piece in pieces]) / clip.sample_rate / 2
    low, high = (np.array([function(piece) for piece in pieces]) for function in (np.min, np.max))
    axes.fill_between(seconds, low, high, color=BLUE, linewidth=0.3)
    rows = zip(seconds.tolist(), low.tolist(), high.tolist(), strict=True)
    return tuple((round(at, 4), round(least, 5), round(most, 5)) for at, least, most in rows)


def _shade(axes: Axes, spoken: Stretches, label: str | None = None) -> None:
    for number, (start, end) in enumerate(spoken):
        axes.axvspan(start, end, label=None if number else label, **_SPOKEN)


def _band_levels(clip: AudioClip) -> np.ndarray:
    """Return dB below the loudest point, of shape (windows, _BANDS), cut off at the range that is drawn."""
    window, hop = round(_WINDOW_S * clip.sample_rate), round(_HOP_S * clip.sample_rate)
    if len(clip) < window:
        raise InputError(f"{clip.name} has {clip.seconds:.3f} s; a spectrogram needs at least {_WINDOW_S} s of sound")
    rows = np.lib.stride_tricks.sliding_window_view(clip.samples, window)[::hop] * np.hanning(window)
    powers = np.abs(np.fft.rfft(rows)) ** 2
    edges = np.linspace(0, powers.shape[1], _BANDS + 1).round().astype(int)
    bands = np.add.reduceat(powers, edges[:-1], axis=1) / np.diff(edges)
    levels = 10 * np.log10(np.maximum(bands, 1e-12))
    return np.clip(levels - levels.max(), -_RANGE_DB, 0.0)


def _with_gaps(hearing: Hearing) -> list[tuple[float, float, float]]:
    """Return the pauses, with NaN between two utterances, so that no line joins them."""
    rows: list[tuple[float, float, float]] = []
    for pause in hearing.pauses:
        if rows and pause.at - rows[-1][0] > 0.05:
            rows.append((pause.at, np.nan, np.nan))
        rows.append((pause.at, pause.silence_s, pause.wait_s))
    return rows


def _cycled(count: int) -> list[str]:
    return [_COLOURS[number % len(_COLOURS)] for number in range(count)]
