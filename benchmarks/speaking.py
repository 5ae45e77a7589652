"""How soon and how well the speech service speaks: `python -m benchmarks.speaking [--quick] [--json FILE]`.

Figures: `first_sound_ms_p50`, from the request for a short clause to the first audible sample, the silence
at the start of the clip included; `service_overhead_ms_p50`, what HTTP, queue, coding and the client add to
the engine's own time; `round_trip_wer`, the word error rate of all renderings through Whisper. One row an
emotion: speaking rate, fundamental frequency and energy beside the neutral voice, how much the energy differs from one
sentence to the next (standard deviation), and word error rate.
Besides: the longest over the shortest wait of eight clients at once, the first sound of a sentence of 300
characters, and `growth_mb_an_hour`, the growth of the service's memory in an hour of sound; with --quick it is that of
four minutes times twenty, and coarse.
"""

from __future__ import annotations

import itertools
import re
import statistics
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks._report import Report, run
from emolib.audio import AudioClip
from emolib.emotions import EMOTIONS
from emolib.speech import WhisperRecognizer
from emolib.tts import SpeechRequest, SpeechSynthesizer
from emolib.tts.server import ServiceProcess

CLAUSES = ("Of course,", "I see,", "That is wonderful,", "Oh no,", "Well,", "I am so sorry,", "Really?", "Thank you,")

SENTENCES = (
    "I walked to the station early and the train was already waiting.",
    "My brother called last night to tell me about his new job.",
    "There is a letter on the kitchen table with your name on it.",
    "We can talk about it tomorrow when everybody has had some sleep.",
    "The children painted the old garden fence in seven different colours.",
    "Nobody told me that the meeting would begin at nine.",
    "She closed the door behind her and sat down by the window.",
    "You should have seen the faces of the people in the front row.",
    "It has been raining since Monday and the river is still rising.",
    "Please bring the blue box from the car before it gets dark.",
)

#: As long a sentence as a reply has, and no full stop before its end.
PARAGRAPH = (
    "When we came to the lake in the evening, after a whole day on the road with the windows open, the water was so"
    " still that the hills stood in it upside down, and nobody wanted to be the first to throw a stone or say a word,"
    " so we sat on the bank and waited for the stars to come out."
)

_AUDIBLE = 0.01
_FRAME = 0.02


def measure(report: Report, quick: bool) -> None:
    """Fill the report."""
    service = ServiceProcess("piper")
    service.start()
    try:
        with SpeechSynthesizer(service.url) as tts:
            report.figures["first_sound_ms_p50"] = round(first_sound_ms(tts, 8 if quick else 40), 1)
            report.figures["first_sound_long_ms"] = round(
                statistics.median(_first_sound(tts, PARAGRAPH) for _ in range(3 if quick else 8)), 1
            )
            report.figures["service_overhead_ms_p50"] = round(overhead_ms(service.url, 10 if quick else 40), 2)
            report.figures["clients_8_wait_spread"] = round(wait_spread(service.url, 3 if quick else 8), 2)
            report.figures |= memory_growth(service, tts, 4 if quick else 61)
            measure_emotions(report, tts, SENTENCES[:3] if quick else SENTENCES)
            report.figures["real_time_factor"] = tts.health()["real_time_factor"]
    finally:
        service.stop()


def first_sound_ms(tts: SpeechSynthesizer, times: int) -> float:
    """The median time from a request to the first audible sample, in milliseconds."""
    list(tts.stream(SpeechRequest(CLAUSES[0])))
    return statistics.median(_first_sound(tts, CLAUSES[turn % len(CLAUSES)]) for turn in range(times))


def _first_sound(tts: SpeechSynthesizer, text: str) -> float:
    started = time.perf_counter()
    silent_ms = 0.0
    for piece in tts.stream(SpeechRequest(text)):
        audible = np.flatnonzero(np.abs(piece.samples) > _AUDIBLE)
        if audible.size:
            arrived = 1000 * (time.perf_counter() - started)
            return arrived + silent_ms + 1000 * int(audible[0]) / piece.sample_rate
        silent_ms += 1000 * piece.seconds
    raise SystemExit(f"nothing audible came for {text!r}")


def overhead_ms(url: str, times: int) -> float:
    """The median of what a whole clip takes beyond the engine's own time, which the service states."""
    import requests

    with requests.Session() as session:
        session.trust_env = False
        return statistics.median(_overhead(session, url, CLAUSES[turn % len(CLAUSES)]) for turn in range(times))


def _overhead(session: Any, url: str, text: str) -> float:
    started = time.perf_counter()
    answer = session.post(f"{url}/v1/tts", json={"text": text}, timeout=30)
    whole = 1000 * (time.perf_counter() - started)
    return whole - float(answer.headers["Server-Timing"].partition("dur=")[2])


def wait_spread(url: str, rounds: int) -> float:
    """Eight clients at once: the longest of their total times over the shortest; 1 is perfectly fair."""

    def client(number: int) -> float:
        with SpeechSynthesizer(url) as tts:
            started = time.perf_counter()
            for turn in range(rounds):
                clip = tts.synthesize(SpeechRequest(CLAUSES[turn % len(CLAUSES)]))
                if not clip.samples.any():
                    raise SystemExit(f"client {number} lost a sentence")
            return time.perf_counter() - started

    with ThreadPoolExecutor(8) as pool:
        seconds = list(pool.map(client, range(8)))
    return max(seconds) / min(seconds)


def memory_growth(service: ServiceProcess, tts: SpeechSynthesizer, minutes: float) -> dict[str, float]:
    """How the service's resident memory grows while it speaks for `minutes` of sound, in every emotion.

    The first minute is not counted. The growth is the median of the last tenth over that of the first one, in MB,
    for an hour of sound; besides, the slope of a line through the second half in kB a minute, which shows whether it
    has come to an end, and the memory at the end.
    """
    import psutil

    process = psutil.Process(service.pid)
    spoken, sizes = [0.0], []
    for text, emotion in itertools.cycle(itertools.product((*SENTENCES, PARAGRAPH), (None, *EMOTIONS))):
        spoken.append(spoken[-1] + tts.synthesize(SpeechRequest(text, emotion)).seconds / 60)
        sizes.append(process.memory_info().rss)
        if spoken[-1] >= minutes:
            break
    counted = [(at, size) for at, size in zip(spoken[1:], sizes, strict=True) if at > 1.0]
    at, size = np.array(counted).T
    tenth, half = max(1, len(size) // 10), len(size) // 2
    growth = float(np.median(size[-tenth:]) - np.median(size[:tenth])) / 2**20
    between = float(np.median(at[-tenth:]) - np.median(at[:tenth]))
    return {
        "memory_minutes_of_sound": round(spoken[-1], 1),
        "memory_mb": round(float(size[-1]) / 2**20, 1),
        "growth_mb_an_hour": round(growth * 60 / between, 2),
        "late_growth_kb_per_minute": round(float(np.polyfit(at[half:], size[half:], 1)[0]) / 1024, 2),
    }


def measure_emotions(report: Report, tts: SpeechSynthesizer, sentences: Iterable[str]) -> None:
    """A row for the neutral voice and each emotion."""
    sentences = list(sentences)
    recogniser = WhisperRecognizer()
    errors: list[float] = []
    neutral: dict[str, float] = {}
    for emotion in (None, *EMOTIONS):
        clips = [tts.synthesize(SpeechRequest(sentence, emotion)) for sentence in sentences]
        wer = word_error_rate(sentences, [recogniser.transcribe(clip).text for clip in clips])
        found = {
            "rate": statistics.median(
                len(s.split()) / _voiced_seconds(c) for s, c in zip(sentences, clips, strict=True)
            ),
            "f0_hz": statistics.median(f0 for clip in clips for f0 in fundamental(clip)),
            "energy_db": statistics.median(_energy_db(clip) for clip in clips),
        }
        neutral = neutral or found
        report.rows.append(
            {
                "emotion": emotion or "neutral",
                "words_per_s": round(found["rate"], 2),
                "rate_ratio": round(found["rate"] / neutral["rate"], 3),
                "f0_hz": round(found["f0_hz"], 1),
                "semitones": round(12 * float(np.log2(found["f0_hz"] / neutral["f0_hz"])), 2),
                "energy_db": round(found["energy_db"] - neutral["energy_db"], 2),
                "energy_sd_db": round(statistics.pstdev(_energy_db(clip) for clip in clips), 2),
                "wer": round(wer, 4),
            }
        )
        errors.append(wer)
    report.figures["round_trip_wer"] = round(statistics.fmean(errors), 4)
    report.figures["round_trip_wer_worst"] = round(max(errors), 4)


def fundamental(clip: AudioClip) -> np.ndarray:
    """The fundamental frequency of the voiced frames in Hz (probabilistic YIN, librosa)."""
    import librosa

    sound = clip.resample(16_000)
    f0, voiced, _ = librosa.pyin(sound.samples, fmin=65, fmax=400, sr=16_000, frame_length=1024)
    return f0[voiced]


def word_error_rate(expected: list[str], heard: list[str]) -> float:
    """Word error rate over all sentences; case, punctuation and spelling variants do not count."""
    import jiwer

    return jiwer.wer([_normal(text) for text in expected], [_normal(text) for text in heard])


def _normal(text: str) -> str:
    plain = re.sub(r"[^a-z0-9' ]", " ", text.lower()).replace("colors", "colours")
    for digits, word in (("7", "seven"), ("9", "nine")):
        plain = re.sub(rf"\b{digits}\b", word, plain)
    return " ".join(plain.split())


def _frames(clip: AudioClip) -> np.ndarray:
    size = round(_FRAME * clip.sample_rate)
    return clip.samples[: len(clip) // size * size].reshape(-1, size)


def _voiced_seconds(clip: AudioClip) -> float:
    """From the first audible frame to the last."""
    audible = np.flatnonzero(np.abs(_frames(clip)).max(axis=1) > _AUDIBLE)
    return float(audible[-1] - audible[0] + 1) * _FRAME


def _energy_db(clip: AudioClip) -> float:
    """The loudness of the audible frames, in dB of full scale."""
    frames = _frames(clip)
    loud = frames[np.abs(frames).max(axis=1) > _AUDIBLE]
    return 10 * float(np.log10(np.mean(np.square(loud))))


if __name__ == "__main__":
    sys.exit(
        run(measure, "speaking", ["emolib", "piper-tts", "onnxruntime", "fastapi", "uvicorn", "requests", "librosa"])
    )
