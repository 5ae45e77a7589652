"""A recogniser joined with a second model that hears the emotion of the voice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from emolib.audio import AudioClip
from emolib.errors import EmolibError
from emolib.speech.partials import PartialTranscripts
from emolib.speech.transcript import SpeechRecognizer, Transcript

__all__ = ["VoiceEmotionModel", "WithVoiceEmotion"]


class VoiceEmotionModel(Protocol):
    """Classifies the emotion of a voice; `emolib.speech.Emotion2Vec` is one."""

    def classify(self, clip: AudioClip) -> Mapping[str, float]: ...


class WithVoiceEmotion:
    """Speech to text by `recognizer`, with the voice emotion of `model` in each transcript."""

    def __init__(self, recognizer: SpeechRecognizer, model: VoiceEmotionModel) -> None:
        self._recognizer = recognizer
        self._model = model

    def transcribe(self, clip: AudioClip) -> Transcript:
        """Return the transcript of `clip`; when the second model fails, the words alone. Raises as the recogniser."""
        transcript = self._recognizer.transcribe(clip)
        try:
            return replace(transcript, voice_emotion=self._model.classify(clip))
        except EmolibError:
            return transcript

    def stream(self) -> PartialTranscripts:
        """Begin an utterance, transcribed again and again while it is spoken."""
        return PartialTranscripts(self)
