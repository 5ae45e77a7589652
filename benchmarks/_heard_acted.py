"""The part of `benchmarks.hearing` that listens to acted speech: words, voice emotion, pauses."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks._acted_speech import TUNING_ACTORS, Acted, joined, spoken_part, variants
from benchmarks._noisy_speech import RATE
from benchmarks._report import Report
from benchmarks._voice_head import encoder, uar, unmet_head
from emolib.audio import AudioClip
from emolib.models import whisper_base_is_here, whisper_dir
from emolib.speech import NoSpeech, PartialTranscripts, SmartTurn, WhisperRecognizer
from emolib.speech.voice_head import VOICE_CLASSES

__all__ = ["measure_acted_words", "measure_settled_parts", "measure_turn_detector", "measure_voice_emotion"]

Recognise = Callable[[AudioClip], str]

#: A transcript with so many words more than were said holds something twice.
_SURPLUS = 3
#: Whisper base is told the language, or finds it.
_LANGUAGES = {"en": "en", "auto": None}
#: The peers hear every so many clips; no divisor of the number of actors, who take turns in the list.
_EVERY = 7


class FasterWhisper:
    """Plain faster-whisper, greedy; and its model in a window of 10 s without timestamps, as we had it before."""

    def __init__(self) -> None:
        from faster_whisper import WhisperModel
        from faster_whisper.tokenizer import Tokenizer

        threads = max(1, (os.cpu_count() or 2) - 1)
        self._model = WhisperModel(str(whisper_dir()), device="cpu", compute_type="int8", cpu_threads=threads)
        tokenizer = Tokenizer(self._model.hf_tokenizer, False, task="transcribe", language="en")
        self._prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        self._decode = tokenizer.decode

    def plain(self, clip: AudioClip) -> str:
        """Recognise a clip as the library's README does, at temperature 0."""
        segments, _ = self._model.transcribe(
            clip.samples, language="en", beam_size=1, temperature=0.0, condition_on_previous_text=False
        )
        return "".join(segment.text for segment in segments)

    def in_ten_seconds(self, clip: AudioClip) -> str:
        """Recognise a clip in a window of 10 s."""
        silence_s = max(3.0, 10.0 - clip.seconds)
        features = self._model.feature_extractor(clip.samples, padding=round(silence_s * RATE))
        result = self._model.model.generate(
            self._model.encode(features[:, : features.shape[1] // 2 * 2]),
            [self._prompt],
            beam_size=1,
            max_length=len(self._prompt) + math.ceil(8 * (clip.seconds + 1)),
        )[0]
        return self._decode(result.sequences_ids[0])


def measure_acted_words(report: Report, clips: Sequence[Acted], normalise: Callable[[str], str], quick: bool) -> None:
    """Word error rate and repeated utterances, ours on all clips and the peers on every seventh, in turns."""
    whisper, peer = WhisperRecognizer(), FasterWhisper()
    recognise = _quietly(whisper)
    ways: dict[str, Recognise] = {
        "ours": recognise,
        "faster-whisper": peer.plain,
        "window of 10 s": peer.in_ten_seconds,
    }
    if whisper_base_is_here():
        ways |= {
            f"whisper:base, language {name}": _quietly(WhisperRecognizer("base", language=code))
            for name, code in _LANGUAGES.items()
        }
    for way in ways.values():
        way(clips[0].clip)
    heard: dict[str, list[tuple[Acted, str]]] = {name: [] for name in ways}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for place, each in enumerate(clips):
        shared = place % _EVERY == 0
        for name in ways if shared else () if quick else ("ours",):
            started = time.perf_counter()
            text = ways[name](each.clip)
            if shared:
                seconds[name].append(time.perf_counter() - started)
            heard[name].append((each, normalise(text)))
    for name, found in heard.items():
        row = {"what": "acted words", "name": name, **_rates(found, normalise)}
        report.rows.append({**row, "pass p50 ms": round(1000 * statistics.median(seconds[name]))})
    ours = _rates(heard["ours"], normalise)
    report.figures["wer_acted"] = ours["wer"]
    report.figures["repeated_utterances"] = ours["repeated"]
    report.figures["pass_time_ratio"] = round(_ratio(seconds["ours"], seconds["window of 10 s"]), 3)
    report.figures["pass_speedup_vs_faster_whisper"] = round(_ratio(seconds["faster-whisper"], seconds["ours"]), 2)
    groups: dict[str, list[tuple[Acted, str]]] = defaultdict(list)
    for each, text in heard["ours"]:
        tuned = "actors of the tuning" if each.actor in TUNING_ACTORS else "other actors"
        for group in (tuned, f"{each.emotion}, {each.strength}"):
            groups[group].append((each, text))
    for name in sorted(groups):
        report.rows.append({"what": "acted words", "name": f"ours: {name}", **_rates(groups[name], normalise)})
    english = {name: way for name, way in ways.items() if not name.startswith("whisper:")}
    _measure_variants(report, clips, english, normalise, 6 if quick else 24)


def _measure_variants(
    report: Report, clips: Sequence[Acted], ways: dict[str, Recognise], normalise: Callable[[str], str], count: int
) -> None:
    rng = np.random.default_rng(4)
    unmet = [each for each in clips if each.actor not in TUNING_ACTORS]
    chosen = [unmet[place] for place in rng.permutation(len(unmet))[:count]]
    sets = {
        name: [_changed(each, change(spoken_part(each.clip.samples))) for each in chosen]
        for name, change in variants(rng).items()
    }
    sets["two joined, pauses 0.2 to 1.2 s"] = list(joined(unmet, count // 2, rng))
    prefixes = [_changed(each, _prefix(spoken_part(each.clip.samples), rng)) for each in chosen]
    for set_name, made in sets.items():
        for name, way in ways.items():
            found = [(each, normalise(way(each.clip))) for each in made]
            report.rows.append({"what": set_name, "name": name, **_rates(found, normalise)})
    for name, way in ways.items():
        found = [(each, normalise(way(each.clip))) for each in prefixes]
        share = round(statistics.mean(_is_repeated(each, text, normalise) for each, text in found), 4)
        report.rows.append({"what": "beginnings of clips", "name": name, "clips": len(found), "repeated": share})


def measure_settled_parts(
    report: Report, clips: Sequence[Acted], normalise: Callable[[str], str], *, count: int
) -> None:
    """Word error rate of four joined clips through partial transcripts with settled parts, and in one pass."""
    rng = np.random.default_rng(5)
    whisper = WhisperRecognizer()
    made = list(joined([each for each in clips if each.actor not in TUNING_ACTORS], count, rng, parts=4))
    for name, way in (("one pass", _quietly(whisper)), ("settled in the pauses", lambda clip: _settled(whisper, clip))):
        found = [(each, normalise(way(each.clip))) for each in made]
        report.rows.append({"what": "four joined", "name": name, **_rates(found, normalise)})


def _settled(whisper: WhisperRecognizer, clip: AudioClip) -> str:
    """Push a clip pause by pause, as it is heard in real time by a recogniser that is always done in time."""
    stream = PartialTranscripts(whisper, first_s=math.inf, every_s=math.inf)
    quiet = np.abs(clip.samples[: len(clip) // 480 * 480]).reshape(-1, 480).max(axis=1) < 0.003
    spoken = 0
    for place, silent in enumerate(quiet):
        frame = clip.samples[place * 480 : (place + 1) * 480]
        length = place + 1 - spoken // 480
        if not silent and spoken and length > 11:
            stream.commit(spoken)
        stream.push(frame)
        if not silent:
            spoken = (place + 1) * 480
        elif spoken and length == 11:
            stream.flush()
            end = time.monotonic() + 20
            while stream.partial()[1] < spoken and time.monotonic() < end:
                time.sleep(0.005)
    try:
        return stream.finish(spoken).text
    except NoSpeech:
        return ""


def measure_turn_detector(report: Report, clips: Sequence[Acted], *, count: int) -> None:
    """How often Smart Turn hears the end of an acted sentence, and takes a pause in its middle for one."""
    rng = np.random.default_rng(6)
    turn = SmartTurn()
    chosen = [clips[place] for place in rng.permutation(len(clips))[:count]]
    ends, middles = [], []
    for each in chosen:
        samples = spoken_part(each.clip.samples)
        pause = np.zeros(RATE // 10, dtype=np.float32)
        ends.append(turn.probability(np.concatenate([samples, pause])) >= 0.5)
        middle = samples[: int(len(samples) * rng.uniform(0.4, 0.75))]
        middles.append(turn.probability(np.concatenate([middle, pause])) >= 0.5)
    row: dict[str, Any] = {"what": "turn detector", "name": "smart turn", "clips": count}
    row["end heard"], row["end in the middle"] = (round(statistics.mean(found), 3) for found in (ends, middles))
    report.rows.append(row)


def _quietly(whisper: WhisperRecognizer) -> Recognise:
    def recognise(clip: AudioClip) -> str:
        try:
            return whisper.transcribe(clip).text
        except NoSpeech:
            return ""

    return recognise


def _changed(each: Acted, samples: np.ndarray) -> Acted:
    return Acted(AudioClip(samples, RATE), each.text, each.actor, each.emotion, each.strength)


def _prefix(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return samples[: int(len(samples) * rng.uniform(0.35, 1.0))]


def _rates(found: Iterable[tuple[Acted, str]], normalise: Callable[[str], str]) -> dict[str, Any]:
    import jiwer

    found = list(found)
    rate = jiwer.wer([normalise(each.text) for each, _ in found], [text for _, text in found])
    repeated = statistics.mean(_is_repeated(each, text, normalise) for each, text in found)
    return {"clips": len(found), "wer": round(rate, 4), "repeated": round(repeated, 4)}


def _is_repeated(each: Acted, text: str, normalise: Callable[[str], str]) -> bool:
    return len(text.split()) >= len(normalise(each.text).split()) + _SURPLUS


def _ratio(seconds: Sequence[float], others: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(seconds, others, strict=True))


def measure_voice_emotion(report: Report, clips: Sequence[Acted], quick: bool) -> None:
    """Unweighted average recall of the voice's emotion by heads that never met the actor, and what it costs a clip."""
    encode = encoder().encode
    chosen = clips[::_EVERY] if quick else clips
    speech = [encode(spoken_part(each.clip.samples)) for each in chosen]
    started = time.perf_counter()
    heard = [unmet_head(each.actor).probabilities(sound) for each, sound in zip(chosen, speech, strict=True)]
    report.figures["voice_emotion_ms"] = round(1000 * (time.perf_counter() - started) / len(chosen), 2)
    meant = np.array([VOICE_CLASSES.index(each.label) for each in chosen])
    report.figures["voice_emotion_uar"] = round(uar(np.array([[*each.values()] for each in heard]), meant), 3)
