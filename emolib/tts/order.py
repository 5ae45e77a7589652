"""Several sentences synthesised at once and heard in the order of the text, with the times of each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass
from typing import Any, Protocol

from emolib.audio import AudioClip
from emolib.errors import EmolibError, InputError, ServiceError
from emolib.speech.playback import OrderedPlayer, Played
from emolib.speech.sinks import AudioSink
from emolib.tables import markdown_table
from emolib.tts.client import SpeechRequest

__all__ = ["OrderedSpeech", "SentenceTimes", "speak_in_order"]

_POLL_S = 0.005
#: Between two requests, so that they reach the service in the order in which they are sent.
_APART_S = 0.02
_LONGEST_S = 120.0


class Speaks(Protocol):
    """Synthesises a request; `SpeechSynthesizer` is one."""

    def synthesize(self, request: SpeechRequest) -> AudioClip: ...


@dataclass(frozen=True)
class SentenceTimes:
    """When sentence `number` was asked for, was ready, and was heard, in seconds since the first request."""

    number: int
    asked_s: float
    ready_s: float
    heard_s: float
    heard_until_s: float


@dataclass(frozen=True, eq=False)
class OrderedSpeech:
    """The times of each sentence, in the order of the text, and the sound as it was played (its last 12 s)."""

    sentences: tuple[SentenceTimes, ...]
    clip: AudioClip

    def rows(self) -> list[dict[str, Any]]:
        """Return the times as mappings, for `emolib.plots.speech_order`."""
        return [asdict(sentence) for sentence in self.sentences]

    def table(self) -> str:
        """Format the times as a Markdown table, one sentence a line."""
        header = ["sentence", "asked (s)", "ready (s)", "heard from (s)", "to (s)"]
        rows = [[str(number + 1), *(f"{at:.2f}" for at in times)] for number, *times in map(astuple, self.sentences)]
        return markdown_table(header, rows)


def speak_in_order(
    synthesizer: Speaks, requests: Sequence[SpeechRequest], sink: AudioSink, *, asked: Sequence[int] | None = None
) -> OrderedSpeech:
    """Ask for all `requests` at once and play them through `sink` in the order of the text.

    `asked` is the order in which they are sent (default: the last one first, which is the worst). Returns when all were
    played. InputError if there is no request or `asked` is no order of them; ServiceError if one cannot be spoken.
    """
    order = list(reversed(range(len(requests)))) if asked is None else list(asked)
    if not requests or sorted(order) != list(range(len(requests))):
        raise InputError(f"the order {order} does not name each of the {len(requests)} sentences once")
    player = OrderedPlayer(sink)
    watch = _Watch(player)
    sent, ready = {}, {}

    def speak(number: int) -> None:
        try:
            player.put(number, synthesizer.synthesize(requests[number]))
            ready[number] = watch.now()
        except EmolibError:
            player.fail(number)
            raise

    with ThreadPoolExecutor(len(requests), "speak") as pool:
        tasks = []
        for number in order:
            sent[number] = watch.now()
            tasks.append(pool.submit(speak, number))
            time.sleep(_APART_S)
        player.end(len(requests))
        watch.follow(len(requests))
    for task in tasks:
        task.result()
    times = (SentenceTimes(n, sent[n], ready[n], *watch.heard[n]) for n in range(len(requests)))
    return OrderedSpeech(tuple(times), player.recent)


class _Watch:
    """Notes when each sentence of a player begins and ends to be heard."""

    def __init__(self, player: OrderedPlayer) -> None:
        self._player = player
        self._zero = time.monotonic()
        self.heard: dict[int, tuple[float, float]] = {}

    def now(self) -> float:
        return time.monotonic() - self._zero

    def follow(self, count: int) -> None:
        """Look until all sentences were played. ServiceError after two minutes."""
        while not self._player.wait(_POLL_S):
            self._note(self._player.heard)
            if self.now() > _LONGEST_S:
                self._player.stop()
                raise ServiceError(f"{count} sentences were not spoken within {_LONGEST_S:g} s; is the service busy?")
        self._note(self._player.heard)

    def _note(self, played: list[Played]) -> None:
        now = self.now()
        open_ones = [one for one in played if not self.heard.get(one.number) or one is played[-1]]
        for one in open_ones:
            self.heard[one.number] = (self.heard.get(one.number, (now,))[0], now)
