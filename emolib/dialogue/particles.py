"""Where to cut speech that has no punctuation: at modal particles (语气词) and discourse markers.

A Chinese clause ends with its particle, 好吧 or 是啊; an English one begins with its marker, "well" or
"I mean". Both are found by rules over a few characters around the spot, which suits a stream: a cut
is known two characters (in English a word) after it.
"""

from __future__ import annotations

import re

__all__ = ["LOOKAHEAD", "PARTICLES", "ends_with_particle", "may_start_marker", "starts_with_marker"]

#: Modal particles and interjections that may end a clause.
PARTICLES = "啊呢吧吗嘛呀哦啦哇呗咯喽哈嗯哎唉噢喔哟诶"

#: Characters after a particle that `ends_with_particle` wants to see.
LOOKAHEAD = 2

# Words that hold a particle character which is none: the text up to it, and what follows.
_ENDS_WORD = re.compile(
    r"(?:[酒网贴氧书水餐清迪话陶烤]吧|[干幹]嘛|干吗|[哗呼扑哆刷呱]啦|[花毛粗]呢|[曼巴德拉丹阿本·]哈|[咿牙]呀|咯咯)$"
)
_BEGINS_WORD = re.compile(
    r"吧(?:唧|台|友|主|女)|呢(?:子|绒|喃|大衣|料)|吗(?:啡|丁)|啦(?:啦队|A)|哇(?:塞|噻)|嗯(?:呢|哼)|哦(?:呵|了(?!解))|哈(?:尔|佛|利|里|登|密|欠|腰|喽|根|韩|日|迪|斯|伍|士|雷|维|蒂|拉|萨|桑|姆|罗|比|瑞|勒)"
)
# 哈 by itself is a particle only after something that could end a clause; else it begins a name.
_BEFORE_SINGLE_HA = "了的吧啊呀吗嘛呢好是哦对行看说个嗯点下多"
_CLOSING = "》”’」』）)】〉\"'"

_SUBJECT = r"(?:i|i'm|i'll|i've|you|you're|we|we're|he|she|it|it's|that|that's|this|they|there|there's|maybe|let|let's)"
#: Markers that begin a clause wherever they stand, and those that do where a new subject follows them.
_MARKER = re.compile(
    r"(?:(?:oh|hmm+|hm|uh|um|wow|i mean|you know)|(?:well|yes|yeah|okay|anyway|anyways|honestly|so yeah)\s+"
    + _SUBJECT
    + r")\s",
    re.IGNORECASE,
)
_MARKERS = ("oh", "hm", "uh", "um", "wow", "i mean", "you know", "well", "yes", "yeah", "okay", "anyway", "honestly")
_MARKERS += ("so yeah",)
# What before a marker makes it part of the sentence: as well, do you know, that is okay.
_BOUND_BEFORE = re.compile(
    r"(?:\b(?:as|very|so|too|not|pretty|quite|really|how|doing|did|do|does|if|when|what|that|is|are|was|were|be|been|am"
    r"|it|it's|i'm|you're|that's|its|im|and|but|or|the|a|an|my|your|say|said|says|just|only|all|of|to|with|for|because|who"
    r"|which|than|know|works|work|go|went|going|feel|feels|let|can|could|would|will|should|have|has|had|don't|didn't"
    r"|more|even|also|still|much|off|on|in|at)|[-/])\s*$",
    re.IGNORECASE,
)
# What after a marker does: you know what I did.
_BOUND_AFTER = re.compile(
    r"(?:you know\s+(?:what|how|who|where|why|when|the|that|him|her|them|it|me|any|nothing|exactly|about|if|a)"
    r"|oh\s+(?:my|no|well|yeah|yes)|wow\s+(?:factor|moment))\b",
    re.IGNORECASE,
)
# Enough of the text after a marker to judge it by: the marker, a word and the space after it.
_MARKER_CONTEXT = 20


def ends_with_particle(before: str, after: str) -> bool:
    """Whether a clause ends between `before` and `after`: with a modal particle that is no part of a word.

    `after` holds the next `LOOKAHEAD` characters, or fewer at the end of the text.
    """
    if not before or before[-1] not in PARTICLES or not after:
        return False
    if after[0] in PARTICLES or after[0] in _CLOSING or _ENDS_WORD.search(before[-3:]):
        return False
    if _BEGINS_WORD.match(before[-1] + after):
        return False
    return before[-1] != "哈" or len(before) == 1 or before[-2] in _BEFORE_SINGLE_HA or before[-2] in PARTICLES


def starts_with_marker(before: str, after: str) -> bool:
    """Whether an English clause begins at `after` with a discourse marker; `before` ends with a space."""
    marker = _MARKER.match(after)
    return bool(marker) and not _BOUND_BEFORE.search(before) and not _BOUND_AFTER.match(after)


def may_start_marker(after: str) -> bool:
    """Whether `after` could still turn out to begin with a marker once more of the text has come."""
    if len(after) >= _MARKER_CONTEXT:
        return False
    head = after.lower()
    return any(head.startswith(marker) or marker.startswith(head) for marker in _MARKERS)
