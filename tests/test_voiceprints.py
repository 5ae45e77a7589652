"""Voiceprints: clips are checked on their way in, kept in a folder a voice, and chosen by emotion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from speech_server import tone

from emolib.audio import AudioClip, read_audio, write_wav
from emolib.cli import main
from emolib.errors import InputError, UsageError
from emolib.speech import Transcript
from emolib.tts import SpeechRequest, SpeechSynthesizer, VoiceLibrary, add_voice_clip, audition, running_service
from emolib.tts.voiceprints import check_transcript, checked_clip

RATE = 16_000
SAID = "I walked to the station early, and the train was already waiting there for me."


class Transcribed:
    """A recogniser that heard what the test says; Whisper itself is used with the command below."""

    def __init__(self, text: str) -> None:
        self._text = text

    def transcribe(self, _: AudioClip) -> Transcript:
        return Transcript(self._text)


def clip(seconds: float, scale: float = 1.0, silence: float = 0.0) -> AudioClip:
    quiet = np.zeros(round(silence * RATE), dtype=np.float32)
    return AudioClip(np.concatenate([quiet, scale * tone(RATE, seconds), quiet]), RATE, "clip.wav")


def test_a_user_without_a_home_speaks_and_hears_where_voices_can_be_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    for name in ("EMOLIB_VOICES", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert VoiceLibrary().names() == []
    SpeechSynthesizer("http://127.0.0.1:9").close()
    assert main(["voice", "list"]) == 2
    assert "this user has no home folder for voices; name a folder in EMOLIB_VOICES" in capsys.readouterr().err
    monkeypatch.setenv("EMOLIB_VOICES", str(tmp_path))
    assert VoiceLibrary().add("me", clip(4.0), SAID).file == "neutral-1.wav"


@pytest.mark.parametrize("seconds", [3.0, 10.0, 29.5])
def test_a_good_clip_loses_only_its_silence(seconds: float) -> None:
    checked = checked_clip(clip(seconds, silence=1.5))
    assert checked.seconds == pytest.approx(seconds + 0.2, abs=0.05)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (clip(2.0), "record a longer"),
        (clip(2.0, silence=5.0), "record a longer"),
        (clip(31.0), "cut a part"),
        (clip(5.0, scale=0.01), "too soft"),
        (clip(5.0, scale=10.0), "clipped"),
        (AudioClip(np.zeros(5 * RATE, dtype=np.float32), RATE), "silent"),
        (AudioClip(np.zeros(0, dtype=np.float32), RATE), "silent"),
    ],
)
def test_a_bad_clip_is_refused_with_the_reason(bad: AudioClip, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        checked_clip(bad)


def test_a_transcript_is_compared_with_what_is_heard() -> None:
    sound = clip(4.0)
    assert check_transcript(sound, "The train is late.", Transcribed("the train is late")) == "The train is late."
    assert check_transcript(sound, "", Transcribed("the train is late")) == "the train is late"
    assert check_transcript(sound, "火车晚点了。", Transcribed("whatever")) == "火车晚点了。"
    with pytest.raises(InputError, match="heard was"):
        check_transcript(sound, "Something else altogether.", Transcribed("the train is late"))


class TestLibrary:
    @pytest.fixture
    def library(self, tmp_path: Path) -> VoiceLibrary:
        return VoiceLibrary(tmp_path / "voices")

    def test_a_voice_is_listed_opened_and_removed(self, library: VoiceLibrary) -> None:
        add_voice_clip(library, "anna", clip(4.0), Transcribed("hello there"))
        assert library.names() == ["anna"]
        assert library.open("anna").clips[0].text == "hello there"
        library.remove("anna")
        assert library.names() == []

    def test_the_clip_of_an_emotion_is_chosen_else_the_neutral_one(self, library: VoiceLibrary) -> None:
        for emotion in (None, "joy", "fear"):
            library.add("anna", clip(4.0), f"spoken with {emotion}", emotion)
        voice = library.open("anna")
        texts = {emotion: voice.reference(emotion).text for emotion in ("joy", "fear", "anger", None)}
        assert texts == {
            "joy": "spoken with joy",
            "fear": "spoken with fear",
            "anger": "spoken with None",
            None: "spoken with None",
        }

    def test_several_clips_become_one_reference_of_up_to_30_seconds(self, library: VoiceLibrary) -> None:
        for number in range(4):
            library.add("anna", clip(9.0), f"clip {number}.")
        assert library.open("anna").reference(None).text == "clip 0. clip 1. clip 2."

    @pytest.mark.parametrize("name", ["../x", "/x", "a/b", "", ".", "a\0b", "x" * 65, "a b", "-x"])
    def test_no_name_leaves_the_folder(self, library: VoiceLibrary, name: str) -> None:
        for act in (library.open, library.remove, lambda n: library.add(n, clip(4.0), "x")):
            with pytest.raises(UsageError, match="not a name"):
                act(name)

    def test_an_unknown_voice_is_named_beside_the_known_ones(self, library: VoiceLibrary) -> None:
        library.add("anna", clip(4.0), "x")
        with pytest.raises(UsageError, match=r"'bert'.*known: anna"):
            library.open("bert")

    def test_a_damaged_voice_is_named(self, library: VoiceLibrary) -> None:
        library.add("anna", clip(4.0), "x")
        (library.folder / "anna" / "voice.json").write_text('{"clips": [{"file": 1}]}')
        with pytest.raises(InputError, match="damaged"):
            library.open("anna")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "1e9"])
def test_a_recording_of_no_length_or_of_hours_is_bad_use(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["voice", "add", "joe", "--seconds", seconds]) == 2
    assert "cannot be recorded" in capsys.readouterr().err


def test_the_command_adds_lists_and_removes_a_voice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMOLIB_VOICES", str(tmp_path / "voices"))
    with running_service("piper") as url, SpeechSynthesizer(url) as tts:
        write_wav(tmp_path / "clip.wav", tts.synthesize(SpeechRequest(SAID)))
    recording = str(tmp_path / "clip.wav")
    # The devices themselves are tested in test_sound_devices.
    heard: list[AudioClip] = []
    monkeypatch.setattr(audition, "play", heard.append)
    monkeypatch.setattr(audition, "record", lambda seconds: read_audio(recording).cut(0, round(seconds * RATE)))
    assert main(["voice", "add", "joe", recording, "--text", SAID, "--emotion", "joy"]) == 0
    assert main(["voice", "add", "ann", "--seconds", "20"]) == 0
    assert "speak now, for 20 s" in capsys.readouterr().out
    assert "station" in VoiceLibrary().open("ann").clips[0].text
    assert main(["voice", "play", "joe", "--emotion", "joy"]) == 0
    assert main(["voice", "play", "nobody"]) == 2
    assert [clip.seconds for clip in heard] == pytest.approx([VoiceLibrary().open("joe").clips[0].seconds], abs=0.01)
    assert main(["voice", "add", "joe", recording, "--text", "Not a word of this is in the clip."]) == 1
    assert "heard was" in capsys.readouterr().err
    assert main(["voice", "list"]) == 0
    listed = capsys.readouterr().out
    assert listed.count("joe") == 1
    assert "train was already waiting" in listed
    assert main(["voice", "remove", "joe"]) == 0
    assert main(["voice", "remove", "joe"]) == 2
    assert main(["voice", "add", "../x", recording, "--text", SAID]) == 2
    assert main(["voice", "add", "joe", str(tmp_path / "none.wav")]) == 1
