"""The conversation: segment the reply, choose the tone and the voice, run a turn, trace it."""

from __future__ import annotations

from emolib.dialogue.segment import ClauseSplitter, segment, segment_stream

__all__ = ["ClauseSplitter", "segment", "segment_stream"]
