"""Fit the weights of `emolib.speech.vad.FusedDetector`: `python -m benchmarks._fit_detector`.

The training speech is made here by the embedded Piper voice, shifted in pitch to stand for several
speakers, in noise of its own. The recorded clips of `benchmarks.hearing` are never seen.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks._noisy_speech import CALIBRATION, Stream, streams
from emolib.audio import resample
from emolib.models import piper_voice
from emolib.speech import SileroDetector, VoiceDetector, WebRtcDetector, calibrate
from emolib.speech.noise import NoiseFloor, band_powers, frames
from emolib.speech.vad import logit

SENTENCES = (
    "The old boat came home before the storm.",
    "What a fine morning, said she, and opened all the windows at once.",
    "No.",
    "Please bring me the blue book from the upper shelf, if you can reach it.",
    "I never thought that you would come back so soon!",
    "Seven small ships left the harbour; only one came home.",
    "Why?",
    "He whispered the answer, and nobody heard it.",
    "Thank you so much.",
    "Ask the doctor whether these pills make people sleepy.",
    "We walked for hours along the river, talking of nothing in particular.",
    "Stop it, you are scaring the child!",
    "Yes, of course.",
    "Half a pound of sugar, three eggs, and a little salt.",
    "My father fixed the engine with a piece of string.",
    "Zebras usually graze at dawn.",
)


def main() -> None:
    """Print the weights: of the logit of the voice probability, of the excess in dB, and the constant."""
    from sklearn.linear_model import LogisticRegression

    made = list(_training_streams())
    for make in (SileroDetector, lambda: WebRtcDetector(2)):
        features = np.concatenate([_features(stream, make()) for stream in made])
        truth = np.concatenate([stream.truth[CALIBRATION:] for stream in made])
        model = LogisticRegression().fit(features, truth)
        print(type(make()).__name__, *np.round([*model.coef_[0], *model.intercept_], 3))


def _training_streams() -> Iterator[Stream]:
    from piper import PiperVoice

    voice = PiperVoice.load(str(piper_voice()))
    rng = np.random.default_rng(5)
    plain = [np.concatenate([chunk.audio_float_array for chunk in voice.synthesize(text)]) for text in SENTENCES]
    rate = voice.config.sample_rate
    for _ in range(4):
        spoken = [resample(clip, rate, round(16_000 * rng.uniform(0.8, 1.25))) for clip in plain]
        order = rng.permutation(len(spoken))
        yield from streams([spoken[n] for n in order[:7]], [spoken[n] for n in order[7:]], rng, own_noise=True)


def _features(stream: Stream, voice: VoiceDetector) -> np.ndarray:
    floor = NoiseFloor(calibrate(stream.room))
    rows = [(logit(voice.push(frame)), floor.excess_db(band_powers(frame))) for frame in frames(stream.samples)]
    return np.array(rows[CALIBRATION:])


if __name__ == "__main__":
    main()
