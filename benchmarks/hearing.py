"""How well we hear: `python -m benchmarks.hearing [--quick] [--json FILE]`.

Recorded clips in white, pink and babble noise and mains hum, and acted ones of 12 actors (`speech/` and
`speech_acted/` in EMOLIB_DATA, by default ../shared/data). Figures: `f1_gain_over_webrtcvad`, frame-level F1 of our
detector minus that of the best fixed WebRTC mode, mean over 10, 5 and 0 dB; `endpoint_delay_ms_p50`, from the true end
of speech to the SpeechEnd by the clock, in real time with partial transcripts and the turn detector;
`cut_short_share`, utterances that were ended while speech was still to come; `wer_clean`, the word error rate of the
embedded Whisper; `wer_acted` and `repeated_utterances`, the same and the share of utterances of which something comes
twice, on acted speech; `voice_emotion_uar`, unweighted average recall of the voice's emotion by heads that never met
the actor, and `voice_emotion_ms`, what the head takes for a clip; `pass_time_ratio`, the time of a pass over that in
the window of 10 s of earlier versions, which takes turns with ours and plain faster-whisper. Rows: F1 and ROC-AUC of
every detector, word error rates with and without our endpointing, by emotion and strength, of sped-up, noisy, soft and
joined clips; and the endpoints beside waiting for silence alone. Whisper base is measured too if it is here (`make
more`).
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks._acted_speech import TUNING_ACTORS, Acted, acted_clips, joined, spoken_part
from benchmarks._heard_acted import (
    measure_acted_words,
    measure_settled_parts,
    measure_turn_detector,
    measure_voice_emotion,
)
from benchmarks._noisy_speech import (
    CALIBRATION,
    NOISES,
    RATE,
    SNRS,
    Stream,
    in_noise,
    recorded_clips,
    speech_frames,
    streams,
)
from benchmarks._report import Report, run
from emolib.audio import AudioClip, write_wav
from emolib.models import whisper_base_is_here
from emolib.speech import (
    Endpointer,
    EndpointSettings,
    FileSource,
    FusedDetector,
    NoSpeech,
    SileroDetector,
    SpeechEnd,
    VoiceDetector,
    WebRtcDetector,
    WhisperRecognizer,
    best_detector,
    best_turn_detector,
    calibrate,
    listen,
    utterances,
)
from emolib.speech.noise import FRAME, NoiseProfile, frames, level_dbfs
from emolib.speech.vad import GateDetector, Hysteresis

PACKAGES = ("emolib", "faster-whisper", "webrtcvad-wheels", "silero-vad", "onnxruntime", "numpy")

_MARGIN_S = 0.15
_HANG_OVERS = (0.21, 0.3, 0.36, 0.42, 0.48, 0.54, 0.6, 0.75, 0.9, 1.2)


def measure(report: Report, quick: bool) -> None:
    """Fill the report."""
    clips = recorded_clips()
    measure_detectors(report, [clip.samples for clip, _ in clips])
    measure_cost(report, [clip.samples for clip, _ in clips], minutes=4 if quick else 60)
    measure_recognition(report, clips)
    measure_endpoints(report, [clip.samples for clip, _ in clips], with_pauses=not quick)
    acted = acted_clips()
    measure_acted_words(report, acted, normalised, quick)
    measure_voice_emotion(report, acted, quick)
    measure_settled_parts(report, acted, normalised, count=2 if quick else 8)
    measure_turn_detector(report, acted, count=8 if quick else 48)
    measure_acted_endpoints(report, acted, count=2 if quick else 8)


# --- frames --------------------------------------------------------------------------------------


class WebRtcWithGate:
    """What is usually built: WebRTC's detector, and an energy gate some dB above the measured floor."""

    def __init__(self, ambience: NoiseProfile, margin_db: float) -> None:
        self._vad = WebRtcDetector(ambience.webrtc_mode)
        self._gate = ambience.floor_dbfs + margin_db

    def push(self, frame: np.ndarray) -> float:
        return self._vad.push(frame) * float(level_dbfs(frame) > self._gate)

    def reset(self) -> None:
        self._vad.reset()


def _contestants() -> dict[str, Callable[[NoiseProfile], VoiceDetector]]:
    return {
        **{f"webrtc {mode}": lambda _, mode=mode: WebRtcDetector(mode) for mode in range(4)},
        "gate": GateDetector,
        "webrtc + gate 3 dB": lambda ambience: WebRtcWithGate(ambience, 3.0),
        "webrtc + gate 6 dB": lambda ambience: WebRtcWithGate(ambience, 6.0),
        "silero": lambda _: SileroDetector(),
        "ours without silero": lambda ambience: FusedDetector(WebRtcDetector(2), ambience),
        "ours": best_detector,
    }


def measure_detectors(report: Report, clips: Sequence[np.ndarray]) -> None:
    """Frame-level F1 and ROC-AUC per signal-to-noise ratio, the clips taking turns as speech and as babble."""
    from sklearn.metrics import f1_score, roc_auc_score

    rng = np.random.default_rng(0)
    made = [*streams(clips[0::2], clips[1::2], rng), *streams(clips[1::2], clips[0::2], rng)]
    scores: dict[str, list[float]] = {}
    for name, make in _contestants().items():
        heard = [_probabilities(make(calibrate(stream.room)), stream) for stream in made]
        steady = [_decisions(values, name) for values in heard]
        row: dict[str, object] = {"what": "frames", "name": name}
        for snr in SNRS:
            chosen = [place for place, stream in enumerate(made) if stream.snr == snr]
            truth = np.concatenate([made[place].truth[CALIBRATION:] for place in chosen])
            decided = np.concatenate([steady[place][CALIBRATION:] for place in chosen])
            graded = np.concatenate([heard[place][CALIBRATION:] for place in chosen])
            row[f"f1 {snr} dB"] = round(float(f1_score(truth, decided)), 3)
            row[f"auc {snr} dB"] = round(float(roc_auc_score(truth, graded)), 3)
        scores[name] = [float(row[f"f1 {snr} dB"]) for snr in SNRS]
        report.rows.append(row)
    webrtc = max(statistics.mean(scores[f"webrtc {mode}"][1:]) for mode in range(4))
    report.figures["f1_gain_over_webrtcvad"] = round(statistics.mean(scores["ours"][1:]) - webrtc, 3)
    others = [value for name, value in scores.items() if not name.startswith("ours")]
    report.figures["f1_least_lead_over_best"] = round(
        min(ours - max(other[place] for other in others) for place, ours in enumerate(scores["ours"])), 3
    )


def _probabilities(detector: VoiceDetector, stream: Stream) -> np.ndarray:
    return np.array([detector.push(frame) for frame in frames(stream.samples)])


def _decisions(probabilities: np.ndarray, name: str) -> np.ndarray:
    if not name.startswith("ours"):
        return probabilities >= 0.5
    steady = Hysteresis()
    return np.array([steady.push(value) for value in probabilities])


# --- cost ----------------------------------------------------------------------------------------


def measure_cost(report: Report, clips: Sequence[np.ndarray], minutes: int) -> None:
    """Share of a core in real time, and what memory grew by, over `minutes` of sound as fast as possible.

    All clips with a second of silence after each; the turn detector, which is asked in pauses, counts apart.
    """
    import psutil

    pause = np.zeros(RATE, dtype=np.float32)
    block = frames(np.concatenate([part for clip in clips for part in (clip, pause)]))
    rounds = max(3, round(minutes * 60 * RATE / block.size))
    endpointer = Endpointer(best_detector())
    memory = psutil.Process().memory_info
    percents = []
    for number in range(rounds):
        percents.append(_percent_of_a_core(endpointer, block))
        if number == rounds // 10:
            early = memory().rss
    growth = (memory().rss - early) / 2**20
    detection = statistics.median(percents)
    with_turns = _percent_of_a_core(Endpointer(best_detector(), turn=best_turn_detector()), block)
    report.figures["detection_percent_of_a_core"] = round(detection, 2)
    report.figures["turn_detection_percent_of_a_core"] = round(with_turns - detection, 2)
    report.figures["memory_growth_mb"] = round(growth, 2)
    report.figures["memory_growth_over_minutes"] = round(rounds * block.size / RATE / 60, 1)


def _percent_of_a_core(endpointer: Endpointer, block: np.ndarray) -> float:
    started = time.process_time()
    for frame in block:
        endpointer.push(frame)
    return 100 * (time.process_time() - started) / (block.size / RATE)


# --- words ---------------------------------------------------------------------------------------


def measure_recognition(report: Report, clips: Sequence[tuple[AudioClip, str]]) -> None:
    """Word error rate clean and at each ratio, each clip in one of the four noises, with and without endpointing."""
    import jiwer

    whisper = WhisperRecognizer()
    rng = np.random.default_rng(1)
    spoken = [normalised(text) for _, text in clips]
    for snr in (None, *SNRS):
        row: dict[str, object] = {"what": "words", "name": "clean" if snr is None else f"{snr} dB"}
        sounds = [_with_room(clip.samples, snr, NOISES[place % 4], clips, rng) for place, (clip, _) in enumerate(clips)]
        row["wer"] = round(jiwer.wer(spoken, [_text(whisper, [sound]) for sound in sounds]), 4)
        row["wer with our endpointing"] = round(
            jiwer.wer(spoken, [_text(whisper, _utterances(sound)) for sound in sounds]), 4
        )
        report.rows.append(row)
        if snr is None:
            report.figures["wer_clean"] = float(row["wer"])
    if whisper_base_is_here():
        base = WhisperRecognizer("base")
        found = jiwer.wer(spoken, [_text(base, [clip]) for clip, _ in clips])
        report.rows.append({"what": "words", "name": "clean, whisper:base", "wer": round(found, 4)})


def normalised(text: str) -> str:
    """Lower case, no punctuation, titles written out: what a word error rate compares."""
    text = re.sub(r"\bmr\.?(?=\s)", "mister", text.lower()).replace("-", " ")
    return " ".join(re.sub(r"[^a-z' ]", " ", text).split())


def _with_room(
    samples: np.ndarray, snr: float | None, noise: str, clips: Sequence[tuple[AudioClip, str]], rng: np.random.Generator
) -> AudioClip:
    sound = np.concatenate([np.zeros(CALIBRATION * FRAME), samples, np.zeros(RATE)]).astype(np.float32)
    if snr is not None:
        truth = np.pad(speech_frames(samples), (CALIBRATION, 0))
        sound = in_noise(sound, truth, noise, snr, [clip.samples for clip, _ in clips], rng)
    return AudioClip(sound, RATE)


def _utterances(sound: AudioClip) -> list[AudioClip]:
    detector = best_detector(calibrate(sound.cut(0, CALIBRATION * FRAME)))
    return list(utterances(_Once(sound.samples), Endpointer(detector, EndpointSettings(hang_over_s=0.9))))


def _text(whisper: WhisperRecognizer, clips: Iterable[AudioClip]) -> str:
    found = []
    for clip in clips:
        try:
            found.append(whisper.transcribe(clip).text)
        except NoSpeech:
            continue
    return normalised(" ".join(found))


# --- endpoints -----------------------------------------------------------------------------------


class _Once:
    """A source of samples, as fast as they are taken."""

    overruns = 0

    def __init__(self, samples: np.ndarray) -> None:
        self._samples = samples

    def frames(self) -> Iterable[np.ndarray]:
        return iter(frames(self._samples))

    def close(self) -> None:
        """Nothing to release."""


@dataclass(frozen=True)
class Endpoint:
    """How an utterance was ended: too early, or so many seconds after its true end."""

    cut_short: bool
    delay_s: float


def measure_endpoints(report: Report, clips: Sequence[np.ndarray], *, with_pauses: bool) -> None:
    """Ours in real time with partial transcripts, and waiting for silence alone at several hang-overs."""
    whisper = WhisperRecognizer()
    whisper.transcribe(AudioClip(clips[0], RATE))
    ours = [_in_real_time(clip, whisper) for clip in clips]
    report.figures["endpoint_delay_ms_p50"] = round(1000 * statistics.median(end.delay_s for end in ours), 0)
    report.figures["cut_short_share"] = round(statistics.mean(end.cut_short for end in ours), 3)
    _endpoint_rows(report, "clean", clips, ours)
    if with_pauses:
        rng = np.random.default_rng(2)
        paused = [_with_pause(clip, rng) for clip in clips]
        _endpoint_rows(report, "pause added", paused, [_in_real_time(clip, whisper) for clip in paused])


def measure_acted_endpoints(report: Report, clips: Sequence[Acted], *, count: int) -> None:
    """Acted clips of unmet actors in real time: two sentences with a pause between them, and a pause inside of one."""
    rng = np.random.default_rng(8)
    whisper = WhisperRecognizer()
    unmet = [each for each in clips if each.actor not in TUNING_ACTORS]
    inside = [unmet[place] for place in rng.permutation(len(unmet))[:count]]
    sets = {
        "two acted sentences": [each.clip.samples for each in joined(unmet, count, rng)],
        "acted, pause added": [_with_pause(spoken_part(each.clip.samples), rng) for each in inside],
    }
    for kind, sounds in sets.items():
        _endpoint_rows(report, kind, sounds, [_in_real_time(sound, whisper) for sound in sounds])


def _endpoint_rows(report: Report, kind: str, clips: Sequence[np.ndarray], ours: Sequence[Endpoint]) -> None:
    report.rows.append({"what": f"endpoints, {kind}", "name": "ours", **_summary(ours)})
    for hang_over in _HANG_OVERS:
        ends = [_by_silence(clip, hang_over) for clip in clips]
        report.rows.append({"what": f"endpoints, {kind}", "name": f"silence {hang_over:g} s", **_summary(ends)})


def _summary(ends: Sequence[Endpoint]) -> dict[str, float]:
    delays = sorted(end.delay_s for end in ends)
    return {
        "cut short": round(statistics.mean(end.cut_short for end in ends), 3),
        "delay p50 ms": round(1000 * statistics.median(delays)),
        "delay mean ms": round(1000 * statistics.mean(delays)),
        "delay max ms": round(1000 * delays[-1]),
    }


def _by_silence(clip: np.ndarray, hang_over: float) -> Endpoint:
    endpointer = Endpointer(best_detector(), EndpointSettings(hang_over_s=hang_over))
    found = [event for event in map(endpointer.push, frames(_padded(clip))) if isinstance(event, SpeechEnd)]
    return _judged(clip, [event.known_at for event in found])


def _in_real_time(clip: np.ndarray, whisper: WhisperRecognizer) -> Endpoint:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        write_wav(path, AudioClip(_padded(clip), RATE))
        source = FileSource(path, paced=True)
        endpointer = Endpointer(best_detector(), turn=best_turn_detector())
        started = time.monotonic()
        # By the clock: what is computed meanwhile delays the event, and the position in the sound hides that.
        found = [
            round((time.monotonic() - started) * RATE)
            for event in listen(source, endpointer, whisper)
            if isinstance(event, SpeechEnd)
        ]
    return _judged(clip, found)


def _padded(clip: np.ndarray) -> np.ndarray:
    # A quiet room before and after; digital silence would be too easy.
    room = np.random.default_rng(3).standard_normal(len(clip) + 3 * RATE) * 10 ** (-65 / 20)
    room[RATE : RATE + len(clip)] += clip
    return room.astype(np.float32)


def _judged(clip: np.ndarray, ends: Sequence[int]) -> Endpoint:
    """`ends`: the samples at which an end was known."""
    true_end = RATE + (int(np.flatnonzero(speech_frames(clip))[-1]) + 1) * FRAME
    early = any(end < true_end - _MARGIN_S * RATE for end in ends)
    last = ends[-1] if ends else true_end + 3 * RATE
    return Endpoint(early, max(0.0, (last - true_end) / RATE))


def _with_pause(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A pause of 0.4 to 0.8 s of the clip's own noise at the quietest moment of its middle half."""
    levels = np.array([level_dbfs(frame) for frame in frames(clip)])
    quarter = len(levels) // 4
    place = (quarter + int(np.argmin(np.convolve(levels[quarter : 3 * quarter], np.ones(3), "same")))) * FRAME
    quiet = np.tile(clip[place : place + FRAME], 30)[: int(rng.uniform(0.4, 0.8) * RATE)]
    return np.concatenate([clip[:place], quiet, clip[place:]]).astype(np.float32)


if __name__ == "__main__":
    sys.exit(run(measure, "hearing", PACKAGES))
