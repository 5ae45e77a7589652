"""The conversation: segment the reply, choose the voice, run a turn, trace it."""

from __future__ import annotations

from emolib.dialogue.agent import AgentTurn, VoiceAgent
from emolib.dialogue.conversation import Conversation, Exchange
from emolib.dialogue.events import events_of
from emolib.dialogue.history import History
from emolib.dialogue.policy import RESPONSE_STYLES, ResponseStyle, Trend, Voice, choose_style
from emolib.dialogue.safety import HELP_MESSAGE, Distress, SafetyPolicy
from emolib.dialogue.segment import ClauseSplitter, segment, segment_stream
from emolib.dialogue.settings import AgentSettings
from emolib.dialogue.stages import Stages, default_reply_model, open_stages
from emolib.dialogue.talk import talk
from emolib.dialogue.text_chat import TextReply, TextSession
from emolib.dialogue.trace import Span, Trace
from emolib.dialogue.turn import FALLBACK, Turn
from emolib.speakable import speakable

__all__ = [
    "FALLBACK",
    "HELP_MESSAGE",
    "RESPONSE_STYLES",
    "AgentSettings",
    "AgentTurn",
    "ClauseSplitter",
    "Conversation",
    "Distress",
    "Exchange",
    "History",
    "ResponseStyle",
    "SafetyPolicy",
    "Span",
    "Stages",
    "TextReply",
    "TextSession",
    "Trace",
    "Trend",
    "Turn",
    "Voice",
    "VoiceAgent",
    "choose_style",
    "default_reply_model",
    "events_of",
    "open_stages",
    "segment",
    "segment_stream",
    "speakable",
    "talk",
]
