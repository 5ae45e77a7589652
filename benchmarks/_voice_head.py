"""Fit `emolib.speech.voice_head`: `python -m benchmarks._voice_head [--features FILE]`.

The speech is that of 12 actors (`benchmarks._acted_speech`): each clip whole, as the endpointer cuts it, three times
with another speed, level, bandwidth, equaliser, room and noise, and once without its end. A linear discriminant
analysis with a shrunk covariance tells RAVDESS's eight emotions apart; calm counts as neutral and disgust as anger.

The actors speak two sentences. Our embedded voice reads many others without emotion: how its encodings differ from one
sentence to the next, and from neutral actors, is added to the covariance, so that the head looks past it. Noises and
tones without words have a row of their own, which counts as neutral.

Everything is judged by leaving two speakers out at a time, and once by leaving out four and the sentence as well. The
six heads of the first stand beside the benchmarks, so that a clip can be judged by a head that never met its speaker.
Takes six minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, product
from pathlib import Path

import numpy as np

from benchmarks._acted_speech import CLASSES, acted_clips, spoken_part
from benchmarks._noisy_speech import RATE, level_to, make_noise, recorded_clips, speech_frames
from emolib.audio import resample
from emolib.data import neutral_sentences
from emolib.emotions import NEUTRAL
from emolib.files import atomic_path
from emolib.models import piper_voice, whisper_dir
from emolib.speech.noise import FRAME
from emolib.speech.voice_head import HEAD_FILE, VOICE_CLASSES, VoiceHead, bundled_head, load_heads, pooled
from emolib.speech.whisper_encoder import WhisperEncoder

__all__ = ["calibration_error", "encoder", "uar", "unmet_head"]

FOLDS_FILE = Path(__file__).parent / "_voice_head_folds.safetensors"

_ACTORS = ("01", "02", "04", "05", "06", "08", "09", "10", "11", "13", "14", "16")
_FOLDS = 6
_EMOTIONS = tuple(CLASSES)
#: The rows of our embedded voice and of sounds without words, after those of the actors' emotions.
_READ, _WORDLESS = len(_EMOTIONS), len(_EMOTIONS) + 1
_ROW_CLASSES = np.array([VOICE_CLASSES.index(name) for name in (*CLASSES.values(), NEUTRAL, NEUTRAL)])
_NEUTRAL_ROWS = [_EMOTIONS.index("neutral"), _EMOTIONS.index("calm")]
_WORDLESS_COUNT = 180
_SHRINKAGE = 0.2
#: How much the differences between read sentences, and of the read voice from neutral actors, add to the covariance.
_CONTENT, _DOMAIN = 0.1, 1.0
_CLEAN, _CHAINS, _BEGINNING, _READ_PLAIN, _WHOLE, _NO_WORDS, _RECORDED = (0,), (1, 2, 3), (4,), (5,), (6,), (7,), (8,)


@dataclass(frozen=True, eq=False)
class Examples:
    """Pooled features, and for each the row, the fold in which it is left out, the variant, and the sentence."""

    features: np.ndarray
    rows: np.ndarray
    folds: np.ndarray
    variants: np.ndarray
    sentences: np.ndarray

    @property
    def classes(self) -> np.ndarray:
        """The place of each in `VOICE_CLASSES`."""
        return _ROW_CLASSES[self.rows]

    def only(self, chosen: np.ndarray) -> Examples:
        """Return those for which `chosen` is true."""
        return Examples(*(values[chosen] for values in vars(self).values()))


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
        _print_figures(name, unmet, examples, np.isin(examples.variants, variants))
    _print_figures("another sentence", *_other_sentence(examples, temperature))
    for name, variants in (("our voice", _READ_PLAIN), ("recorded reading", _RECORDED), ("without words", _NO_WORDS)):
        scores = unmet[np.isin(examples.variants, variants)]
        sure = np.mean(scores[:, :-1].max(axis=1) > 0.5)
        print(
            f"{name}: neutral {np.mean(scores.argmax(axis=1) == len(VOICE_CLASSES) - 1):.2f}, emotion > 0.5 {sure:.2f}"
        )
    print(f"temperature {temperature:.2f}")
    _save(HEAD_FILE, {"all": _fit(examples)}, temperature)
    _save(FOLDS_FILE, heads, temperature)


def encoder() -> WhisperEncoder:
    """Load the encoder of the embedded tiny.en."""
    from faster_whisper import WhisperModel

    return WhisperEncoder(WhisperModel(str(whisper_dir()), device="cpu", compute_type="int8", cpu_threads=1))


def unmet_head(actor: str) -> VoiceHead:
    """Return a head that never met `actor`: the bundled one, unless it was trained on that actor too."""
    if actor not in _ACTORS:
        return bundled_head()
    return _fold_heads()[f"fold{_ACTORS.index(actor) % _FOLDS}"]


@lru_cache(maxsize=1)
def _fold_heads() -> dict[str, VoiceHead]:
    return load_heads(FOLDS_FILE)


def uar(scores: np.ndarray, classes: np.ndarray) -> float:
    """Return the unweighted average recall of the most probable class."""
    found = scores.argmax(axis=1)
    return float(np.mean([np.mean(found[classes == each] == each) for each in np.unique(classes)]))


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Return the expected calibration error over `bins` of equal size."""
    parts = np.array_split(np.argsort(confidence), bins)
    gaps = [len(part) * abs(confidence[part].mean() - right[part].mean()) for part in parts]
    return float(sum(gaps) / len(confidence))


# --- examples ------------------------------------------------------------------------------------


def _examples(cache: Path | None) -> Examples:
    if cache and cache.is_file():
        with np.load(cache) as found:
            return Examples(**found)
    encode = encoder().encode
    found = [(pooled(encode(samples)), *rest) for samples, *rest in chain(_acted(), _read(), _recorded(), _wordless())]
    features, *rest = zip(*found, strict=True)
    examples = Examples(np.stack(features), *(np.array(values) for values in rest))
    if cache:
        np.savez(cache, **vars(examples))
    return examples


#: Samples, and what `Examples` holds of them besides the features.
_Example = tuple[np.ndarray, int, int, int, int]


def _acted() -> Iterator[_Example]:
    rng = np.random.default_rng(11)
    clips = acted_clips()
    sentences = sorted({each.text for each in clips})
    for each in clips:
        samples = spoken_part(each.clip.samples)
        row, fold = _EMOTIONS.index(each.emotion), _ACTORS.index(each.actor) % _FOLDS
        sentence = sentences.index(each.text)
        yield samples, row, fold, _CLEAN[0], sentence
        yield each.clip.samples, row, fold, _WHOLE[0], sentence
        for variant in _CHAINS:
            yield _other_chain(_with_margins(each.clip.samples, rng), rng), row, fold, variant, sentence
        yield samples[: int(len(samples) * rng.uniform(0.5, 0.9))], row, fold, _BEGINNING[0], sentence


def _with_margins(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut a clip up to a second before and after what the endpointer takes."""
    spoken = np.flatnonzero(speech_frames(samples)) * FRAME
    first, last = spoken[0] - int(rng.uniform(0, 1.0) * RATE), spoken[-1] + FRAME + int(rng.uniform(0, 1.0) * RATE)
    return samples[max(0, first) : last]


def _read() -> Iterator[_Example]:
    """Yield sentences without emotion in our embedded voice, each plain and through another chain."""
    from piper import PiperVoice

    rng = np.random.default_rng(12)
    voice = PiperVoice.load(str(piper_voice()))
    for number, text in enumerate(neutral_sentences()):
        spoken = np.concatenate([chunk.audio_float_array for chunk in voice.synthesize(text)])
        plain = resample(spoken, voice.config.sample_rate, RATE)
        for samples in (plain, _other_chain(plain, rng)):
            yield samples, _READ, number % _FOLDS, _READ_PLAIN[0], number


def _recorded() -> Iterator[_Example]:
    """Yield people who read aloud, and what other chains make of them; they judge the heads and are not learnt from."""
    rng = np.random.default_rng(14)
    for number, (clip, _) in enumerate(recorded_clips()):
        for samples in (clip.samples, _other_chain(clip.samples, rng)):
            yield samples, _READ, number % _FOLDS, _RECORDED[0], number


def _wordless() -> Iterator[_Example]:
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
        yield _other_chain(sound.astype(np.float32), rng), _WORDLESS, number % _FOLDS, _NO_WORDS[0], number


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
    """Linear discriminant analysis; each class of ours is as likely as any other beforehand."""
    rows = examples.rows
    acted, read = rows < _READ, (rows == _READ) & ~np.isin(examples.variants, _RECORDED)
    mean, scale = examples.features[acted].mean(axis=0), examples.features[acted].std(axis=0) + 1e-6
    features = ((examples.features - mean) / scale).astype(np.float64)
    present = [*range(_READ), _WORDLESS]
    centres = np.stack([features[rows == row].mean(axis=0) for row in present])
    spoken = features[read] - features[read].mean(axis=0)
    away = features[read].mean(axis=0) - centres[_NEUTRAL_ROWS].mean(axis=0)
    covariance = _covariance(features[acted] - centres[rows[acted]])
    covariance += _CONTENT * _covariance(spoken) + _DOMAIN * np.outer(away, away)
    level = np.trace(covariance) / len(covariance)
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * level * np.eye(len(covariance))
    weights = np.linalg.solve(covariance, centres.T).T
    classes = _ROW_CLASSES[present]
    # A class of two emotions would count once for each.
    shared = np.array([1 if row == _WORDLESS else np.sum(classes[:_READ] == _ROW_CLASSES[row]) for row in present])
    bias = -0.5 * (centres * weights).sum(axis=1) - np.log(shared)
    return VoiceHead(weights / scale, bias - weights @ (mean / scale), classes)


def _covariance(residuals: np.ndarray) -> np.ndarray:
    return residuals.T @ residuals / len(residuals)


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


def _other_sentence(examples: Examples, temperature: float) -> tuple[np.ndarray, Examples, np.ndarray]:
    """Return scores by heads that met neither the speaker nor the sentence, the examples, and which of them count."""
    chosen = np.isin(examples.variants, _CLEAN)
    scores = np.zeros((len(examples.rows), len(VOICE_CLASSES)))
    for fold, sentence in product(range(_FOLDS // 2), range(2)):
        speakers, texts = examples.folds // 2 == fold, examples.sentences == sentence
        head = _fit(examples.only((examples.rows >= _READ) | ~(speakers | texts)))
        unmet = chosen & speakers & texts
        scores[unmet] = _at(temperature, head).scores(examples.features[unmet])
    return scores, examples, chosen


def _print_figures(name: str, scores: np.ndarray, examples: Examples, chosen: np.ndarray) -> None:
    scores, classes = scores[chosen], examples.classes[chosen]
    found = scores.argmax(axis=1)
    print(f"{name}: UAR {uar(scores, classes):.3f}, accuracy {np.mean(found == classes):.3f}", end="")
    print(f", calibration error {calibration_error(scores.max(axis=1), found == classes):.3f}")
    for place, meant in enumerate(VOICE_CLASSES):
        heard = np.bincount(found[classes == place], minlength=len(VOICE_CLASSES))
        print(f"  {meant:<9}", *(f"{count:4d}" for count in heard), f"  recall {heard[place] / heard.sum():.2f}")


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
