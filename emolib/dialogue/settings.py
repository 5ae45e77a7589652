"""How patient a conversation is: how long each stage may take, and what counts as an interruption."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["UNHURRIED", "AgentSettings"]


@dataclass(frozen=True)
class AgentSettings:
    """Seconds, except for `ahead` (clauses synthesised before they are played) and `longest_reply` (characters).

    The classifier has `classify_s`, then the answer goes on with the last estimate, and what is predicted later is only
    the emotion of the turn. Content understanding, when the stack asks for it, has `understand_s`. A reply model may be
    silent for `reply_s`, or for its own `patience_s` if that is longer, a clause may take `speak_s` to be synthesised,
    and a player may stand still for `stuck_s`. Speech over the answer is an interruption from `least_interruption_s`
    on, and after the first `warm_up_s` of the answer; with `half_duplex` never, for loudspeakers beside an open
    microphone. Somebody who speaks without a pause for `longest_turn_s` is answered before they have finished.

    With `preemptive` an answer is prepared whenever the speaker pauses, before it is known that this was the end, and
    the reply begins in the tone of the last estimate, before the emotion is predicted: neither wait costs anything
    then, and what was begun on a wrong guess is discarded. Each guess is a request to the reply model, which a server
    may charge for.

    With `in_turns` the next event is taken when the answer to the one before is over: for recordings and lines of
    text, which wait.
    """

    classify_s: float = 0.15
    understand_s: float = 5.0
    reply_s: float = 20.0
    speak_s: float = 10.0
    stuck_s: float = 30.0
    ahead: int = 2
    longest_reply: int = 4000
    least_interruption_s: float = 0.5
    warm_up_s: float = 1.0
    half_duplex: bool = False
    longest_turn_s: float = 120.0
    preemptive: bool = True
    in_turns: bool = False


#: For recordings taken whole and lines of text: nobody waits for the first sound, and even the first prediction of a
#: classifier, which is slower than those after it, decides on the tone.
UNHURRIED = AgentSettings(in_turns=True, classify_s=20.0)
