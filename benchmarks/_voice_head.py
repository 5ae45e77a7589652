"""Fit `emolib.speech.voice_head`: `python -m benchmarks._voice_head [--features FILE]`.

The speech is that of 12 actors (`benchmarks._acted_speech`): each clip whole, as the endpointer cuts it, three times
with another speed, level, bandwidth, equaliser, room and noise, and once without its end. Our embedded voice reading
plain sentences is neutral, and so are noises and tones without words. A linear discriminant analysis with a shrunk
covariance tells RAVDESS's eight emotions apart; the rows of calm and disgust count as neutral and anger. Everything is
judged by leaving two speakers out at a time. These six heads stand beside the benchmarks, so that a clip can be judged
by a head that never met its speaker. Takes six minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from benchmarks._acted_speech import CLASSES, acted_clips, spoken_part
from benchmarks._fit_detector import SENTENCES
from benchmarks._noisy_speech import RATE, level_to, make_noise, speech_frames
from emolib.audio import resample
from emolib.files import atomic_path
from emolib.models import piper_voice, whisper_dir
from emolib.speech.noise import FRAME
from emolib.speech.voice_head import HEAD_FILE, VOICE_CLASSES, VoiceHead, pooled
from emolib.speech.whisper_encoder import WhisperEncoder

__all__ = ["FOLDS_FILE", "encoder", "fold_of", "uar"]

FOLDS_FILE = Path(__file__).parent / "_voice_head_folds.safetensors"

_ACTORS = ("01", "02", "04", "05", "06", "08", "09", "10", "11", "13", "14", "16")
_FOLDS = 6
_EMOTIONS = tuple(CLASSES)
#: The rows of our embedded voice and of sounds without words, after those of the actors' emotions.
_READ, _WORDLESS = len(_EMOTIONS), len(_EMOTIONS) + 1
_ROW_CLASSES = np.array([VOICE_CLASSES.index(name) for name in (*CLASSES.values(), "neutral", "neutral")])
_WORDLESS_COUNT = 180
_SHRINKAGE = 0.3
_CLEAN, _CHAINS, _BEGINNING, _OURS, _WHOLE, _NO_WORDS = (0,), (1, 2, 3), (4,), (5,), (6,), (7,)


@dataclass(frozen=True, eq=False)
class Examples:
    """Pooled features, and the row, the fold in which it is left out, and the variant of each."""

    features: np.ndarray
    rows: np.ndarray
    folds: np.ndarray
    variants: np.ndarray

    @property
    def classes(self) -> np.ndarray:
        """The place of each in `VOICE_CLASSES`."""
        return _ROW_CLASSES[self.rows]

    def only(self, chosen: np.ndarray) -> Examples:
        """Return those for which `chosen` is true."""
        return Examples(*(values[chosen] for values in (self.features, self.rows, self.folds, self.variants)))


def main() -> None:
    """Fit, judge by leaving speakers out, and write the two files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks._voice_head")
    parser.add_argument("--features", type=Path, help="keep the features in this .npz file, and read them from it")
    examples = _examples(parser.parse_args().features)
    heads = {f"fold{fold}": _fit(examples.only(examples.folds != fold)) for fold in range(_FOLDS)}
    temperature = _temperature(examples, heads)
    unmet = _unmet_scores(examples, {name: _at(temperature, head) for name, head in heads.items()})
    for name, variants in (
        ("as the endpointer cuts it", _CLEAN),
        ("whole", _WHOLE),
        ("another chain", _CHAINS),
        ("first 50 to 90 %", _BEGINNING),
    ):
        chosen = np.isin(examples.variants, variants)
        scores, classes = unmet[chosen], examples.classes[chosen]
        print(f"{name}: UAR {uar(scores, classes):.3f}, accuracy {np.mean(scores.argmax(axis=1) == classes):.3f}")
        print("  recall", _recalls(scores, classes), "ECE", _calibration_error(scores, classes))
    for name, variants in (("our voice, plain", _OURS), ("without words", _NO_WORDS)):
        means = unmet[np.isin(examples.variants, variants)].mean(axis=0)
        print(f"{name}:", dict(zip(VOICE_CLASSES, means.round(2).tolist(), strict=True)))
    print(f"temperature {temperature:.2f}")
    _save(HEAD_FILE, {"all": _fit(examples)}, temperature)
    _save(FOLDS_FILE, heads, temperature)


def encoder() -> WhisperEncoder:
    """Load the encoder of the embedded tiny.en."""
    from faster_whisper import WhisperModel

    return WhisperEncoder(WhisperModel(str(whisper_dir()), device="cpu", compute_type="int8", cpu_threads=1))


def fold_of(actor: str) -> str:
    """Return the name of the head that never met `actor`."""
    return f"fold{_ACTORS.index(actor) % _FOLDS}"


def uar(scores: np.ndarray, classes: np.ndarray) -> float:
    """Return the unweighted average recall of the most probable class."""
    found = scores.argmax(axis=1)
    return float(np.mean([np.mean(found[classes == each] == each) for each in np.unique(classes)]))


# --- examples ------------------------------------------------------------------------------------


def _examples(cache: Path | None) -> Examples:
    if cache and cache.is_file():
        with np.load(cache) as found:
            return Examples(*(found[name] for name in ("features", "rows", "folds", "variants")))
    encode = encoder().encode
    found = [(pooled(encode(samples)), *rest) for samples, *rest in chain(_acted(), _our_voice(), _wordless())]
    features, *rest = zip(*found, strict=True)
    examples = Examples(np.stack(features), *(np.array(values) for values in rest))
    if cache:
        np.savez(cache, **vars(examples))
    return examples


def _acted() -> Iterator[tuple[np.ndarray, int, int, int]]:
    rng = np.random.default_rng(11)
    for each in acted_clips():
        samples = spoken_part(each.clip.samples)
        row, fold = _EMOTIONS.index(each.emotion), _ACTORS.index(each.actor) % _FOLDS
        yield samples, row, fold, _CLEAN[0]
        yield each.clip.samples, row, fold, _WHOLE[0]
        for variant in _CHAINS:
            yield _other_chain(_with_margins(each.clip.samples, rng), rng), row, fold, variant
        yield samples[: int(len(samples) * rng.uniform(0.5, 0.9))], row, fold, _BEGINNING[0]


def _with_margins(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut a clip up to a second before and after what the endpointer takes."""
    spoken = np.flatnonzero(speech_frames(samples)) * FRAME
    first, last = spoken[0] - int(rng.uniform(0, 1.0) * RATE), spoken[-1] + FRAME + int(rng.uniform(0, 1.0) * RATE)
    return samples[max(0, first) : last]


def _our_voice() -> Iterator[tuple[np.ndarray, int, int, int]]:
    from piper import PiperVoice

    rng = np.random.default_rng(12)
    voice = PiperVoice.load(str(piper_voice()))
    for number, text in enumerate(SENTENCES):
        plain = np.concatenate([chunk.audio_float_array for chunk in voice.synthesize(text)])
        for _ in range(6):
            # Hardly shifted in pitch and speed: further away are its renderings of the emotions.
            shifted = resample(plain, voice.config.sample_rate, round(RATE * rng.uniform(0.97, 1.03)))
            yield _other_chain(shifted, rng), _READ, number % _FOLDS, _OURS[0]


def _wordless() -> Iterator[tuple[np.ndarray, int, int, int]]:
    """Yield noises, and tones of a wandering pitch, steady or in bursts."""
    rng = np.random.default_rng(13)
    for number in range(_WORDLESS_COUNT):
        t = np.arange(int(rng.uniform(1.0, 4.0) * RATE)) / RATE
        noise = make_noise(str(rng.choice(["white", "pink", "hum"])), len(t), rng, ())
        sound = (level_to(noise, 1.0), level_to(_tone(t, rng), 1.0))[number % 2]
        if rng.random() < 0.3:
            sound = sound + rng.uniform(0.1, 0.7) * level_to(noise, 1.0)
        if rng.random() < 0.6:
            sound = sound * np.maximum(0.02, np.sin(2 * np.pi * rng.uniform(0.5, 7.0) * t)) ** rng.uniform(0.5, 3.0)
        yield _other_chain(sound.astype(np.float32), rng), _WORDLESS, number % _FOLDS, _NO_WORDS[0]


def _tone(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one to three voices of harmonics, coloured at random, whose pitch glides from note to note."""
    sound = np.zeros(len(t))
    for _ in range(rng.integers(1, 4)):
        notes = rng.uniform(90.0, 500.0) * 2.0 ** (rng.uniform(-4, 4, 8) / 12.0)
        phase = 2 * np.pi * np.cumsum(np.interp(t, np.linspace(0, t[-1], 8), notes)) / RATE
        gains = rng.exponential(1.0, 12) * rng.uniform(0.4, 0.9) ** np.arange(12)
        sound += sum(gain * np.sin(harmonic * phase) for harmonic, gain in enumerate(gains, 1))
    return sound


def _other_chain(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another speed, bandwidth, equaliser, room, noise and level."""
    sound = resample(samples, RATE, round(RATE * rng.uniform(0.92, 1.08))).astype(np.float64)
    if rng.random() < 0.3:
        sound = resample(resample(sound, RATE, RATE // 2), RATE // 2, RATE)
    spectrum = np.fft.rfft(sound)
    gains = np.interp(np.linspace(0, 5, len(spectrum)), np.arange(6), rng.uniform(-8, 8, 6))
    sound = np.fft.irfft(spectrum * 10 ** (gains / 20), len(sound))
    if rng.random() < 0.3:
        decay = np.exp(-np.arange(RATE // 4) / RATE / rng.uniform(0.03, 0.08))
        room = 0.15 * rng.standard_normal(len(decay)) * decay
        sound = np.convolve(sound, [1.0, *room[1:]])[: len(sound)]
    if rng.random() < 0.7:
        rms = np.sqrt(np.mean(sound**2))
        kind = str(rng.choice(["white", "pink"]))
        sound = sound + level_to(make_noise(kind, len(sound), rng, ()), rms * 10 ** (-rng.uniform(8, 35) / 20))
    return (sound * (0.2 / np.abs(sound).max()) * 10 ** (-rng.uniform(0, 30) / 20)).astype(np.float32)


# --- the head ------------------------------------------------------------------------------------


def _fit(examples: Examples) -> VoiceHead:
    """Linear discriminant analysis; each class of ours is as likely as any other beforehand.

    Scales and covariance are those of the actors: our voice and sounds without words lie far from them, each by itself.
    """
    acted = examples.rows < _READ
    mean, scale = examples.features[acted].mean(axis=0), examples.features[acted].std(axis=0) + 1e-6
    features = ((examples.features - mean) / scale).astype(np.float64)
    rows = np.arange(len(_ROW_CLASSES))
    centres = np.stack([features[examples.rows == row].mean(axis=0) for row in rows])
    covariance = np.cov((features - centres[examples.rows])[acted].T)
    level = np.trace(covariance) / len(covariance)
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * level * np.eye(len(covariance))
    weights = np.linalg.solve(covariance, centres.T).T
    # A class of several emotions would count once for each.
    shared = np.array(
        [(_ROW_CLASSES[:_READ] == each).sum() if row < _READ else 1 for row, each in enumerate(_ROW_CLASSES)]
    )
    bias = -0.5 * (centres * weights).sum(axis=1) - np.log(shared)
    return VoiceHead(weights / scale, bias - weights @ (mean / scale), _ROW_CLASSES)


def _unmet_scores(examples: Examples, heads: dict[str, VoiceHead]) -> np.ndarray:
    scores = np.zeros((len(examples.rows), len(VOICE_CLASSES)))
    for fold in range(_FOLDS):
        chosen = examples.folds == fold
        scores[chosen] = heads[f"fold{fold}"].scores(examples.features[chosen])
    return scores


def _temperature(examples: Examples, heads: dict[str, VoiceHead]) -> float:
    """Return the temperature with the least cross-entropy on whole clips of speakers that were left out."""
    chosen = np.isin(examples.variants, (*_CLEAN, *_CHAINS, *_WHOLE))

    def loss(temperature: float) -> float:
        cooled = {name: _at(temperature, head) for name, head in heads.items()}
        scores = _unmet_scores(examples, cooled)[chosen]
        return float(-np.log(scores[np.arange(len(scores)), examples.classes[chosen]] + 1e-9).mean())

    return float(min(np.arange(0.5, 8.01, 0.25), key=loss))


def _at(temperature: float, head: VoiceHead) -> VoiceHead:
    return VoiceHead(head.weights / temperature, head.bias / temperature, head.classes)


def _recalls(scores: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    found = scores.argmax(axis=1)
    return {name: round(float(np.mean(found[classes == n] == n)), 2) for n, name in enumerate(VOICE_CLASSES)}


def _calibration_error(scores: np.ndarray, classes: np.ndarray) -> float:
    """Return the expected calibration error over ten bins of equal size."""
    order = np.argsort(scores.max(axis=1))
    right = scores.argmax(axis=1) == classes
    bins = np.array_split(order, 10)
    gaps = [len(part) * abs(scores[part].max(axis=1).mean() - right[part].mean()) for part in bins]
    return round(float(sum(gaps) / len(order)), 3)


def _save(path: Path, heads: dict[str, VoiceHead], temperature: float) -> None:
    from safetensors.numpy import save_file

    arrays = {}
    for name, head in heads.items():
        cooled = _at(temperature, head)
        # safetensors writes the buffer as it lies: a transposed array would come back scrambled.
        arrays[f"{name}.weights"] = np.ascontiguousarray(cooled.weights, dtype=np.float16)
        arrays[f"{name}.bias"] = cooled.bias.astype(np.float32)
        arrays[f"{name}.classes"] = cooled.classes.astype(np.int64)
    with atomic_path(path) as temporary:
        save_file(arrays, temporary, {"classes": " ".join(VOICE_CLASSES), "licence": "CC BY-NC-SA 4.0"})
    path.chmod(0o644)


if __name__ == "__main__":
    main()
