"""Acted speech of actors the recogniser has not met, and what microphones and rooms make of it.

The clips are those of RAVDESS (Livingstone and Russo, 2018) in `speech_acted/` of EMOLIB_DATA: two sentences in eight
emotions and two strengths. Their licence (CC BY-NC-SA 4.0) allows education and research; none of them is copied.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks._noisy_speech import RATE, data_folder, in_noise, speech_frames
from emolib.audio import AudioClip, read_audio, resample
from emolib.errors import InputError
from emolib.speech.noise import FRAME

__all__ = ["TUNING_ACTORS", "Acted", "acted_clips", "joined", "spoken_part", "variants"]

#: On these the recogniser's window was chosen; the other six judge it.
TUNING_ACTORS = frozenset({"01", "04", "06", "09", "11", "14"})

#: RAVDESS's eight emotions as our classes: calm counts as neutral, disgust as anger.
CLASSES = {
    "neutral": "neutral",
    "calm": "neutral",
    "happy": "joy",
    "sad": "sadness",
    "angry": "anger",
    "fearful": "fear",
    "disgust": "anger",
    "surprised": "surprise",
}


@dataclass(frozen=True, eq=False)
class Acted:
    """A clip with what was said in it, how, and by whom."""

    clip: AudioClip
    text: str
    actor: str
    emotion: str
    strength: str

    @property
    def label(self) -> str:
        """The emotion as one of our classes, "neutral" included."""
        return CLASSES[self.emotion]


def acted_clips() -> list[Acted]:
    """Read all clips at 16 kHz. InputError if the folder is missing."""
    folder = data_folder() / "speech_acted"
    table = folder / "clips.tsv"
    if not table.is_file():
        raise InputError(f"{table} is missing: the acted clips are not part of this repository; set EMOLIB_DATA")
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [
        Acted(
            read_audio(folder / row["file"]).resample(RATE),
            row["transcript"],
            row["actor"],
            row["emotion"],
            row["intensity"],
        )
        for row in rows
    ]


def spoken_part(samples: np.ndarray) -> np.ndarray:
    """Cut a clip as the endpointer does: 0.3 s before its first speech, 0.15 s after its last."""
    spoken = np.flatnonzero(speech_frames(samples))
    if not len(spoken):
        return samples
    first, last = spoken[0] * FRAME - 3 * RATE // 10, (spoken[-1] + 1) * FRAME + 15 * RATE // 100
    return samples[max(0, first) : last]


def joined(clips: Sequence[Acted], count: int, rng: np.random.Generator, parts: int = 2) -> Iterator[Acted]:
    """Yield `count` utterances of `parts` clips of one actor, with pauses of 0.2 to 1.2 s between them."""
    for _ in range(count):
        first = clips[rng.integers(len(clips))]
        same = [each for each in clips if each.actor == first.actor]
        chosen = [first, *(same[place] for place in rng.integers(len(same), size=parts - 1))]
        pieces = [spoken_part(each.clip.samples) for each in chosen]
        sound = [pieces[0]]
        for piece in pieces[1:]:
            pause = rng.standard_normal(int(rng.uniform(0.2, 1.2) * RATE)) * 10 ** (-70 / 20)
            sound += [pause.astype(np.float32), piece]
        text = " ".join(each.text for each in chosen)
        yield Acted(AudioClip(np.concatenate(sound), RATE), text, first.actor, first.emotion, first.strength)


def variants(rng: np.random.Generator) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return what is done to the samples of a clip, by name."""
    return {
        "as the endpointer cuts it": lambda samples: samples,
        "8 kHz": lambda samples: resample(resample(samples, RATE, 8_000), 8_000, RATE),
        "1.25 times as fast": lambda samples: resample(samples, RATE * 5 // 4, RATE),
        "0.8 times as fast": lambda samples: resample(samples, RATE * 4 // 5, RATE),
        "noise at 10 dB": lambda samples: _noisy(samples, rng),
        "soft (-34 dB peak)": lambda samples: _soft(samples, rng),
    }


def _noisy(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    whole = samples[: len(samples) // FRAME * FRAME]
    return in_noise(whole, speech_frames(whole), str(rng.choice(["white", "pink", "hum"])), 10.0, (), rng)


def _soft(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    room = rng.standard_normal(len(samples)) * 10 ** (-72 / 20)
    return (samples * (0.02 / np.abs(samples).max()) + room).astype(np.float32)
