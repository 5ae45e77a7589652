"""The live panel in JupyterLab and Firefox, at a sound card where our own voice is heard in the room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")

from browsers import FIREFOX, firefox
from instant_panel import INSTANT
from lab import lab_with
from panel_page import SILENT_AFTER_S, interrupt, open_panel, played, press, status, until_played
from playwright.sync_api import expect, sync_playwright
from sound_card import SoundCard, missing, sound_card
from voices import spoken

from emolib.audio import read_audio, write_wav

pytestmark = [
    pytest.mark.brief,
    pytest.mark.skipif(FIREFOX is None, reason="Firefox is not installed (Debian: apt-get install firefox-esr)"),
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
    pytest.mark.timeout(120),
]


@pytest.fixture
def card(tmp_path: Path) -> Iterator[SoundCard]:
    with sound_card(tmp_path) as card:
        card.add_room()
        yield card


@pytest.fixture
def sentence(tmp_path: Path) -> Path:
    write_wav(tmp_path / "sentence.wav", spoken("I am so happy that my sister is coming home.").resample(48_000))
    return tmp_path / "sentence.wav"


def test_a_sentence_in_the_room_is_answered_by_the_loudspeaker_and_interrupted_by_a_voice_and_a_button(
    card: SoundCard, sentence: Path, tmp_path: Path
):
    with (
        lab_with(INSTANT, tmp_path) as lab,
        sync_playwright() as playwright,
        firefox(playwright, card.environment) as browser,
    ):
        page = browser.new_page()
        panel = open_panel(page, lab)
        press(panel, "Calibrate")
        expect(status(panel)).to_contain_text("Press Talk", timeout=15_000)
        press(panel, "Talk")
        expect(status(panel)).to_contain_text("Listening", timeout=15_000)
        card.say(sentence)
        expect(panel.locator(".emolib-heard")).to_contain_text("happy", timeout=15_000)
        until_played(page, 8000)
        answer = card.record(1.5, tmp_path / "answer.wav")
        card.say(sentence)
        turns = panel.locator(".emolib-history li")
        expect(turns).to_contain_text("(interrupted)", timeout=10_000)
        until_played(page, played(page)["played"] + 8000)
        silent_after = interrupt(page, panel)
        print(f"silent {silent_after:.3f} s after Interrupt")
        assert silent_after < SILENT_AFTER_S
        expect(turns).to_have_count(2, timeout=10_000)
        # The hum of the answer has an amplitude of 0.3.
        assert np.median(levels(answer)) == pytest.approx(0.3 / 2**0.5, rel=0.05)


def levels(recording: Path) -> np.ndarray:
    """The level of each fiftieth of a second."""
    clip = read_audio(recording)
    size = clip.sample_rate // 50
    pieces = clip.samples[: len(clip) // size * size].reshape(-1, size)
    return np.sqrt(np.mean(pieces**2, axis=1))
