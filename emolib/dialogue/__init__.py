"""The conversation: segment the reply, choose the voice, run a turn, trace it."""

from __future__ import annotations

from emolib.dialogue.exchange import FALLBACK, answer_question
from emolib.dialogue.history import History
from emolib.dialogue.policy import VOICES, Voice, choose_voice
from emolib.dialogue.segment import ClauseSplitter, segment, segment_stream
from emolib.dialogue.speakable import speakable
from emolib.dialogue.stages import Stages, choose_emotion_model, default_reply_model, open_stages
from emolib.dialogue.talk import talk
from emolib.dialogue.text_chat import TextReply, TextSession
from emolib.dialogue.trace import Span, Trace
from emolib.dialogue.turn import Turn

__all__ = [
    "FALLBACK",
    "VOICES",
    "ClauseSplitter",
    "History",
    "Span",
    "Stages",
    "TextReply",
    "TextSession",
    "Trace",
    "Turn",
    "Voice",
    "answer_question",
    "choose_emotion_model",
    "choose_voice",
    "default_reply_model",
    "open_stages",
    "segment",
    "segment_stream",
    "speakable",
    "talk",
]
