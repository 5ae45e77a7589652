"""Counters of the service in Prometheus' text format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from emolib.tts.admission import Admission

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FIRST_PIECE_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)


class Metrics:
    """What one service has done: answers, queue, seconds of sound and of work."""

    def __init__(self, room: Admission) -> None:
        self._registry = CollectorRegistry()
        self._answers = Counter("emolib_tts_answers", "Answers by status", ["status"], registry=self._registry)
        self._audio = Counter("emolib_tts_audio_seconds", "Seconds of sound made", registry=self._registry)
        self._work = Counter("emolib_tts_work_seconds", "Seconds the engine worked", registry=self._registry)
        self._first = Histogram(
            "emolib_tts_first_piece_seconds",
            "From the request to the first piece of sound, waiting included",
            buckets=_FIRST_PIECE_BUCKETS,
            registry=self._registry,
        )
        self._factor = Gauge("emolib_tts_real_time_factor", "Work per second of sound", registry=self._registry)
        for name, help_text, value in (
            ("emolib_tts_waiting", "Requests that wait", lambda: room.waiting),
            ("emolib_tts_running", "Utterances in synthesis", lambda: room.running),
        ):
            Gauge(name, help_text, registry=self._registry).set_function(value)
        self._total_audio = 0.0
        self._total_work = 0.0

    def answered(self, status: int) -> None:
        """Count an answer of `/v1/tts`."""
        self._answers.labels(str(status)).inc()

    def first_piece(self, seconds: float) -> None:
        """Note how long a client waited for the first piece."""
        self._first.observe(seconds)

    def spoken(self, audio_seconds: float, work_seconds: float) -> None:
        """Note what the engine made, and in what time."""
        self._audio.inc(audio_seconds)
        self._work.inc(work_seconds)
        self._total_audio += audio_seconds
        self._total_work += work_seconds
        self._factor.set(self.real_time_factor)

    @property
    def real_time_factor(self) -> float:
        """Seconds of work for a second of sound, over the life of the service; 0 before the first."""
        return self._total_work / self._total_audio if self._total_audio else 0.0

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)
