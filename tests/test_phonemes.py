"""Phonemes for Piper: as its own phonemizer gives them, without losing memory, in runs that a voice can hold."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolib.models import piper_voice
from emolib.tts.engines.piper import LONGEST_RUN, Phonemizer, runs

SENTENCE = "We can talk about it tomorrow, when everybody has had some sleep."


@pytest.fixture(scope="module")
def phonemes() -> Phonemizer:
    from piper import PiperConfig

    return Phonemizer(PiperConfig.from_dict(json.loads(piper_voice().with_suffix(".onnx.json").read_text())))


@pytest.mark.parametrize(
    "text", [SENTENCE, "Hello; you: there… What? Yes! (in brackets)", "naïve café, déjà vu", "7 × 8 = 56", "a" * 300]
)
def test_they_are_those_of_pipers_own_phonemizer(phonemes: Phonemizer, text: str) -> None:
    from piper.phonemize_espeak import EspeakPhonemizer

    assert phonemes(text) == EspeakPhonemizer().phonemize("en-us", text)


@pytest.mark.parametrize("text", ["", "...", "。", "—"])
def test_what_has_no_sound_has_none(phonemes: Phonemizer, text: str) -> None:
    assert phonemes(text) == []


def test_after_chinese_the_language_is_english_again(phonemes: Phonemizer) -> None:
    english = phonemes(SENTENCE)
    assert phonemes("你好，世界")
    assert phonemes(SENTENCE) == english


def test_the_language_is_not_set_for_each_sentence(phonemes: Phonemizer, monkeypatch: pytest.MonkeyPatch) -> None:
    from piper import espeakbridge

    monkeypatch.setattr(espeakbridge, "set_voice", lambda _: pytest.fail("espeak-ng loses 1.3 kB at each change"))
    assert phonemes(SENTENCE)


@given(st.lists(st.sampled_from(string.ascii_letters + " ,;:."), max_size=600))
def test_runs_lose_no_phoneme_and_are_never_too_long(spoken: list[str]) -> None:
    parts = list(runs(spoken))
    assert [phoneme for part in parts for phoneme in part] == spoken
    assert all(0 < len(part) <= LONGEST_RUN for part in parts)


def test_a_run_ends_behind_a_clause_else_behind_a_word() -> None:
    words = ["".join(part) for part in runs([*("word " * 16 + "end, " + "word " * 20)])]
    assert words[0].endswith("end, ")
    assert all(part.endswith("word ") for part in words[1:])
    assert [len(part) for part in runs(["a"] * 250)] == [LONGEST_RUN, LONGEST_RUN, 250 - 2 * LONGEST_RUN]
