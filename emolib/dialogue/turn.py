"""One exchange: what was heard, what was felt in it, and what was answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from emolib.dialogue.policy import Voice
from emolib.dialogue.safety import Distress
from emolib.emotions import EmotionScores

__all__ = ["FALLBACK", "Turn"]

#: What is said where the reply model gives nothing that can be spoken.
FALLBACK = "I am sorry, I could not find an answer just now. Could you say that again?"


@dataclass(frozen=True)
class Turn:
    """A finished exchange.

    `reply_from` names the reply model, or says that and why the reply is the fallback sentence;
    `emotion_model` names what judged the emotion. `latency_ms` has the work of each stage,
    `first_sound` (the first clause of the answer as sound) and `total`, both counted from the end of
    the question; `load` is the time it took to get the models ready, before the question was heard.
    """

    transcript: str
    emotion: EmotionScores
    reply: str
    reply_from: str
    emotion_model: str
    tone: str
    voice: Voice
    distress: Distress
    answer_seconds: float
    latency_ms: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The turn as JSON: `transcript, emotion, probabilities, reply, latency_ms` and where they came from."""
        return {
            "transcript": self.transcript,
            "emotion": self.emotion.label,
            "abstained": self.emotion.abstained,
            "probabilities": self.emotion.as_dict(),
            "reply": self.reply,
            "reply_from": self.reply_from,
            "emotion_model": self.emotion_model,
            "tone": self.tone,
            "voice": {"emotion": self.voice.emotion or "neutral", "intensity": self.voice.intensity},
            "distress": self.distress.value,
            "answer_seconds": round(self.answer_seconds, 2),
            "latency_ms": self.latency_ms,
        }

    def table(self) -> str:
        """The turn for people."""
        sure = "not sure, taken as neutral" if self.emotion.abstained else f"{self.emotion.confidence:.0%}"
        times = ", ".join(f"{stage} {milliseconds}" for stage, milliseconds in self.latency_ms.items())
        rows = [
            ("heard", self.transcript),
            ("emotion", f"{self.emotion.label} ({sure}), by {self.emotion_model}"),
            ("reply", f"{self.reply}"),
            ("from", self.reply_from),
            ("tone", self.tone),
            ("voice", f"{self.voice.emotion or 'neutral'}, intensity {self.voice.intensity:.2f}"),
            ("ms", times),
        ]
        return "\n".join(f"{name:<8} {value}" for name, value in rows)
