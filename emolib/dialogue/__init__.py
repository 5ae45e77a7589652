"""The conversation: the turn engine, its style and safety, its turns and traces."""

from __future__ import annotations

from emolib.dialogue.agent import VoiceAgent
from emolib.dialogue.events import Recordings, TextInput, events_of, events_of_lines, events_of_recordings
from emolib.dialogue.history import History
from emolib.dialogue.policy import RESPONSE_STYLES, ResponseStyle, Trend, Voice, choose_style
from emolib.dialogue.safety import HELP_LINES, HELP_MESSAGE, HELP_MESSAGE_ZH, Distress, SafetyPolicy
from emolib.dialogue.segment import ClauseSplitter, clause_moments, segment, segment_stream
from emolib.dialogue.session import converse, hold_conversation, talk
from emolib.dialogue.settings import AgentSettings
from emolib.dialogue.state import Phase, State
from emolib.dialogue.terminal import TextChat
from emolib.dialogue.trace import Span, Trace
from emolib.dialogue.turn import FALLBACK, Turn, latency_table, read_trace, write_trace
from emolib.speakable import speakable

__all__ = [
    "FALLBACK",
    "HELP_LINES",
    "HELP_MESSAGE",
    "HELP_MESSAGE_ZH",
    "RESPONSE_STYLES",
    "AgentSettings",
    "ClauseSplitter",
    "Distress",
    "History",
    "Phase",
    "Recordings",
    "ResponseStyle",
    "SafetyPolicy",
    "Span",
    "State",
    "TextChat",
    "TextInput",
    "Trace",
    "Trend",
    "Turn",
    "Voice",
    "VoiceAgent",
    "choose_style",
    "clause_moments",
    "converse",
    "events_of",
    "events_of_lines",
    "events_of_recordings",
    "hold_conversation",
    "latency_table",
    "read_trace",
    "segment",
    "segment_stream",
    "speakable",
    "talk",
    "write_trace",
]
