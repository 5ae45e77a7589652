"""One recording heard as a microphone would hear it, with everything that decided where its utterances end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emolib.audio import SAMPLE_RATE
from emolib.speech.endpointing import Endpointer, EndpointSettings, SpeechEnd, SpeechStart
from emolib.speech.listening import Event, FalseAlarm, NoTranscript, Partial, SpeechLikely, Transcribed, listen
from emolib.speech.noise import QUIET_ROOM, NoiseProfile
from emolib.speech.sources import AudioSource
from emolib.speech.transcript import StreamingRecognizer
from emolib.speech.turn import best_turn_detector
from emolib.speech.vad import best_detector
from emolib.tables import markdown_table

__all__ = ["Hearing", "Pause", "hear"]


@dataclass(frozen=True)
class Pause:
    """A frame of an utterance: its end, how long the speaker has been silent, and how long that may last (seconds)."""

    at: float
    silence_s: float
    wait_s: float


@dataclass(frozen=True, eq=False)
class Hearing:
    """The events of a recording in their order, and its pauses frame by frame."""

    events: Sequence[Event]
    pauses: Sequence[Pause]

    @property
    def ends(self) -> list[SpeechEnd]:
        """Return the end of each utterance."""
        return [event for event in self.events if isinstance(event, SpeechEnd)]

    @property
    def transcribed(self) -> list[Transcribed]:
        """Return the utterances that have a transcript."""
        return [event for event in self.events if isinstance(event, Transcribed)]

    def table(self) -> str:
        """Format the events as a Markdown table, with the second at which each was known."""
        rows = [[f"{_known_at(event):.2f}", *_described(event)] for event in self.events]
        return markdown_table(["second", "event", "what is known"], rows)


def hear(
    source: AudioSource,
    recognizer: StreamingRecognizer,
    noise: NoiseProfile = QUIET_ROOM,
    settings: EndpointSettings | None = None,
) -> Hearing:
    """Listen to `source` to its end in the room that `noise` describes; `settings` say when an utterance ends.

    With a paced source the partial transcripts come when they would come from a microphone. Raises as the source and
    the recogniser do.
    """
    endpointer = _WatchedEndpointer(best_detector(noise), settings, turn=best_turn_detector())
    events = list(listen(source, endpointer, recognizer))
    return Hearing(events, endpointer.pauses)


class _WatchedEndpointer(Endpointer):
    """An endpointer that keeps the pauses."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        self.pauses: list[Pause] = []

    def push(self, frame: np.ndarray) -> SpeechStart | SpeechEnd | None:
        event = super().push(frame)
        if self.speaking:
            self.pauses.append(Pause(self.position / SAMPLE_RATE, self.silence_s, self.wait_s))
        elif isinstance(event, SpeechEnd):
            silence_s = (event.known_at - event.end) / SAMPLE_RATE
            self.pauses.append(Pause(self.position / SAMPLE_RATE, silence_s, min(self.pauses[-1].wait_s, silence_s)))
        return event


def _known_at(event: Event) -> float:
    if isinstance(event, Transcribed | NoTranscript):
        return event.end.known_at / SAMPLE_RATE
    return (event.position if isinstance(event, Partial) else event.known_at) / SAMPLE_RATE


def _described(event: Event) -> tuple[str, str]:
    match event:
        case SpeechLikely():
            return "speech is likely", ""
        case FalseAlarm():
            return "false alarm", "it was no speech"
        case SpeechStart():
            return "start of speech", f"since {event.position / SAMPLE_RATE:.2f} s"
        case Partial():
            return "partial, in a pause" if event.in_pause else "partial", event.text or "(nothing yet)"
        case SpeechEnd():
            return "end of speech", f"at {event.end / SAMPLE_RATE:.2f} s, by {event.reason}"
        case Transcribed():
            return "transcript", event.transcript.text
    return "no transcript", event.problem or ""
